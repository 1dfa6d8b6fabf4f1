"""A gate: limits that a measurement must keep, and a baseline that it must not fall behind."""
