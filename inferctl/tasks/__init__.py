"""What a request means, one file per task: its schema, its way into tensors and back.

A task knows the manifest and the bytes of a request; it knows nothing of HTTP, queues or devices.
"""
