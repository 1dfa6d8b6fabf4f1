"""Whether this machine, this installation, these models and settings would serve, and if not: what
to do."""

from __future__ import annotations

from inferctl.doctor.findings import Finding
from inferctl.doctor.run import Examination, examine

__all__ = ["Examination", "Finding", "examine"]
