"""A process that has a store open besides: it does a line of its input, and prints what came."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from inferctl.deferral import JobsSettings
from inferctl.jobs.job import Claim, Owner, Report, Result
from inferctl.jobs.owners import this_process
from inferctl.jobs.sqlite.store import SqliteStore
from tests.jobs.made import new, put


class Asker:
    """That process, as the test has it."""

    def __init__(self, folder: Path) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", __name__, str(folder)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:  # fmt: skip
        self.process.kill()
        self.process.communicate()

    def ask(self, line: str) -> str:
        self.tell(line)
        return self.answer()

    def tell(self, line: str) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{line}\n")

    def answer(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().rstrip("\n")


def say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def write_for_ever(store: SqliteStore, owner: Owner) -> None:
    """Says the id of each job that was taken in; what is written goes to the file all the time."""
    with store._reading() as connection:
        connection.execute("PRAGMA wal_autocheckpoint = 10")
    while True:
        say(put(store, new(b"x" * 3000)).id)
        for claim in store.claim(owner, 1):
            store.report([Report(claim, [Result(0, 200, b"x" * 1000)], "done")])


def main() -> None:
    store = SqliteStore(Path(sys.argv[1]), JobsSettings(max_jobs=1_000_000))
    owner = this_process()
    claims: list[Claim] = []
    for line in sys.stdin:
        match line.split():
            case ["claim", number]:
                claims = store.claim(owner, int(number))
                say(" ".join(claim.id for claim in claims))
            case ["end"]:
                result = Result(0, 200, b"of the asker")
                lost = store.report([Report(claim, [result], "done") for claim in claims])
                say(f"{len(lost)} lost")
            case ["write"]:
                write_for_ever(store, owner)


if __name__ == "__main__":
    main()
