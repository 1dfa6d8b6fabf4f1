"""The whole command against a real server process, and its one-line errors."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import ClassVar

import pytest

from inferctl.bench import Plan, bench, render
from inferctl.bench import run as module
from inferctl.bench.generator import Generator
from inferctl.bench.measurement import Load, Measurement, NothingAnswered
from inferctl.bench.report.document import to_json
from inferctl.bench.target import Served, Target, find_target, scrape
from tests.bench.conftest import Running
from tests.bench.made import INPUTS
from tests.bench.serving import EVERY_NTH_FAILS, ROWS
from tests.unmeasured import without_coverage

COMMAND = Path(module.__file__).parents[1] / "cli" / "bench.py"
# The command's file alone, so that these tests need no other command.
DRIVER = f"""
import runpy, sys, typer
from inferctl.errors import InferctlError
app = typer.Typer()
app.command()(runpy.run_path({str(COMMAND)!r})["bench"])
try:
    app()
except InferctlError as error:
    sys.stderr.write(str(error))
    sys.exit(error.exit_code)
"""


def command(*arguments: str) -> list[str]:
    """The command line of a bench."""
    return [sys.executable, "-c", DRIVER, *arguments]


@pytest.mark.e2e
def test_the_report_agrees_with_what_the_server_counted(server: Running) -> None:
    """Every request that the server counted is in the report, and no other."""
    stages: list[str] = []
    plan = Plan(server.url, "shapes", Load(users=4), windows=4, window_s=0.5, warmup_s=0.5)
    report = bench(plan, lambda stage, done_s, total_s: stages.append(stage))
    written = json.loads(to_json(report))
    (load,) = written["loads"]
    client, seen = load["client"], load["server"]

    counted = scrape(find_target(server.url, "shapes"))
    assert counted is not None
    answered, refused = (
        counted["inference_requests_total", (("model", "shapes"), ("outcome", outcome))]
        for outcome in ("ok", "overloaded")
    )
    assert client["answered"] + client["errors"]["429"] + client["outside_window"] == (
        answered + refused
    )
    assert client["throughput_per_s"] == pytest.approx(client["answered"] / 2, rel=0.01)
    # The scrapes and the window differ by what is under way and by the time that a scrape takes.
    assert seen["requests_by_outcome"]["ok"] == pytest.approx(client["answered"], rel=0.3)
    assert client["errors"]["429"] == pytest.approx(
        client["answered"] / (EVERY_NTH_FAILS - 1), rel=0.3
    )
    assert client["latency"]["p50_ms"] >= 20
    assert client["latency"]["p50_ms"] <= client["latency"]["p99_ms"] <= client["latency"]["max_ms"]
    assert seen["mean_batch_rows"] == ROWS
    assert seen["batch_histogram"][-1]["last_rows"] == 4
    assert seen["queue_mean_ms"] == pytest.approx(2.0)
    assert seen["run_mean_ms"] == pytest.approx(4.0)
    assert seen["decode_mean_ms"] == pytest.approx(1.0)
    assert seen["cpu_ms_per_request"] == pytest.approx(5.0)
    assert 0 < load["generator_cpu_cores"] < 1.1
    assert [window["duration_s"] for window in load["windows"]] == pytest.approx([0.5] * 4, rel=0.1)
    assert sum(window["client"]["answered"] for window in load["windows"]) == client["answered"]
    assert sum(moment["answered"] for moment in load["moments"]) == client["answered"]
    assert written["settings"]["inputs"]["count"] == 16
    assert list(dict.fromkeys(stages)) == ["prepare", "warm-up", "measure", "drain"]
    assert render(report)


class Busy:
    """Runs of a generator that is busy with less than so many processes."""

    begun: ClassVar[list[int]] = []
    needed = 4

    def __init__(self, generator: Generator, *_: object) -> None:
        self.processes = len(generator.pids)
        self.begun.append(self.processes)

    def is_too_much(self) -> bool:
        """In its warm-up."""
        return self.processes < self.needed

    def measure(self) -> Measurement:
        """Nothing."""
        return Measurement(Load(users=1), (), False, None)


def test_a_load_begins_with_the_processes_that_the_one_before_needed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Found once for a sweep; and two users need no third one."""
    monkeypatch.setattr(module, "Run", Busy)
    monkeypatch.setattr(module, "available_cores", lambda: 16)
    target = Target("http://127.0.0.1:1", Served(name="m", version=1, task="tensor"))
    plan = Plan(target.url, None, Load(users=1), 1, 1.0, 1.0)
    found = module.LocustBench(target, INPUTS, tmp_path, plan)
    for load in (Load(users=64), Load(rate_per_s=9.0), Load(users=2), Load(users=64)):
        found.measure(load, windows=1, window_s=1.0, warmup_s=1.0)
    assert Busy.begun == [1, 2, 4, 4, 2, 4]


@pytest.mark.e2e
def test_the_command_prints_the_table_and_writes_the_file(server: Running, tmp_path: Path) -> None:
    """Texts from a file, one user."""
    texts, out = tmp_path / "texts.txt", tmp_path / "out.json"
    texts.write_text("one\ntwo\n")
    done = subprocess.run(
        command(
            server.url, "--model", "mood", "-u", "1", "-t", "0.5s", "--warmup", "0s",
            "--data", str(texts), "--json", str(out),
        ),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "requests/s" in done.stdout
    assert json.loads(out.read_text())["settings"]["inputs"]["count"] == 2


@pytest.mark.e2e
def test_a_broken_limit_is_exit_code_10_and_is_written_all_the_same(
    server: Running, tmp_path: Path
) -> None:
    """No answer comes in a microsecond."""
    out = tmp_path / "out.xml"
    done = subprocess.run(
        command(
            server.url, "--model", "mood", "-u", "1", "-t", "0.5s", "--warmup", "0s",
            "--fail-if", "p50>1us", "--junit", str(out),
        ),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 10
    assert done.stderr.startswith("1 of 1 checks failed: p50>1us: ")
    assert done.stdout.startswith("Failed: mood")
    assert 'failures="1"' in out.read_text()


@pytest.mark.e2e
def test_goodput_is_printed_although_a_limit_is_broken(server: Running) -> None:
    """Once, in the report's own table."""
    done = subprocess.run(
        command(
            server.url, "--model", "mood", "-u", "1", "-t", "0.5s", "--warmup", "0s",
            "--slo", "p50<1s", "--fail-if", "p50>1us",
        ),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 10
    assert done.stdout.count("goodput, p50<1000ms") == 1
    assert done.stdout.count("latency p50") == 1


@pytest.mark.e2e
def test_a_server_is_compared_with_another_by_turns(server: Running, tmp_path: Path) -> None:
    """Here with itself, of which it is not twice as slow."""
    out = tmp_path / "out.xml"
    done = subprocess.run(
        command(
            server.url, "--model", "mood", "-u", "1", "-t", "2s", "--against", server.url,
            "--against-model", "shapes", "--max-regression", "100%", "--junit", str(out),
        ),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 of 2 checks passed" in done.stdout
    assert "throughput within 100% of the baseline" in out.read_text()


@pytest.mark.e2e
def test_a_rate_is_offered_by_turns_too_and_a_shape_is_not(server: Running) -> None:
    usual = (server.url, "--model", "shapes", "--against", server.url, "-t", "2s")
    done = subprocess.run(
        command(*usual, "--rate", "80", "--max-regression", "100%"),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 of 2 checks passed" in done.stdout
    done = subprocess.run(
        command(*usual, "--shape", "0s=10%,2s=100%", "--max-regression", "5%"),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.strip() == "by turns a load has no shape; leave --shape or --against out"


@pytest.mark.e2e
def test_a_run_without_a_duration_can_be_compared(server: Running, tmp_path: Path) -> None:
    """With a baseline all windows are measured, also where the first three agree."""
    old, new = tmp_path / "old.json", tmp_path / "new.json"
    usual = (server.url, "--model", "shapes", "-u", "1", "--warmup", "0s")
    for arguments in (
        ("-t", "1.5s", "--window", "0.3s", "--json", str(old)),
        ("--window", "0.3s", "--max-windows", "6", "--baseline", str(old), "--json", str(new),
         "--max-regression", "90%"),
    ):  # fmt: skip
        done = subprocess.run(
            command(*usual, *arguments), capture_output=True, text=True, timeout=60, check=False
        )
    assert (done.returncode, done.stderr) == (0, "")
    (load,) = json.loads(new.read_text())["loads"]
    assert (len(load["windows"]), load["counted_from"]) == (6, 0)
    assert "2 of 2 checks passed" in done.stdout
    few = subprocess.run(
        command(*usual, "-t", "1s", "--baseline", str(old)),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert few.returncode == 2
    assert few.stderr.startswith("3 windows cannot be compared, 5 are needed")


@pytest.mark.e2e
def test_ctrl_c_leaves_a_report_and_no_process(server: Running, tmp_path: Path) -> None:
    """Interrupted in the first window: what was answered of it is reported."""
    out = tmp_path / "out.json"
    with subprocess.Popen(
        command(
            server.url, "--model", "mood", "-t", "60s", "--warmup", "0s", "--json", str(out),
        ),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=without_coverage(),
    ) as running:  # fmt: skip
        assert server.lines.readline() == "first\n"
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        wait_for_answers(server.url)
        running.send_signal(signal.SIGINT)
        printed, said = running.communicate(timeout=20)
    assert (running.returncode, said) == (130, "")
    assert "interrupted" in printed
    written = json.loads(out.read_text())
    assert written["interrupted"]
    (load,) = written["loads"]
    assert load["client"]["answered"] > 0
    assert load["client"]["latency"]["p50_ms"] >= 20
    assert len(children) == 1
    assert not Path(f"/proc/{children[0]}").exists()


@pytest.mark.e2e
@pytest.mark.parametrize("asked", [("--sweep", "users=1,2"), ("--slo", "p99<1s")])
def test_ctrl_c_in_the_first_load_of_several_is_a_line(
    server: Running, asked: tuple[str, str]
) -> None:
    """In its warm-up: nothing was measured that could be reported."""
    with subprocess.Popen(
        command(server.url, "--model", "mood", *asked, "--warmup", "60s"),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=without_coverage(),
    ) as running:  # fmt: skip
        assert server.lines.readline() == "first\n"
        running.send_signal(signal.SIGINT)
        printed, said = running.communicate(timeout=20)
    assert (running.returncode, printed) == (7, "")
    assert said == "interrupted before anything was measured"


def wait_for_answers(url: str, count: int = 30) -> None:
    """Until the server has answered so many, so that the window has begun."""
    series = ("inference_requests_total", (("model", "mood"), ("outcome", "ok")))
    target = find_target(url, "mood")
    while (scrape(target) or {}).get(series, 0) < count:
        pass


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["http://127.0.0.1:1"], 7, "the server does not answer: Connection refused"),
        (["--data", "absent"], 2, "no such folder of images or file of texts (absent)"),
        (["-t", "soon"], 2, "'soon' is no duration"),
        (["-t", "0s"], 2, "nothing can be measured in 0 s"),
        (["--json", "absent/report.json"], 5, "cannot write there (absent/report.json)"),
        (["--fail-if", "p99>5"], 2, "p99 needs a unit (--fail-if p99>5)"),
        (["--baseline", "absent"], 2, "cannot read the report: No such file or directory"),
        (["--max-regression", "5%"], 2, "--max-regression needs something to compare with"),
        (["--sweep", "users=1,2", "--against", "h"], 2, "--against measures one load by turns"),
        (["--slo", "p99<5ms", "--against", "h"], 2, "--against measures one load by turns"),
    ],
)
def test_mistakes_are_one_line(
    tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    """What, where and what to do; no traceback."""
    done = subprocess.run(
        command(*arguments), capture_output=True, text=True, cwd=tmp_path, timeout=60, check=False
    )
    assert done.returncode == code
    assert done.stderr.startswith(message)
    assert "\n" not in done.stderr


def test_an_unknown_model_is_answered_with_those_that_exist(server: Running) -> None:
    """Through the command, against a real server."""
    done = subprocess.run(
        command(server.url, "--model", "absent"),
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 7
    assert (
        done.stderr == f"no model 'absent' is served ({server.url}); it serves shapes, mood, broken"
    )


@pytest.mark.e2e
def test_a_window_without_any_answer_is_an_error(server: Running) -> None:
    """All that came back were errors; they are counted in the sentence."""
    with pytest.raises(NothingAnswered, match=r"in 0\.2\d* s \(500 x \d+\) .*/broken/predict"):
        bench(Plan(server.url, "broken", Load(users=1), windows=1, window_s=0.2, warmup_s=0.0))
