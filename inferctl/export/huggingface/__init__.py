"""Hugging Face directories: nothing is downloaded, and no code in them is executed."""

from __future__ import annotations

from inferctl.export.huggingface.directory import load_huggingface

__all__ = ["load_huggingface"]
