"""Measurements of this repository's own: `python -m benchmarks.NAME`."""
