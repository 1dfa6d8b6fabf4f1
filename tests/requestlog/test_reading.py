"""Lines of a file in both directions, and of one that grows and is rotated."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing
from pathlib import Path

import pytest

from inferctl.errors import UsageError
from inferctl.requestlog import reading
from inferctl.requestlog.reading import backwards, end_of_lines, follow, forwards, open_log

from .lines import append


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "requests.log"
    path.touch()
    return path


@pytest.fixture(params=[1, 3, 8, 1000])
def block_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(reading, "BLOCK_BYTES", request.param)
    return int(request.param)


CONTENT = b"".join(b"%d\n" % number for number in range(95, 115))


@pytest.mark.usefixtures("block_bytes")
@pytest.mark.parametrize("content", [b"", b"one\n", b"\n\n", CONTENT, CONTENT + b"torn"])
def test_blocks_are_whole_lines_in_both_directions(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    with open_log(path) as file:
        blocks = list(forwards(file))
        assert b"".join(blocks) == content
        assert all(block.endswith(b"\n") for block in blocks[:-1] if block)
        end = end_of_lines(file)
        assert end == content.rfind(b"\n") + 1
        blocks = [block for block in backwards(file, end) if block]
    assert b"".join(reversed(blocks)) == content[:end]
    assert all(block.endswith(b"\n") for block in blocks)


def lines_of(blocks: Generator[bytes], count: int) -> list[bytes]:
    """So many lines, and no wait for more."""
    lines: list[bytes] = []
    with closing(blocks):
        while len(lines) < count:
            lines += next(blocks).splitlines()
    return lines


class Script:
    """What happens while `follow` waits, one step each time."""

    def __init__(self, *steps: object) -> None:
        self._steps = list(steps)

    def __call__(self, _: float) -> None:
        step = self._steps.pop(0)
        assert callable(step)
        step()


def test_lines_come_when_they_are_whole(path: Path) -> None:
    append(path, b"before\n")
    script = Script(
        lambda: append(path, b"o"), lambda: append(path, b"ne\ntw"), lambda: append(path, b"o\n")
    )
    with open_log(path) as file:
        file.seek(len(b"before\n"))
        assert lines_of(follow(path, file, script), 2) == [b"one", b"two"]


def test_a_file_that_is_renamed_is_followed_by_its_successor(path: Path) -> None:
    """Writers learn of it a little later: what they still write to the old one is shown too."""
    old = path.with_suffix(".1")

    def rotate() -> None:
        path.rename(old)

    script = Script(
        rotate,
        lambda: append(old, b"late\n"),
        lambda: append(path, b"new\n"),
        lambda: append(old, b"last\n"),
        lambda: append(path, b"newer\n"),
    )
    with open_log(path) as file:
        lines = lines_of(follow(path, file, script), 4)
    assert sorted(lines) == [b"last", b"late", b"new", b"newer"]


def test_after_a_while_nobody_writes_to_the_old_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter(range(0, 10_000, 10))
    monkeypatch.setattr(reading.time, "monotonic", lambda: next(clock))

    def rotate() -> None:
        path.rename(path.with_suffix(".1"))
        path.touch()

    with open_log(path) as file:
        script = Script(rotate, lambda: None, lambda: None, lambda: append(path, b"new\n"))
        assert lines_of(follow(path, file, script), 1) == [b"new"]
        assert file.closed


def test_a_file_that_is_emptied_begins_again(path: Path) -> None:
    append(path, b"a long line before\ntorn")

    def empty() -> None:
        path.write_bytes(b"new\n")

    with open_log(path) as file:
        blocks = follow(path, file, Script(empty))
        assert lines_of(blocks, 2) == [b"a long line before", b"new"]


def test_a_file_that_is_not_there_is_an_error_with_advice(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="No such file") as caught:
        open_log(tmp_path / "requests.log")
    assert caught.value.where == str(tmp_path / "requests.log")
    assert "FILE" in caught.value.hint
