"""What CUDA takes on this machine: driver, devices, libraries; and who has what is missing.

Needs no onnxruntime, and makes no context on a device.
"""
