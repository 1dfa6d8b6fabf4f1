"""TF32: NVIDIA's libraries multiply float32 by tensor cores, in 10 bits, unless told otherwise."""

from __future__ import annotations

import os
import threading

OVERRIDE = "NVIDIA_TF32_OVERRIDE"
_RULED_OUT = threading.Event()


def rule_out_tf32() -> None:
    """Of every model of this process: the libraries read it once, when they are loaded.

    onnxruntime's `use_tf32` does not reach the convolutions of newer versions of cuDNN.
    """
    os.putenv(OVERRIDE, "0")
    _RULED_OUT.set()


def is_tf32_ruled_out() -> bool:
    """Whether it was."""
    return _RULED_OUT.is_set()
