"""Figures, drawn from prediction tables and comparisons alone, one file for each subject."""
