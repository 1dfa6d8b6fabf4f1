"""The device side of a request's path: reader → batcher → runner → session.

Knows rows, shapes and deadlines; knows nothing of HTTP, JPEG or labels.
"""
