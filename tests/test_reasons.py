from __future__ import annotations

import errno

import pytest

from inferctl.errors import InferctlError
from inferctl.reasons import reason_of, without_folders


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (InferctlError("no room", hint="make some"), "no room; make some"),
        (OSError(errno.ENOENT, "No such file"), "[Errno 2] No such file"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "insufficient memory: an allocation"),
        (MemoryError(), "insufficient memory: an allocation"),
    ],
)
def test_a_reason_is_a_line_and_that_of_memory_is_always_the_same(
    error: InferctlError | OSError | MemoryError, reason: str
) -> None:
    assert reason_of(error).startswith(reason)


@pytest.mark.parametrize(
    ("reason", "told"),
    [
        ("no bundle found (/srv/my models); export one", "no bundle found (my models); export one"),
        ("damaged (models/shapes/2/model.onnx)", "damaged (model.onnx)"),
        ("[Errno 2] No such file: '/srv/m/shapes/2'", "[Errno 2] No such file: '2'"),
        ("Load model from /srv/m/2/model.onnx failed:x", "Load model from model.onnx failed:x"),
        ("anybody may change /srv/models; chmod o-w", "anybody may change models; chmod o-w"),
        ("no such file: '/srv/a b/model.onnx'", "no such file: 'model.onnx'"),
        (
            "cannot load: [ONNXRuntimeError] : 7 : INVALID_PROTOBUF : Load from /m/x.onnx failed",
            "cannot load: Load from x.onnx failed",
        ),
        ("its task would be text/plain; see http://host/docs/x or /readyz",) * 2,
        (
            "models.shapes: version 2 is not there; found: 1",
            "models.shapes: version 2 is not there; found: 1",
        ),
    ],
)
def test_where_on_the_machine_it_is_is_not_told(reason: str, told: str) -> None:
    assert without_folders(reason) == told
