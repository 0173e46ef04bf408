"""Text classification for research: every data set with every method, one command, one report."""

__version__ = "0.1.0"
