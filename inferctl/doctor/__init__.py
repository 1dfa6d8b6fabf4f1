"""Whether this machine, this installation, these models and settings would serve, and if not: what
to do. Nothing is imported here: the probe, which is a process of its own, takes no more than it
needs."""
