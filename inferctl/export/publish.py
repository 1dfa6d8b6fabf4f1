"""Puts a finished bundle under its final name at once, or leaves the disk as it was."""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory

from inferctl.errors import OutputError

_ELSEWHERE = "choose another --output"
_UNFINISHED = ".unfinished-"
_AT_FDCWD = -100
_RENAME_EXCHANGE = 2
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)


def next_version(folder: Path) -> int:
    """The lowest version above all that lie in a model's folder."""
    try:
        taken = [int(entry.name) for entry in folder.iterdir() if entry.name.isdecimal()]
    except FileNotFoundError:
        taken = []
    except OSError as error:
        raise _failed(folder, error) from None
    return max(taken, default=0) + 1


def check_target(target: Path, *, force: bool) -> None:
    """Refuse early what could not be published at the end.

    `target` is `<output>/<name>/<version>`. Raises OutputError when it exists without `force`, is a
    symbolic link or lies in one, or cannot be written.
    """
    try:
        _check_name(target, force=force)
        _probe(target)
    except OSError as error:
        raise _failed(target, error) from None


def _check_name(target: Path, *, force: bool) -> None:
    for path in (target, target.parent):
        if path.is_symlink():
            raise OutputError(
                "the target is a symbolic link, which is not followed",
                where=str(path),
                hint="name the real folder with --output",
            )
    if target.exists():
        if not force:
            raise OutputError(
                "the target exists",
                where=str(target),
                hint="pass another --version, or --force to replace it",
            )
        if not target.is_dir():
            raise OutputError("the target is not a folder", where=str(target), hint=_ELSEWHERE)


def _probe(target: Path) -> None:
    """Make and remove a folder where the first missing one will be made."""
    nearest = next(path for path in target.absolute().parents if path.exists())
    if not nearest.is_dir():
        raise OutputError(
            "the target lies below something that is no folder", where=str(nearest), hint=_ELSEWHERE
        )
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise OutputError("the folder cannot be written to", where=str(nearest), hint=_ELSEWHERE)
    with TemporaryDirectory(prefix=_UNFINISHED, dir=nearest, ignore_cleanup_errors=True):
        pass


@contextmanager
def workshop(target: Path) -> Iterator[Path]:
    """A folder beside `target` for what is made before it is published; removed at the end.

    There, because what is made there has room where it will lie, and need not be copied. Raises
    OutputError when the disk refuses.
    """
    try:
        with _folder(target.parent), _unfinished(target.parent) as folder:
            yield folder
    except OSError as error:
        raise _failed(target, error) from None


def publish(target: Path, files: Mapping[str, bytes | Path], *, force: bool) -> None:
    """Write `files` to a folder beside `target`, flush it, and rename it to `target`.

    What is a path, in a `workshop`, is moved. With `force` an existing target is exchanged in one
    step. Raises OutputError when the disk refuses; then nothing of this bundle is left.
    """
    check_target(target, force=force)
    try:
        with _folder(target.parent), _unfinished(target.parent) as folder:
            for name, data in files.items():
                _write(folder / name, data)
            _flush(folder)
            _move(folder, target, force=force)
            _flush(target.parent)
    except OSError as error:
        raise _failed(target, error) from None


@contextmanager
def _folder(folder: Path) -> Iterator[None]:
    """Make a folder and its parents; on failure take away again what was made and stayed empty."""
    made = [path for path in (folder, *folder.parents) if not path.exists()]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        yield
    except BaseException:
        for path in made:
            with suppress(OSError):
                path.rmdir()
        raise


@contextmanager
def _unfinished(parent: Path) -> Iterator[Path]:
    """A new folder in `parent`, locked while its process lives and removed unless it was moved."""
    _remove_stale(parent)
    folder = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=parent))
    try:
        folder.chmod(0o755)
        handle = os.open(folder, os.O_RDONLY)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
            yield folder
        finally:
            os.close(handle)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _remove_stale(parent: Path) -> None:
    """Remove folders that a killed export left: a living one holds its folder's lock."""
    for folder in parent.glob(f"{_UNFINISHED}*"):
        with suppress(OSError):
            handle = os.open(folder, os.O_RDONLY | os.O_NOFOLLOW)
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(handle)


def _write(path: Path, data: bytes | Path) -> None:
    if isinstance(data, Path):
        data.rename(path)
    else:
        path.write_bytes(data)
    _flush(path)


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _move(folder: Path, target: Path, *, force: bool) -> None:
    """Give `folder` the name `target`; what had it, has `folder`'s name afterwards."""
    if not force or not target.exists():
        folder.rename(target)
        return
    try:
        _exchange(folder, target)
    except OSError as error:
        if error.errno not in _NO_EXCHANGE:
            raise
        _swap(folder, target)


def _exchange(folder: Path, target: Path) -> None:
    """Exchange two names in one step; raises OSError ENOSYS where the system cannot."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))
    paths = os.fsencode(folder), os.fsencode(target)
    if rename(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], ctypes.c_uint(_RENAME_EXCHANGE)):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), str(target))


def _swap(folder: Path, target: Path) -> None:
    """Exchange by three renames: for a moment there is no target, but never half of one."""
    aside = Path(tempfile.mkdtemp(prefix=_UNFINISHED, dir=target.parent)) / target.name
    target.rename(aside)
    try:
        folder.rename(target)
    except BaseException:
        aside.rename(target)
        raise
    finally:
        shutil.rmtree(aside.parent, ignore_errors=True)


def _failed(path: Path, error: OSError) -> OutputError:
    return OutputError(
        f"cannot write the bundle: {error.strerror or type(error).__name__}",
        where=str(path),
        hint=f"free space or {_ELSEWHERE}" if error.errno == errno.ENOSPC else _ELSEWHERE,
    )
