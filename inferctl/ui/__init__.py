"""Static pages and their assets."""
