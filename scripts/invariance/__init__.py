"""Parts of `measure_invariance.py`."""
