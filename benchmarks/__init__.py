"""Benchmarks against NumPy and whatever else is installed: `python -m benchmarks --help`."""
