"""The parts of `kill_anywhere.py`: commands, faults, processes, and what is compared afterwards."""
