"""Findings: what is noticed in the rows of a data set before any method is trained, one file per subject."""
