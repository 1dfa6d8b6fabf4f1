"""Predict: files and texts in, JSON lines out, by a server or by a bundle in this process."""

from __future__ import annotations

from inferctl.predict.run import Plan, predict_all
from inferctl.predict.summary import Summary

__all__ = ["Plan", "Summary", "predict_all"]
