"""`inferctl bench`: load a running server and say what both sides saw of it."""

from inferctl.bench.plan import Plan, parse_duration
from inferctl.bench.report import Report, render
from inferctl.bench.run import bench

__all__ = ["Plan", "Report", "bench", "parse_duration", "render"]
