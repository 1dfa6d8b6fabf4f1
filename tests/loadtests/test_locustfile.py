"""The Locust file as Locust itself runs it: command line and figures, without the bench."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from inferctl.bench.generator import loadtests_folder
from tests.bench.test_theory import started
from tests.unmeasured import without_coverage


def locust(folder: Path, *arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Locust on a steady server of 20 ms, for a second."""
    (folder / "bodies").write_text('{"text": "x"}\n')
    own = {
        "LOADTEST_PATH": "/models/m/predict", "LOADTEST_BODIES": str(folder / "bodies"),
        "LOADTEST_OUTPUT": str(folder),
    }  # fmt: skip
    with started("steady") as url:
        command = [sys.executable, "-m", "locust", "-f", str(loadtests_folder() / "locustfile.py")]
        command += ["--host", url, "--headless", "--json", "--skip-log"]
        return subprocess.run(
            [*command, "-t", "2s", "--stop-timeout", "5", *arguments],
            env=without_coverage() | own | variables,
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("arguments", "variables", "per_s"),
    [
        (["-u", "4", "-r", "4"], {}, 4 / 0.02),
        (["-u", "2", "-r", "2"], {"LOADTEST_RATE": "40", "LOADTEST_ARRIVALS": "constant"}, 80),
        (["-u", "4", "-r", "4", "--processes", "2"], {}, 4 / 0.02),
    ],
    ids=["users", "rate", "processes"],
)
def test_locust_counts_what_is_recorded(
    tmp_path: Path, arguments: list[str], variables: dict[str, str], per_s: float
) -> None:
    """Its sums are of the same requests; each process has a file of its own."""
    done = locust(tmp_path, *arguments, **variables)
    assert done.returncode == 0, done.stderr
    # Locust's workers print empty lists, at any moment: what they counted is the master's.
    (counted,) = json.loads(re.sub(r"\[\s*\]", "", done.stdout))
    requests = np.concatenate([np.fromfile(file) for file in tmp_path.glob("*.f64")]).reshape(-1, 4)
    assert len(list(tmp_path.glob("*.f64"))) == (2 if "--processes" in arguments else 1)
    assert counted["name"] == "/models/m/predict"
    assert (counted["num_requests"], counted["num_failures"]) == (len(requests), 0)
    assert set(requests[:, 3]) == {200.0}
    # A busy machine starts late, and answers late.
    assert 10 < len(requests) < 2 * 1.5 * per_s
    assert counted["min_response_time"] >= 20


def test_a_missing_variable_is_one_sentence(tmp_path: Path) -> None:
    """With where to read of it."""
    done = subprocess.run(
        [sys.executable, str(loadtests_folder() / "locustfile.py")],
        env={k: v for k, v in os.environ.items() if not k.startswith("LOADTEST_")},
        capture_output=True, text=True, cwd=tmp_path, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.strip() == "set LOADTEST_PATH; loadtests/README.md says to what"
