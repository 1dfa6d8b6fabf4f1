"""What is known of the memory that a model takes."""

from __future__ import annotations

import pytest

from inferctl.bundles.manifest import DATA_FILE, GRAPH_FILE, File, Manifest
from inferctl.engine.footprint import Footprint
from inferctl.engine.room import MIB
from inferctl.errors import InsufficientMemory
from tests.graphs import image_manifest

from .cudas import Error, host_cuda


def manifest_of(graph_mib: int, data_mib: int) -> Manifest:
    files = {GRAPH_FILE: graph_mib, DATA_FILE: data_mib}
    return image_manifest(
        files={
            name: File(bytes=mib * MIB, sha256="0" * 64).model_dump() for name, mib in files.items()
        }
    )


def test_every_step_is_told_with_what_it_took(capsys: pytest.CaptureFixture[str]) -> None:
    cuda, runtime = host_cuda(left=1000 * MIB)
    footprint = Footprint(image_manifest(), "cuda:0", cuda)
    for what, left_mib in (("to load", 900), ("for 1 row", 900), ("for 2 rows", 880)):
        runtime.left = left_mib * MIB
        footprint.step(what)
    assert footprint.taken_bytes == 120 * MIB
    footprint.tell()
    assert capsys.readouterr().err == (
        "inferctl: pixels: takes 120 MiB of cuda:0: 100 to load, 20 for 2 rows\n"
    )


def test_memory_that_others_gave_back_is_not_the_model_s(
    capsys: pytest.CaptureFixture[str],
) -> None:
    cuda, runtime = host_cuda(left=MIB)
    footprint = Footprint(image_manifest(), "cuda:0", cuda)
    runtime.left = 9 * MIB
    footprint.step("to load")
    footprint.tell()
    assert (footprint.taken_bytes, capsys.readouterr().err) == (0, "")


@pytest.mark.parametrize(("limit_mib", "left_mib"), [(0, 29), (29, 1000)])
def test_weights_that_do_not_fit_are_refused(limit_mib: int, left_mib: int) -> None:
    cuda, runtime = host_cuda(left=left_mib * MIB)
    footprint = Footprint(manifest_of(10, 20), "cuda:1", cuda)
    with pytest.raises(InsufficientMemory, match=r"takes 30 MiB on cuda:1, and 29 MiB are left"):
        footprint.check_room(limit_mib * MIB)
    runtime.left = 30 * MIB
    footprint.check_room(0)


def test_another_is_refused_where_all_that_was_taken_does_not_fit_again() -> None:
    cuda, runtime = host_cuda(left=1000 * MIB)
    footprint = Footprint(manifest_of(10, 20), "cuda:0", cuda)
    runtime.left = 510 * MIB
    footprint.step("for 1 row")
    footprint.check_room_for_another()
    runtime.left = 480 * MIB
    with pytest.raises(InsufficientMemory, match=r"takes 490 MiB on cuda:0, and 480 MiB are left"):
        footprint.check_room_for_another()


def test_a_third_one_takes_what_the_first_did() -> None:
    cuda, runtime = host_cuda(left=24_000 * MIB)
    footprint = Footprint(manifest_of(10, 20), "cuda:0", cuda)
    for left_mib in (18_000, 12_000, 6_000):
        runtime.left = left_mib * MIB
        footprint.step("for one")
        footprint.check_room_for_another()
    runtime.left = 5_999 * MIB
    with pytest.raises(InsufficientMemory, match="takes 6000 MiB"):
        footprint.check_room_for_another()


@pytest.mark.parametrize("refuses", [False, True])
def test_where_no_device_tells_nothing_is_known_and_nothing_refused(
    refuses: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cuda, runtime = host_cuda()
    monkeypatch.setattr(runtime, "cudaMemGetInfo", lambda: (Error.cudaErrorLaunchFailure, 0, 0))
    footprint = Footprint(manifest_of(10**6, 0), "cuda:0", cuda if refuses else None)
    footprint.check_room(0)
    footprint.check_room_for_another()
    footprint.step("to load")
    footprint.tell()
    assert (footprint.taken_bytes, capsys.readouterr().err) == (0, "")
