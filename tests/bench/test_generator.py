"""The generator is found, and its failures become one sentence."""

from __future__ import annotations

import subprocess
from pathlib import Path

import numpy as np
import pytest

from inferctl.bench import generator as module
from inferctl.bench.generator import Generator, loadtests_folder, read_requests, require_locust
from inferctl.errors import BenchError, UsageError


def generator(folder: Path) -> Generator:
    """One that has no bodies to send: it ends as soon as it has read its variables."""
    return Generator(
        "http://127.0.0.1:1", "/p", bodies=folder / "absent", folder=folder, users=1,
        warmup_s=0.0, duration_s=1.0,
    )  # fmt: skip


def stand_in(folder: Path, command: str) -> Generator:
    """A generator whose process is a shell script."""
    made = generator(folder)
    made._command = ["/bin/sh", "-c", command]
    return made


def test_the_locust_file_is_found_in_a_checkout_and_in_a_wheel(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The package's own copy comes first; without either the installation is broken."""
    assert (loadtests_folder() / "README.md").is_file()
    package = tmp_path / "inferctl" / "bench"
    (package / "loadtests").mkdir(parents=True)
    monkeypatch.setattr(module, "__file__", str(package / "generator.py"))
    with pytest.raises(BenchError, match="lacks loadtests"):
        loadtests_folder()
    (package / "loadtests" / "locustfile.py").touch()
    assert loadtests_folder() == package / "loadtests"


def test_missing_locust_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A package that is optional on purpose."""
    require_locust()
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UsageError, match=r"pip install 'inferctl\[bench\]'"):
        require_locust()


def test_a_crash_is_told_by_its_last_line(tmp_path: Path) -> None:
    """The real Locust, on a file of bodies that does not exist."""
    with (
        generator(tmp_path) as running,
        pytest.raises(BenchError, match=r"ended with code 1: .*No such"),
    ):
        running.wait_until_started()


def test_a_generator_that_never_starts_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error quotes what it said, and no process stays."""
    monkeypatch.setattr(module, "START_LIMIT_S", 0.0)
    with (
        stand_in(tmp_path, "exec tail -f /dev/null") as running,
        pytest.raises(BenchError, match="did not start in 0 s; it said: nothing"),
    ):
        running.wait_until_started()
    assert not Path(f"/proc/{running.pid}").exists()


def test_a_generator_that_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ignores the request to stop."""
    monkeypatch.setattr(module, "STOP_LIMIT_S", 0.05)
    # Renamed only after the trap is set: seeing the file means that the signal will be ignored.
    script = "trap '' TERM; echo 1.5 > mark; mv mark started-1.txt; while :; do read x || :; done"
    with stand_in(tmp_path, script) as running:
        assert running.wait_until_started() == 1.5
        with pytest.raises(BenchError, match="did not end"):
            running.stop()
    assert not Path(f"/proc/{running.pid}").exists()


def test_a_generator_that_fails_at_its_end_is_an_error(tmp_path: Path) -> None:
    """Its records may be incomplete, so they are not used."""
    script = (
        "trap 'echo broken; exit 3' TERM; echo 1.5 > m; mv m started-1.txt; while :; do :; done"
    )
    with stand_in(tmp_path, script) as running:
        running.wait_until_started()
        with pytest.raises(BenchError, match="ended with code 3: broken"):
            running.stop()


def test_cpu_is_unknown_without_proc(tmp_path: Path) -> None:
    """A process that is gone has no entry there, as on systems without /proc."""
    with stand_in(tmp_path, "exec tail -f /dev/null") as running:
        assert running.cpu_s() is not None
    assert running.cpu_s() is None


def test_an_interrupt_leaves_no_process(tmp_path: Path) -> None:
    """Leaving by Ctrl-C ends the generator at once."""
    with pytest.raises(KeyboardInterrupt), stand_in(tmp_path, "exec tail -f /dev/null") as running:
        raise KeyboardInterrupt
    assert not Path(f"/proc/{running.pid}").exists()


def test_records_of_several_processes_are_joined(tmp_path: Path) -> None:
    """Rows of three; no file gives no row."""
    assert read_requests(tmp_path).shape == (0, 3)
    np.arange(6.0).tofile(tmp_path / "requests-1.f64")
    np.arange(3.0).tofile(tmp_path / "requests-2.f64")
    assert read_requests(tmp_path).tolist() == [[0, 1, 2], [3, 4, 5], [0, 1, 2]]


def test_importing_the_bench_does_not_import_locust() -> None:
    """Locust patches sockets and threads of the process that imports it."""
    code = (
        "import sys, inferctl.bench; sys.exit('locust' in sys.modules or 'gevent' in sys.modules)"
    )
    assert subprocess.run([module.sys.executable, "-c", code], check=False).returncode == 0
