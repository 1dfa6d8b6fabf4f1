"""The generator is found, and its failures become one sentence."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from inferctl.bench import generator as module
from inferctl.bench.generator import Generator, Offer, loadtests_folder, require_locust
from inferctl.bench.measurement import Load
from inferctl.errors import BenchError, UsageError
from tests.faults.accounting import until


def generator(folder: Path) -> Generator:
    """One that has no bodies to send: it ends as soon as it has read its variables."""
    offer = Offer("http://127.0.0.1:1", "/p", folder / "absent", Load(users=1))
    return Generator(offer, folder)


def stand_in(folder: Path, *commands: str) -> Generator:
    """A generator whose processes are shell scripts."""
    made = generator(folder)
    made._commands = [["/bin/sh", "-c", command] for command in commands]
    made._shares = [1] * len(commands)
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
        running.wait_until_ready()


def test_a_generator_that_never_starts_is_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error quotes what it said, and no process stays."""
    monkeypatch.setattr(module, "START_LIMIT_S", 0.0)
    with (
        stand_in(tmp_path, "exec tail -f /dev/null") as running,
        pytest.raises(BenchError, match="did not start in 0 s; it said: nothing"),
    ):
        running.wait_until_ready()
    assert gone(running)


def test_a_generator_that_does_not_end_is_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It ignores the request to stop."""
    monkeypatch.setattr(module, "STOP_LIMIT_S", 0.05)
    # Made only after the trap is set: seeing the file means that the signal will be ignored.
    script = "trap '' TERM; touch ready-1.txt; while :; do read x || :; done"
    with stand_in(tmp_path, script) as running:
        running.wait_until_ready()
        with pytest.raises(BenchError, match="did not end"):
            running.stop()
    assert gone(running)


def test_a_generator_that_fails_at_its_end_is_an_error(tmp_path: Path) -> None:
    """Its records may be incomplete, so they are not used."""
    script = "trap 'echo broken; exit 3' TERM; touch ready-1.txt; while :; do :; done"
    with stand_in(tmp_path, script) as running:
        running.wait_until_ready()
        with pytest.raises(BenchError, match="ended with code 3: broken"):
            running.stop()


def test_all_processes_begin_when_all_are_ready(tmp_path: Path) -> None:
    """Each gets its part and its share of the users, and reads when to begin."""
    script = (
        "echo $LOADTEST_PART $LOADTEST_USERS > said-$$; touch ready-$$.txt; trap 'exit 0' TERM; "
        "while [ ! -e begin.txt ]; do :; done; cp begin.txt read-$$; while :; do :; done"
    )
    running = stand_in(tmp_path, script, script)
    running._shares = [3, 2]
    with running:
        running.wait_until_ready()
        begin_s = running.begin()
        while len(list(tmp_path.glob("read-*"))) < 2 or not all(
            file.stat().st_size for file in tmp_path.glob("read-*")
        ):
            running.check()
        assert len(running.cpu_s() or []) == 2
        running.stop()
    assert sorted(file.read_text().split()[0] for file in tmp_path.glob("said-*")) == ["0/2", "1/2"]
    assert [float(file.read_text()) for file in tmp_path.glob("read-*")] == [begin_s] * 2


def test_it_rests_when_all_say_that_all_is_answered(tmp_path: Path) -> None:
    """Each time anew; and all are told to go on."""
    script = (
        "trap 'echo . >> rests-$$; touch rested-$$.txt' USR1; trap 'touch went-on-$$' USR2; "
        "touch ready-$$.txt; while :; do :; done"
    )
    with stand_in(tmp_path, script, script) as running:
        running.wait_until_ready()
        running.rest()
        running.rest()
        assert [file.read_text() for file in tmp_path.glob("rests-*")] == [".\n.\n"] * 2
        running.go_on()
        until(lambda: len(list(tmp_path.glob("went-on-*"))) == 2, 10, lambda: "one rests still")


def test_one_that_crashes_while_it_should_rest_is_told_of(tmp_path: Path) -> None:
    script = "trap 'echo broken; exit 3' USR1; touch ready-$$.txt; while :; do :; done"
    with stand_in(tmp_path, script) as running:
        running.wait_until_ready()
        with pytest.raises(BenchError, match="ended with code 3: broken"):
            running.rest()


def test_users_are_split_and_a_rate_is_not() -> None:
    """No process without a user; of a rate each takes every so many-th request."""
    assert module._split(7, 3) == [3, 2, 2]
    assert module._split(2, 4) == [1, 1]
    assert module._split(None, 3) == [1, 1, 1]


def gone(running: Generator) -> bool:
    """Whether no process of it is left."""
    return not any(Path(f"/proc/{pid}").exists() for pid in running.pids)


def test_cpu_is_unknown_without_proc(tmp_path: Path) -> None:
    """A process that is gone has no entry there, as on systems without /proc."""
    with stand_in(tmp_path, "exec tail -f /dev/null") as running:
        assert running.cpu_s() is not None
    assert running.cpu_s() is None


def test_an_interrupt_leaves_no_process(tmp_path: Path) -> None:
    """Leaving by Ctrl-C ends the generator at once."""
    with pytest.raises(KeyboardInterrupt), stand_in(tmp_path, "exec tail -f /dev/null") as running:
        raise KeyboardInterrupt
    assert gone(running)


def test_importing_the_bench_does_not_import_locust() -> None:
    """Locust patches sockets and threads of the process that imports it."""
    code = (
        "import sys, inferctl.bench; sys.exit('locust' in sys.modules or 'gevent' in sys.modules)"
    )
    assert subprocess.run([module.sys.executable, "-c", code], check=False).returncode == 0
