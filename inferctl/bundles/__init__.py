"""Bundles: what is served, where it lies, and whether it is still what was exported."""
