"""What a pickle would import is read off its opcodes."""

from __future__ import annotations

import argparse
import io
import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch

from inferctl.export.pickles import imported_names

from . import kinds


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.marker}",)


def saved(content: object, **options: object) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream, **options)
    return stream.getvalue()


def names(data: bytes) -> tuple[str, ...]:
    return imported_names(io.BytesIO(data))


@pytest.mark.parametrize("zipped", [True, False])
def test_the_classes_of_a_module_are_listed(zipped: bool) -> None:
    listed = names(saved(kinds.classifier(), _use_new_zipfile_serialization=zipped))
    assert "tests.export.tinymodels.Classifier" in listed
    assert "torch.nn.modules.conv.Conv2d" in listed


@pytest.mark.parametrize("zipped", [True, False])
def test_plain_tensors_list_nothing(zipped: bool) -> None:
    state = kinds.classifier().state_dict()
    assert names(saved(state, _use_new_zipfile_serialization=zipped)) == ()


@pytest.mark.row(177)
@pytest.mark.parametrize("protocol", range(6))
def test_every_protocol_is_read_and_nothing_run(tmp_path: Path, protocol: int) -> None:
    content = [Evil(tmp_path / "marker"), argparse.Namespace(a=1), argparse.Namespace(b=2)]
    listed = names(pickle.dumps(content, protocol=protocol))
    assert {"posix.system", "argparse.Namespace"} <= set(listed)
    assert not (tmp_path / "marker").exists()


def test_what_is_no_pickle_lists_nothing() -> None:
    empty = io.BytesIO()
    with zipfile.ZipFile(empty, "w") as archive:
        archive.writestr("m/notes.txt", b"")
    for data in (b"", b"\x80", b"\x80\x02c", b"PK\x03\x04", empty.getvalue()):
        assert names(data) == ()
