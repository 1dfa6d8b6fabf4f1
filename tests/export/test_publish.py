"""A bundle appears whole under its name, or the disk stays as it was."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inferctl.errors import OutputError
from inferctl.export import publish as publish_module
from inferctl.export.publish import check_target, next_version, publish, workshop
from tests.unmeasured import without_coverage

FILES = {"manifest.json": b"{}", "model.onnx": b"x" * 100}


def tree(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_a_bundle_is_written_with_its_parents(tmp_path: Path) -> None:
    target = tmp_path / "models" / "cats" / "1"
    publish(target, FILES, force=False)
    assert {path.name: path.read_bytes() for path in target.iterdir()} == FILES
    assert tree(tmp_path)[:3] == ["models", "models/cats", "models/cats/1"]
    assert target.stat().st_mode & 0o777 == 0o755


@pytest.mark.row(181)
def test_an_existing_target_stays_as_it_is_without_force(tmp_path: Path) -> None:
    publish(tmp_path / "1", {"a": b"old"}, force=False)
    with pytest.raises(OutputError, match="the target exists"):
        publish(tmp_path / "1", FILES, force=False)
    assert tree(tmp_path) == ["1", "1/a"]


@pytest.mark.parametrize("exchange", [True, False])
def test_force_swaps_the_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, exchange: bool
) -> None:
    if not exchange:
        monkeypatch.setattr(publish_module.ctypes, "CDLL", lambda *args, **kwargs: object())
    publish(tmp_path / "1", {"a": b"old"}, force=False)
    publish(tmp_path / "1", {"b": b"new"}, force=True)
    assert tree(tmp_path) == ["1", "1/b"]


def test_a_swap_that_fails_puts_the_old_bundle_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(tmp_path / "1", {"a": b"old"}, force=False)
    new = tmp_path / "gone"
    with pytest.raises(FileNotFoundError):
        publish_module._swap(new, tmp_path / "1")
    assert tree(tmp_path) == ["1", "1/a"]


def test_an_exchange_that_fails_leaves_the_old_bundle(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(folder: Path, target: Path) -> None:
        raise OSError(errno.EACCES, "Permission denied")

    publish(tmp_path / "1", {"a": b"old"}, force=False)
    monkeypatch.setattr(publish_module, "_exchange", refuse)
    with pytest.raises(OutputError, match="Permission denied"):
        publish(tmp_path / "1", FILES, force=True)
    assert tree(tmp_path) == ["1", "1/a"]


def test_the_exchange_reports_what_the_system_says(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="No such file"):
        publish_module._exchange(tmp_path / "a", tmp_path / "b")


@pytest.mark.row(181)
def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(publish_module.os, "fsync", full)
    with pytest.raises(OutputError, match=r"No space left on device .*; free space"):
        publish(tmp_path / "models" / "cats" / "1", FILES, force=False)
    assert tree(tmp_path) == []


@pytest.mark.row(180)
def test_an_interrupt_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(path: Path, data: bytes) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(publish_module, "_write", interrupt)
    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path / "models" / "1", FILES, force=False)
    assert tree(tmp_path) == []


@pytest.mark.row(181)
def test_a_limit_on_file_size_leaves_nothing(tmp_path: Path) -> None:
    """The real thing, in a process of its own: the kernel refuses the write half-way."""
    # The limit is lifted again, since coverage writes its own file when the process ends.
    code = (
        "import resource, sys; from pathlib import Path\n"
        "from inferctl.export.publish import publish; from inferctl.errors import OutputError\n"
        "limits = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (50, limits[1]))\n"
        "try: publish(Path(sys.argv[1]) / 'cats' / '1', {'model.onnx': b'x' * 100}, force=False)\n"
        "except OutputError as error: print(error); code = error.exit_code\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, limits); sys.exit(code)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (5, "")
    assert "cannot write the bundle: File too large" in done.stdout
    assert tree(tmp_path) == []


# An export that is half done, and waits.
HALF_DONE = """
import sys, time
from pathlib import Path
from inferctl.export.publish import workshop
with workshop(Path(sys.argv[1])) as folder:
    (folder / "model.onnx").write_bytes(b"half of it")
    print("begun", flush=True)
    time.sleep(60)
"""


@pytest.mark.row(180)
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_an_export_that_is_ended_leaves_nothing_that_the_next_one_does_not_take_away(
    tmp_path: Path, number: signal.Signals
) -> None:
    target = tmp_path / "models" / "cats" / "1"
    with subprocess.Popen(
        [sys.executable, "-c", HALF_DONE, str(target)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=without_coverage(),
    ) as export:
        assert export.stdout
        assert export.stdout.readline() == b"begun\n"
        export.send_signal(number)
        assert export.wait(60) != 0
    assert not target.exists()
    # Who can clean up does.
    assert (tree(tmp_path) == []) == (number is signal.SIGINT)

    publish(target, FILES, force=False)
    assert tree(tmp_path / "models") == [
        "cats",
        "cats/1",
        "cats/1/manifest.json",
        "cats/1/model.onnx",
    ]


@pytest.mark.row(180)
def test_only_folders_of_dead_exports_are_removed(tmp_path: Path) -> None:
    dead = tmp_path / ".unfinished-dead"
    dead.mkdir()
    (dead / "model.onnx").touch()
    with publish_module._unfinished(tmp_path) as living:
        assert not dead.exists()
        publish(tmp_path / "1", FILES, force=False)
        assert living.exists()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1"]


@pytest.mark.row(181)
def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "1").symlink_to(tmp_path / "real")
    (tmp_path / "cats").symlink_to(tmp_path / "real")
    for target in (tmp_path / "1", tmp_path / "cats" / "1"):
        with pytest.raises(OutputError, match="symbolic link"):
            publish(target, FILES, force=True)
    assert tree(tmp_path / "real") == []


@pytest.mark.row(181)
def test_targets_that_are_no_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="the target is not a folder"):
        check_target(tmp_path / "file", force=True)
    with pytest.raises(OutputError, match="below something that is no folder"):
        check_target(tmp_path / "file" / "1", force=False)


@pytest.mark.row(181)
def test_a_folder_that_cannot_be_written_is_refused_early(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(publish_module.os, "access", lambda path, mode: False)
    with pytest.raises(OutputError, match="cannot be written to"):
        check_target(tmp_path / "cats" / "1", force=False)


@pytest.mark.row(181)
def test_the_target_is_tried_out_and_nothing_is_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    check_target(tmp_path / "models" / "cats" / "1", force=False)
    assert tree(tmp_path) == []

    with pytest.raises(OutputError, match=r"File name too long .*; choose another --output"):
        check_target(tmp_path / ("x" * 300) / "cats" / "1", force=False)

    def refuse(*args: object, **kwargs: object) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    # Root may do anything by its permissions, but not on a disk mounted read-only.
    monkeypatch.setattr(publish_module, "TemporaryDirectory", refuse)
    with pytest.raises(OutputError, match=r"Read-only file system .*; choose another --output"):
        check_target(tmp_path / "models" / "cats" / "1", force=False)


def test_versions_count_up(tmp_path: Path) -> None:
    assert next_version(tmp_path / "cats") == 1
    for name in ("1", "7", "draft", ".unfinished-9"):
        (tmp_path / "cats" / name).mkdir(parents=True)
    assert next_version(tmp_path / "cats") == 8
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="Not a directory"):
        next_version(tmp_path / "file")


def test_what_was_made_in_a_workshop_is_moved_and_the_workshop_goes(tmp_path: Path) -> None:
    target = tmp_path / "models" / "cats" / "1"
    with workshop(target) as folder:
        (folder / "graph").write_bytes(b"weights")
        (folder / "left").touch()
        publish(target, {"manifest.json": b"{}", "model.onnx": folder / "graph"}, force=False)
        assert not (folder / "graph").exists()
    assert tree(tmp_path / "models") == [
        "cats",
        "cats/1",
        "cats/1/manifest.json",
        "cats/1/model.onnx",
    ]
    assert (target / "model.onnx").read_bytes() == b"weights"


def test_a_workshop_whose_work_fails_leaves_nothing(tmp_path: Path) -> None:
    def fill(target: Path) -> None:
        with workshop(target) as folder:
            (folder / "half").write_bytes(b"a graph")
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(OutputError, match="No space left"):
        fill(tmp_path / "models" / "cats" / "1")
    assert tree(tmp_path) == []
