"""Slow work: a job is taken in at once, done later, and kept until somebody fetched its result."""
