"""Fuzzing of the parsers of this package: inputs, parsers, and the counts of what they did."""
