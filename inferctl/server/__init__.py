"""The HTTP side of a request's path: app → predict → task → link to the engine, and back."""
