"""A model that cannot fit is not tried."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest

from inferctl.bundles.manifest import GRAPH_FILE, File
from inferctl.engine import room
from inferctl.engine.room import check_room, left_for_process
from inferctl.errors import InsufficientMemory
from tests.graphs import image_manifest

KIB = 1024
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A system with 1 MiB left, and a process of 3 pages."""
    (tmp_path / "self").mkdir()
    (tmp_path / "meminfo").write_text("MemTotal: 4096 kB\nMemAvailable: 1024 kB\n")
    (tmp_path / "self" / "statm").write_text("3 2 1 1 0 1 0\n")
    monkeypatch.setattr(room, "PROC", tmp_path)
    return tmp_path


@pytest.mark.row(112)
@pytest.mark.parametrize(("size", "fits"), [(KIB * KIB, True), (KIB * KIB + 1, False)])
def test_weights_that_are_more_than_what_is_left_are_refused(
    proc: Path, size: int, fits: bool
) -> None:
    file = File(bytes=size, sha256="0" * 64)
    manifest = image_manifest(files={GRAPH_FILE: file.model_dump()})
    if fits:
        check_room(manifest)
    else:
        with pytest.raises(InsufficientMemory, match="takes 1 MiB, and 1 MiB are left"):
            check_room(manifest)


def test_a_limit_of_the_process_counts(proc: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (10 * PAGE_BYTES, resource.RLIM_INFINITY))
    assert left_for_process(proc) == 7 * PAGE_BYTES
    (proc / "self" / "statm").write_text("30 2 1 1 0 1 0\n")
    assert left_for_process(proc) == 0


def test_a_system_that_does_not_tell_refuses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "PROC", tmp_path)
    check_room(image_manifest())
