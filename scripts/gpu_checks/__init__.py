"""The parts of `check_gpu.py`: each yields the rows of its table."""
