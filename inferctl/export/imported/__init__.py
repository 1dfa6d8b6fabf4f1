"""Import: an ONNX file becomes a bundle whose graph was compared with the file's own.

Needs onnx of the `export` extra, and neither torch nor transformers.
"""
