"""The parts of `benchmark.py`: each sets up its contenders, the baseline first."""
