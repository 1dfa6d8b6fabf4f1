"""The request log: whole lines, never in the way, nothing forged."""

from __future__ import annotations

import errno
import os
import re
import stat
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from inferctl.arena.cells import Cell
from inferctl.errors import StartError
from inferctl.observation import LogsSettings
from inferctl.requestlog.fields import ALWAYS, DECODED, FIELDS, RUN
from inferctl.server import logs, traces
from inferctl.server.call import PHASES, Reply
from inferctl.server.logs import RequestLog
from inferctl.server.traces import Answered, Traces
from inferctl.tracing import Tracing
from tests.requestlog.lines import HOSTILE

from .asgi import make_call
from .wiring import WORKER, make_ledger

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"


def dropped_cell() -> Cell:
    return make_ledger().blocks[WORKER].cell("inferctl_log_dropped_total")


def open_log(
    path: Path | str, dropped: Cell | None = None, *, terminal: bool = False, **settings: Any
) -> RequestLog:
    own = LogsSettings(path=str(path), **settings)
    return RequestLog(own, dropped or dropped_cell(), terminal=terminal)


@contextmanager
def logging(path: Path | str, dropped: Cell | None = None, **options: Any) -> Iterator[RequestLog]:
    log = open_log(path, dropped, **options)
    try:
        yield log
    finally:
        log.close()


def record(log: RequestLog, request_id: str = "", path: str = "/predict") -> None:
    log.record(make_call(path=path, headers={"X-Request-ID": request_id}), Reply(200, b""))


def lines(path: Path) -> list[Any]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def test_a_request_is_one_json_line(tmp_path: Path) -> None:
    path = tmp_path / "requests.log"
    call = make_call(headers={"X-Request-ID": "me"})
    call.model, call.version, call.body_bytes = "shapes", 3, 17
    call.rows = 2
    call.phases_ms.append(1.23456)
    call.end(time.monotonic())
    with logging(path) as log:
        log.record(call, Reply(422, b"", "unprocessable"))
    (entry,) = lines(path)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}\+00:00", entry.pop("time"))
    assert entry == {
        "request_id": "me",
        "route": "predict",
        "method": "POST",
        "path": "/predict",
        "model": "shapes",
        "version": 3,
        "key_id": None,
        "status": 422,
        "outcome": "unprocessable",
        "body_bytes": 17,
        "rows": 2,
        "decode_ms": 1.235,
        "total_ms": round(call.total_ms, 3),
    }


def test_a_line_has_the_fields_that_are_documented_and_no_others(tmp_path: Path) -> None:
    path = tmp_path / "requests.log"
    traced = {"traceparent": f"00-{TRACE_ID}-00f067aa0ba902b7-01"}
    call = make_call(headers=traced)
    call.rows, call.batch_rows, call.shape = 1, 8, b"640x480"
    call.phases_ms += [1, 2, 3, 4]
    call.end(time.monotonic())
    with logging(path) as log:
        log.record(call, Reply(200, b""))
    (entry,) = lines(path)
    assert [*entry] == [field.name for field in FIELDS]
    assert (entry["trace_id"], entry["shape"], entry["batch_rows"]) == (TRACE_ID, "640x480", 8)


@pytest.mark.parametrize("reached", range(len(PHASES) + 1))
def test_a_line_has_no_other_fields_than_those_for_which_it_went_far_enough(
    tmp_path: Path, reached: int
) -> None:
    path = tmp_path / "requests.log"
    call = make_call()
    call.phases_ms += range(reached)
    call.end(time.monotonic())
    with logging(path) as log:
        log.record(call, Reply(200, b""))
    (entry,) = lines(path)
    missing = {field.when for field in FIELDS if field.name not in entry}
    assert (ALWAYS in missing, DECODED in missing, RUN in missing) == (
        False, reached < 1, reached < len(PHASES),
    )  # fmt: skip


@pytest.mark.parametrize("reached", range(len(PHASES) + 1))
def test_the_phases_that_were_reached_are_logged(tmp_path: Path, reached: int) -> None:
    path = tmp_path / "requests.log"
    call = make_call()
    call.phases_ms += range(reached)
    call.end(time.monotonic())
    with logging(path) as log:
        log.record(call, Reply(200, b""))
    (entry,) = lines(path)
    took = {name: entry[name] for name in entry if name.endswith("_ms") and name != "total_ms"}
    assert took == {f"{phase}_ms": number for number, phase in enumerate(PHASES[:reached])}


@pytest.mark.parametrize(
    ("now_s", "expected"),
    [
        (0, "1970-01-01T00:00:00.000+00:00"),
        (1_900_000_000.0625, "2030-03-17T17:46:40.062+00:00"),
        (1_900_000_000.9999, "2030-03-17T17:46:40.999+00:00"),
        (1_900_000_001, "2030-03-17T17:46:41.000+00:00"),
    ],
)
def test_a_line_tells_when_in_utc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, now_s: float, expected: str
) -> None:
    """The second before, the part of the clock that is kept was another one."""
    path = tmp_path / "requests.log"
    clock = iter((1_900_000_000.0, now_s))
    with logging(path) as log:
        monkeypatch.setattr(logs.time, "time", lambda: next(clock))
        record(log)
        record(log)
        monkeypatch.undo()
    assert [entry["time"] for entry in lines(path)] == ["2030-03-17T17:46:40.000+00:00", expected]


def test_a_log_is_continued_in_order(tmp_path: Path) -> None:
    path = tmp_path / "requests.log"
    for half in (range(500), range(500, 1000)):
        with logging(path) as log:
            for number in half:
                record(log, str(number))
    assert [entry["request_id"] for entry in lines(path)] == [str(n) for n in range(1000)]


def test_two_writers_share_a_file_line_by_line(tmp_path: Path) -> None:
    path = tmp_path / "requests.log"
    with logging(path) as one, logging(path) as two:
        for number in range(500):
            record(one, f"one-{number}")
            record(two, f"two-{number}")
    assert len({entry["request_id"] for entry in lines(path)}) == 1000


def test_a_log_s_folder_is_made_and_the_file_is_private(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "down" / "requests.log"
    with logging(path) as log:
        record(log)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


@pytest.mark.parametrize("path", HOSTILE)
def test_a_path_cannot_forge_a_record(tmp_path: Path, path: str) -> None:
    file = tmp_path / "requests.log"
    with logging(file) as log:
        record(log, path=path)
    (entry,) = lines(file)
    assert entry["path"] == path
    assert re.fullmatch(rb"[^\x00-\x1f]+\n", file.read_bytes())


@pytest.mark.parametrize("path", HOSTILE)
def test_a_path_cannot_forge_a_readable_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], path: str
) -> None:
    with logging(tmp_path / "requests.log", terminal=True) as log:
        record(log, path=path)
    assert re.fullmatch(r"[ -~]+\n", capsys.readouterr().err)


def test_a_readable_line_tells_when_what_and_how_long(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    call = make_call(headers={"X-Request-ID": "me"})
    call.model = "shapes"
    with logging(tmp_path / "requests.log", terminal=True) as log:
        log.record(call, Reply(200, b""))
    assert re.fullmatch(
        r"\d\d-\d\d \d\d:\d\d:\d\d\.\d{3}  200 ok +shapes +\d+\.\d ms  me\n",
        capsys.readouterr().err,
    )


def test_without_a_terminal_nothing_is_printed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with logging(tmp_path / "requests.log") as log:
        record(log)
    assert capsys.readouterr() == ("", "")


def test_a_long_path_is_cut(tmp_path: Path) -> None:
    path = tmp_path / "requests.log"
    with logging(path) as log:
        record(log, path="/" + "x" * 10_000)
    assert len(lines(path)[0]["path"]) == 256


@pytest.mark.row(125)
def test_lines_that_find_no_room_are_dropped_and_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A writer that is stuck in a write holds one line; two wait; the others are lost."""
    writing, go_on = threading.Event(), threading.Event()
    write = os.write

    def stuck(fd: int, data: bytes) -> int:
        writing.set()
        assert go_on.wait(60)
        return write(fd, data)

    monkeypatch.setattr(logs, "MAX_WAITING_LINES", 2)
    monkeypatch.setattr(os, "write", stuck)
    path, dropped = tmp_path / "requests.log", dropped_cell()
    log = open_log(path, dropped)
    record(log, "0")
    assert writing.wait(60)
    for number in range(1, 6):
        record(log, str(number))
    assert dropped.get() == 3
    go_on.set()
    log.close()
    first, missing, *others = lines(path)
    assert missing["dropped_lines"] == 3
    assert [entry["request_id"] for entry in (first, *others)] == ["0", "1", "2"]


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads that take turns after every few instructions."""
    interval_s = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval_s)


@pytest.mark.usefixtures("hasty_threads")
def test_nothing_is_lost_between_two_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logs, "GATHER_S", 0)
    path, dropped = tmp_path / "requests.log", dropped_cell()
    with logging(path, dropped) as log:
        for number in range(5000):
            record(log, str(number))
    assert [entry["request_id"] for entry in lines(path)] == [str(n) for n in range(5000)]
    assert dropped.get() == 0


def test_a_write_that_is_cut_short_is_continued(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    monkeypatch.setattr(os, "write", lambda fd, data: write(fd, data[:7]))
    path = tmp_path / "requests.log"
    with logging(path) as log:
        for number in range(3):
            record(log, str(number))
    assert [entry["request_id"] for entry in lines(path)] == ["0", "1", "2"]


class Disk:
    """Takes so many bytes, refuses once, and has room from then on."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._write = os.write
        self.refused = threading.Event()

    def write(self, fd: int, data: bytes) -> int:
        if not self._room:
            self._room = 100_000
            self.refused.set()
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        taken = data[: self._room]
        self._room -= len(taken)
        return self._write(fd, taken)


@pytest.mark.row(124)
@pytest.mark.parametrize("room", [0, 1, 250, 1000])
def test_when_there_is_room_again_one_line_says_how_many_are_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int
) -> None:
    disk = Disk(room)
    monkeypatch.setattr(os, "write", disk.write)
    path, dropped = tmp_path / "requests.log", dropped_cell()
    dropped.add(7)  # its predecessor's
    with logging(path, dropped) as log:
        for number in range(9):
            record(log, str(number))
        assert disk.refused.wait(60)
        record(log, "after")
        record(log, "that")
    missing = int(dropped.get()) - 7
    written = path.read_bytes().splitlines()
    whole = [orjson.loads(line) for line in written if line.endswith(b"}")]
    assert len(written) - len(whole) <= 1, "one line was cut short"
    assert [entry["request_id"] for entry in whole[:-3]] == [str(n) for n in range(9 - missing)]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT.*\+00:00", whole[-3].pop("time"))
    assert whole[-3] == {"dropped_lines": missing}
    assert [entry["request_id"] for entry in whole[-2:]] == ["after", "that"]


@pytest.mark.row(125)
def test_a_stdout_that_does_not_wait_is_waited_for(tmp_path: Path) -> None:
    """Whoever shares it may have made it so."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    dropped = dropped_cell()
    log = open_log(f"/dev/fd/{writing}", dropped)
    os.set_blocking(log._file._fd, False)
    for number in range(2000):  # more than a pipe holds
        record(log, str(number))
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        entries = [orjson.loads(stream.readline()) for _ in range(2000)]
    assert [entry["request_id"] for entry in entries] == [str(n) for n in range(2000)]
    log.close()
    assert dropped.get() == 0


@pytest.mark.row(124)
def test_lines_that_the_disk_does_not_take_are_counted() -> None:
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full on this system")
    dropped = dropped_cell()
    with logging("/dev/full", dropped) as log:
        for _ in range(5):
            record(log)
    assert dropped.get() == 5


def test_a_dash_is_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    with logging("-") as log:
        record(log, "me")
    out, err = capfd.readouterr()
    assert orjson.loads(out)["request_id"] == "me"
    assert out.count("\n") == 1
    assert err == ""


TEN_TRACES = [f"{'0' * 16}{number * 2**60 * 16 // 10:016x}" for number in range(10)]


def ask_in_trace(log: RequestLog, trace_id: str, reply: Reply, *, total_ms: float = 1) -> None:
    call = make_call(headers={"traceparent": f"00-{'a' * 16}{trace_id[16:]}-00f067aa0ba902b7-01"})
    call.total_ms = total_ms
    log.record(call, reply)


@pytest.mark.parametrize(("rate", "kept"), [(0, 0), (0.3, 3), (0.75, 8), (1, 10)])
def test_of_traces_the_same_share_is_kept_as_by_opentelemetry(
    tmp_path: Path, rate: float, kept: int
) -> None:
    path = tmp_path / "requests.log"
    with logging(path, sample_rate=rate) as log:
        for trace_id in TEN_TRACES:
            ask_in_trace(log, trace_id, Reply(200, b""))
    logged = [entry["trace_id"][16:] for entry in lines(path)]
    sampler = TraceIdRatioBased(rate)
    chosen = [each for each in TEN_TRACES if is_kept(sampler, each)]
    assert logged == [each[16:] for each in chosen]
    assert len(logged) == kept


def is_kept(sampler: TraceIdRatioBased, trace_id: str) -> bool:
    return sampler.should_sample(None, int(trace_id, 16), "").decision.is_sampled()


class NoExporter:
    """Nobody looks at spans."""

    def export(self, requests: Sequence[Answered]) -> bool:
        return True

    def close(self) -> None:
        pass


def test_at_the_rate_of_the_traces_those_that_are_kept_are_logged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that came without a trace too: it is drawn once."""
    path = tmp_path / "requests.log"
    drawn = iter(TEN_TRACES)
    monkeypatch.setattr(traces, "getrandbits", lambda _: int(next(drawn), 16))
    recorder = Traces(Tracing(rate=0.3), NoExporter(), dropped_cell())
    with logging(path, sample_rate=0.3) as log:
        for _ in TEN_TRACES:
            call = make_call()
            recorder.record(call, Reply(200, b""))
            log.record(call, Reply(200, b""))
    recorder.close()
    assert [entry.get("trace_id") for entry in lines(path)] == TEN_TRACES[:3]


def test_what_failed_or_was_slow_is_always_logged(tmp_path: Path) -> None:
    path = tmp_path / "requests.log"
    with logging(path, sample_rate=0, slow_ms=50) as log:
        for trace_id in TEN_TRACES:
            ask_in_trace(log, trace_id, Reply(200, b""), total_ms=49.9)
            ask_in_trace(log, trace_id, Reply(200, b""), total_ms=50)
            ask_in_trace(log, trace_id, Reply(422, b"", "unprocessable"))
            record(log)
    statuses = [entry["status"] for entry in lines(path)]
    assert (statuses.count(200), statuses.count(422)) == (10, 10)


def test_requests_of_no_trace_are_sampled_by_chance(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "requests.log"
    chances = iter((0.1, 0.25, 0.2, 0.9))
    monkeypatch.setattr(logs, "random", lambda: next(chances))
    with logging(path, sample_rate=0.25) as log:
        for number in range(4):
            record(log, str(number))
    assert [entry["request_id"] for entry in lines(path)] == ["0", "2"]


def test_text_is_for_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "requests.log"
    dropped = dropped_cell()
    with logging(path, dropped, format="text", terminal=True) as log:
        dropped.add(3)
        record(log, "me")
    missing, line = path.read_text().splitlines()
    assert missing.endswith("3 lines are missing here")
    assert re.fullmatch(r"\d\d-\d\d .* 200 ok +/predict +0\.0 ms  me", line)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(("form", "first"), [("auto", b"1"), ("json", b"{"), ("text", b"1")])
def test_a_terminal_has_text_unless_json_is_asked_for(
    form: str, first: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Months and days begin with other digits too."""
    monkeypatch.setattr(logs.time, "time", lambda: 1_700_000_000.0)
    ours, theirs = os.openpty()
    with logging(f"/dev/fd/{theirs}", format=form) as log:
        record(log)
    assert os.read(ours, 1) == first
    os.close(ours)
    os.close(theirs)


def test_json_that_is_asked_for_is_not_repeated_for_people(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with logging(tmp_path / "requests.log", format="json", terminal=True) as log:
        record(log)
    assert capsys.readouterr().err == ""


def test_an_idle_log_lets_go_of_a_renamed_file_once_it_is_told(tmp_path: Path) -> None:
    """Whoever rotates it goes on to compress the old one."""
    path = tmp_path / "requests.log"
    with logging(path) as log:
        path.rename(tmp_path / "old")
        log.reopen()
        give_up_s = time.monotonic() + 60
        while not path.exists():
            assert time.monotonic() < give_up_s
        record(log, "me")
    assert [entry["request_id"] for entry in lines(path)] == ["me"]
    assert (tmp_path / "old").read_bytes() == b""


def test_a_log_that_cannot_be_written_stops_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for path in (tmp_path, tmp_path / "file" / "requests.log"):
        with pytest.raises(StartError, match="cannot write the request log") as caught:
            open_log(path)
        assert caught.value.where == str(path)
        assert "logs.path" in caught.value.hint
        assert "\n" not in str(caught.value)
