"""Tests of importing ONNX files."""
