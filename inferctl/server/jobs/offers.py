"""Jobs that somebody else found, by their ids: Celery, of which a thread waits for each."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Sequence
from concurrent.futures import Future
from threading import Lock

from inferctl.jobs.job import Claim


class Offers:
    """Who offers one has a future of it: whether there was an attempt, once nobody has to wait for
    that any more. They come from any thread; the rest is the event loop's."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._waiting: deque[str] = deque()
        self._futures: dict[str, Future[bool]] = {}
        self._is_closed = False

    def add(self, job_id: str) -> Future[bool]:
        """Another one. What is offered already is not to be done twice."""
        future: Future[bool] = Future()
        with self._lock:
            if self._is_closed or job_id in self._futures:
                future.set_result(False)
            else:
                self._futures[job_id] = future
                self._waiting.append(job_id)
        return future

    def take(self, most: int) -> list[str]:
        """The next ones, which are to be claimed."""
        with self._lock:
            return [self._waiting.popleft() for _ in range(min(most, len(self._waiting)))]

    def claimed(self, taken: Sequence[str], asked: int, claims: Collection[Claim]) -> None:
        """Of those that were taken the first ones were asked for, so many, and these could be
        claimed; the others of them are refused, and the rest is offered again."""
        own = {claim.id for claim in claims}
        refused = [job_id for job_id in taken[:asked] if job_id not in own]
        with self._lock:
            if self._is_closed:
                refused += taken[asked:]
            else:
                self._waiting.extendleft(reversed(taken[asked:]))
        for job_id in refused:
            self.end(job_id, attempted=False)

    def end(self, job_id: str, *, attempted: bool) -> None:
        """Its attempt has ended, or there is none."""
        with self._lock:
            future = self._futures.pop(job_id, None)
        if future is not None:
            future.set_result(attempted)

    def end_all(self) -> None:
        """Nothing is known of them any more; whoever offered them does so again."""
        with self._lock:
            futures = list(self._futures.values())
            self._futures.clear()
            self._waiting.clear()
        for future in futures:
            future.set_result(False)

    def close(self) -> None:
        """Refuse those that wait, and those to come."""
        with self._lock:
            self._is_closed = True
        for job_id in self.take(len(self._waiting)):
            self.end(job_id, attempted=False)
