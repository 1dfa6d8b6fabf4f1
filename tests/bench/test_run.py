"""The whole command against a real server process, and its one-line errors."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from inferctl.bench import Plan, bench, render, write_json
from inferctl.bench import run as module
from inferctl.bench.target import scrape
from inferctl.errors import BenchError
from tests.bench.conftest import Running
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
def test_the_report_agrees_with_what_the_server_counted(server: Running, tmp_path: Path) -> None:
    """Every request that the server counted is in the report, and no other."""
    stages: list[str] = []
    plan = Plan(server.url, "shapes", users=4, duration_s=2.0, warmup_s=0.5)
    report = bench(plan, lambda stage, done_s, total_s: stages.append(stage))
    write_json(report, tmp_path / "report.json")
    written = json.loads((tmp_path / "report.json").read_text())
    client, seen = written["client"], written["server"]

    counted = scrape(server.url)
    assert counted is not None
    answered, refused = (
        counted["inference_requests_total", (("model", "shapes"), ("outcome", outcome))]
        for outcome in ("ok", "overloaded")
    )
    assert client["answered"] + client["errors"]["429"] + client["outside_window"] == (
        answered + refused
    )
    assert client["throughput_per_s"] == client["answered"] / 2
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
    assert 0 < written["generator_cpu_cores"] < 1.1
    assert written["settings"]["inputs"]["count"] == 16
    assert list(dict.fromkeys(stages)) == ["prepare", "warm-up", "measure", "drain"]
    assert render(report)


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
def test_ctrl_c_leaves_no_process(server: Running) -> None:
    """Interrupted under load: the generator is gone when the command is."""
    with subprocess.Popen(
        command(server.url, "--model", "mood", "-t", "60s"),
        stderr=subprocess.PIPE,
        env=without_coverage(),
    ) as running:
        assert server.lines.readline() == "first\n"
        children = Path(f"/proc/{running.pid}/task/{running.pid}/children").read_text().split()
        running.send_signal(signal.SIGINT)
        running.communicate(timeout=20)
    assert running.returncode != 0
    assert len(children) == 1
    assert not Path(f"/proc/{children[0]}").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["http://127.0.0.1:1"], 7, "the server does not answer: Connection refused"),
        (["--data", "absent"], 2, "no such folder of images or file of texts (absent)"),
        (["-t", "soon"], 2, "'soon' is no duration"),
        (["-t", "0s"], 2, "nothing can be measured in 0 s"),
        (["--json", "absent/report.json"], 5, "cannot write the report"),
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
    with pytest.raises(BenchError, match=r"answered in 0.2 s \(500 x \d+\) .*/broken/predict"):
        bench(Plan(server.url, "broken", users=1, duration_s=0.2, warmup_s=0.0))
