"""The threads that run a model's batches, each on an instance of its own."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from queue import SimpleQueue
from typing import TypeVar

from inferctl.engine.instance import Instance

Job = Callable[[], None]
Result = TypeVar("Result")


class Member(threading.Thread):
    """A thread that does what it is given, in order: a CUDA graph belongs to one."""

    def __init__(self, name: str, instance: Instance) -> None:
        super().__init__(name=name, daemon=True)
        self.instance = instance
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()

    def begin(self, job: Job) -> None:
        """Have it done; what it raises is a bug, and ends the process."""
        self._jobs.put(job)

    def call(self, job: Callable[[], Result]) -> Result:
        """Have it done and wait for what it returns, or raises."""
        results: list[Result] = []
        ended: SimpleQueue[BaseException | None] = SimpleQueue()

        def answering() -> None:
            try:
                results.append(job())
            except BaseException as error:  # noqa: BLE001 - raised where it is waited for
                ended.put(error)
            else:
                ended.put(None)

        self._jobs.put(answering)
        if error := ended.get():
            try:
                raise error
            finally:
                # It names this frame, which would name it: a ring, that keeps what has failed.
                del error
        return results[0]

    def end(self) -> None:
        """No more jobs than it has."""
        self._jobs.put(None)

    def run(self) -> None:
        """Do the jobs."""
        while (job := self._jobs.get()) is not None:
            job()
            del job  # it holds what it worked on


class Crew:
    """As many threads as instances, which may be one and the same."""

    def __init__(self, name: str, instances: Sequence[Instance]) -> None:
        """Start them. Raises RuntimeError where not all can be had; none is left then."""
        self._name = name
        self.members: list[Member] = []
        try:
            for instance in instances:
                self.add(instance, lambda: None)
        except RuntimeError:
            self.end()
            raise

    def add(self, instance: Instance, first: Job) -> None:
        """Start a thread for an instance, which does something first. Raises what that raises, or
        RuntimeError where there is no thread; it is none of the crew then."""
        member = Member(f"{self._name}-{len(self.members)}", instance)
        member.start()
        try:
            member.call(first)
        except BaseException:
            member.end()
            member.join()
            raise
        self.members.append(member)

    def first(self, job: Callable[[], Result]) -> Result:
        """Do something in the first one's thread. Raises what it raises."""
        return self.members[0].call(job)

    def begin_with(self, instance: Instance) -> None:
        """Begin anew: end all, and have one that has this instance. Raises RuntimeError."""
        self.end()
        self.members.clear()
        self.add(instance, lambda: None)

    def end(self) -> None:
        """Let all finish what they have, and wait for it."""
        for member in self.members:
            member.end()
        for member in self.members:
            member.join()
