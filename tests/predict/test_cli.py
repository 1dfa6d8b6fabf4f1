"""The command: lines on standard output, figures on stderr, an exit code."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

from tests.unmeasured import without_coverage


def inferctl(*arguments: object, stdin: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "inferctl", "predict", *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
    )


def test_lines_from_standard_input_become_json_lines(bundles: Path) -> None:
    done = inferctl(bundles / "mood", "-", stdin="a good film\na bad day\n")

    assert done.returncode == 0
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(line["input"], line["label"]) for line in lines] == [("-:1", "good"), ("-:2", "bad")]
    assert "p50 latency" in done.stderr


def test_an_item_that_failed_is_exit_code_8(bundles: Path, tmp_path: Path) -> None:
    output = tmp_path / "r.jsonl"
    done = inferctl(bundles / "mood", "-", "-o", output, stdin="good\n" + "x" * 9000 + "\n")

    assert done.returncode == 8
    assert done.stdout == ""
    assert done.stderr.splitlines()[-1] == (
        f'inferctl: 1 of 2 items failed ({output}); their lines have an "error"'
    )
    assert len(output.read_text().splitlines()) == 2


def test_a_run_that_is_told_to_end_says_how_far_it_came(bundles: Path) -> None:
    command = [sys.executable, "-m", "inferctl", "predict", str(bundles / "mood"), "-"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env=without_coverage(),
    ) as running:  # fmt: skip
        assert running.stdin is not None
        assert running.stdout is not None
        running.stdin.write("a good film\n" * 1000)
        running.stdin.flush()
        assert json.loads(running.stdout.readline())["label"] == "good"
        running.send_signal(signal.SIGTERM)
        _, said = running.communicate()

    assert running.returncode == 8
    assert "interrupted after" in said
    assert "Traceback" not in said


def test_nobody_who_reads_is_an_error_of_one_line(bundles: Path) -> None:
    command = f"{sys.executable} -m inferctl predict {bundles / 'mood'} - | head -n 1"
    done = subprocess.run(
        ["bash", "-c", command], input="good\n" * 500, capture_output=True, text=True, check=False
    )

    assert done.stderr == "inferctl: cannot write the results: Broken pipe (standard output)\n"


def test_a_server_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    done = inferctl("http://127.0.0.1:9", "-")

    assert done.returncode == 8
    assert done.stderr.startswith("inferctl: the server does not answer")
    assert len(done.stderr.splitlines()) == 1


def test_a_bundle_that_is_not_there_is_exit_code_3(tmp_path: Path) -> None:
    done = inferctl(tmp_path / "none", "-")

    assert done.returncode == 3
    assert "no such folder" in done.stderr
