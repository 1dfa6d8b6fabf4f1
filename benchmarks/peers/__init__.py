"""Other servers doing the same work, each in a venv of its own; nothing here imports inferctl."""
