"""Readers of files of rows, one module for each format; they import pyarrow, so they are imported on first use."""
