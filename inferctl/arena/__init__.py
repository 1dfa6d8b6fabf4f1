"""What workers and engine share: tensors, numbers, and the messages about them.

The only code that both sides import. Memory is anonymous and inherited by file descriptor, so it
has no name to collide with and vanishes with the last process that maps it.
"""
