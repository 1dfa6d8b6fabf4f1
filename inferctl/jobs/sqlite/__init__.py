"""Jobs in a SQLite file: one machine, and nothing to install."""
