"""Hugging Face directories: nothing is downloaded, and no code in them is executed.

transformers is imported with what needs it: reading a directory's settings does not.
"""
