"""Check: a bundle is opened again, run on what a server may be sent, and held against another.

Needs neither torch nor onnx: what serves a bundle can check it.
"""

from __future__ import annotations

from inferctl.check.bundle import STAGES, CheckRequest, check_bundle
from inferctl.check.findings import CheckReport

__all__ = ["STAGES", "CheckReport", "CheckRequest", "check_bundle"]
