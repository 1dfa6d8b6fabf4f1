"""Where a worker's jobs are worked on: their items take turns, one of each job after the other."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Iterator

import orjson

from inferctl.arena.ledger import Ledger
from inferctl.errors import InferctlError
from inferctl.jobs.job import Item
from inferctl.refusals import NotFound
from inferctl.server.call import BUG, Call, Reply, problem
from inferctl.server.jobs.attempt import Attempt
from inferctl.server.jobs.item_run import ItemRun
from inferctl.server.jobs.window import window_items
from inferctl.server.predict import Predict, Route
from inferctl.server.served import ServedModel

# Those of many items take no room: who has one would wait for all of them.
MOST_ATTEMPTS = 256
# A model with which nothing goes on for so long takes no room, and what waits for it is for others,
# or for later.
STALL_S, STALL_PAUSE_S = 5.0, 10.0


class Floor:
    """`attempts` are those that the store has not yet heard the end of. `tell` is called when there
    is something for it to hear, or room for more. Lives on the event loop's thread."""

    def __init__(
        self, ledger: Ledger, process: int, workers: int, predict: Predict,
        tell: Callable[[], None],
    ) -> None:  # fmt: skip
        self._ledger, self._workers = ledger, workers
        self._block = ledger.blocks[process]
        self._predict, self._work = predict, predict.work
        self._tell = tell
        self.attempts: list[Attempt] = []
        self._turns: deque[Attempt] = deque()
        self._under_way: defaultdict[int, int] = defaultdict(int)
        # When an item of the model came to something last.
        self._moved_s: defaultdict[int, float] = defaultdict(float)
        # One decoder is left to those who wait for their answer.
        self._most_decoding = max(1, self._work.decode_threads - 1)
        # What the engine has not got yet.
        self._preparing: set[ItemRun] = set()
        self._is_filling = False

    def window(self, models: Iterable[ServedModel]) -> int:
        """How many items may be under way, of the one of these models that takes most."""
        return max(map(self._window, models), default=0)

    def going(self) -> list[Attempt]:
        """Attempts that are not over, and of which something is under way, or comes."""
        held = [one for one in self.attempts if not one.is_over]
        return [one for one in held if one.under_way or not self._stalled(one)]

    def room(self, window: int) -> int:
        """How many jobs more can be worked on with this window: none beside a last attempt. One
        after the other beside jobs of many items, of which others may do some."""
        held = [one for one in self.attempts if not one.is_over]
        if any(one.claim.is_alone for one in held):  # who knows what it ends
            return 0
        singles = [one for one in held if not one.claim.is_bulk]
        stalled = sum(self._stalled(one) is not None for one in singles)
        room = max(0, min(window - len(singles) + stalled, MOST_ATTEMPTS - len(self.attempts)))
        return min(room, 1) if len(held) > len(singles) else room

    def hand_back_stalled(self) -> None:
        """Let go of jobs that wait for a model with which nothing goes on, but for as many as it
        has use for once something does. Those that are to be done alone would hold up all."""
        kept: Counter[int] = Counter()
        for attempt in self.attempts:
            claim = attempt.claim
            model = None if attempt.is_over or attempt.under_way else self._stalled(attempt)
            if model is None or (claim.is_bulk and not claim.is_alone):
                continue
            kept[model.place] += 1
            if claim.is_alone or kept[model.place] > self._window(model):
                attempt.hand_back(STALL_PAUSE_S)

    def _stalled(self, attempt: Attempt) -> ServedModel | None:
        """Its model, if for a while nothing came of the attempt, nor of any other at the model."""
        since_s = time.monotonic() - STALL_S
        if attempt.moved_s > since_s:
            return None
        with contextlib.suppress(NotFound):
            model = self._predict.native(attempt.claim.model, attempt.claim.version).model
            if self._moved_s[model.place] <= since_s:
                return model
        return None

    def add(self, attempt: Attempt, items: list[Item] | None) -> None:
        """Work on another job, of which these are the first items, if any were fetched."""
        self.attempts.append(attempt)
        if items is not None:
            self.stock(attempt, items)

    def stock(self, attempt: Attempt, items: list[Item]) -> None:
        """More items of one are here."""
        attempt.take_in(items)
        self._line_up(attempt)
        self.fill()
        if attempt.is_over:
            self._tell()

    def leave(self, attempt: Attempt) -> None:
        """The store knows how it ended, or it is nobody's business any more."""
        self.attempts.remove(attempt)

    def fill(self) -> None:
        """Begin what may be, one item in a turn of the loop: requests come first."""
        if not self._is_filling and self._turns:
            self._is_filling = True
            asyncio.get_running_loop().call_soon(self._fill)

    def _fill(self) -> None:
        self._is_filling = False
        if self._begin_one():
            self.fill()

    def _line_up(self, attempt: Attempt) -> None:
        """Let it have its next turn, if there is something to begin."""
        if attempt.ready and not (attempt.is_waiting or attempt.is_paused):
            attempt.is_waiting = True
            self._turns.append(attempt)

    def _begin_one(self) -> bool:
        """Begin an item of whose turn it is, and whose model has room; whether there was one."""
        decoding = sum(run.decoding() for run in self._preparing)
        if decoding >= self._most_decoding or self._work.memory_is_short():
            return False
        for _ in range(len(self._turns)):
            attempt = self._turns.popleft()
            attempt.is_waiting = False
            with self._failing(attempt):
                if self._begin_next(attempt):
                    return True
        return False

    def _begin_next(self, attempt: Attempt) -> bool:
        """Begin its next item, if there is one, and room for it; whether it was begun."""
        route = self._route(attempt)
        if route is None:
            return False
        has_room = self._under_way[route.model.place] < self._window(route.model)
        item = attempt.ready.popleft() if has_room else None
        self._line_up(attempt)
        if item is not None:
            self._begin(attempt, item, route)
        return item is not None

    @contextlib.contextmanager
    def _failing(self, attempt: Attempt) -> Iterator[None]:
        """What a bug leaves of an attempt would never end: it fails."""
        try:
            yield
        except Exception:
            self._fail(attempt, InferctlError(BUG))
            raise

    def _fail(self, attempt: Attempt, error: InferctlError) -> None:
        call = Call("", "", b"", {b"x-request-id": attempt.claim.id.encode("ascii")})
        attempt.fail(orjson.loads(problem(error, call).body))
        self._tell()
        self.fill()

    def _route(self, attempt: Attempt) -> Route | None:
        """Where its next item goes, if it has one."""
        if not attempt.ready or attempt.is_paused:
            return None
        claim = attempt.claim
        try:
            return self._predict.native(claim.model, claim.version)
        except NotFound as error:
            self._fail(attempt, error)
            return None

    def _begin(self, attempt: Attempt, item: Item, route: Route) -> None:
        run = ItemRun(attempt, item, route, self._work, self._answered, self._left_decoder)
        attempt.under_way.add(run)
        self._under_way[route.model.place] += 1
        self._preparing.add(run)
        run.take(item.body)

    def _left_decoder(self, run: ItemRun) -> None:
        self._preparing.discard(run)
        self.fill()

    def _answered(self, run: ItemRun, reply: Reply) -> None:
        place, attempt = run.model.place, run.attempt
        self._under_way[place] -= 1
        self._preparing.discard(run)
        attempt.under_way.discard(run)
        with self._failing(attempt):
            self._block.cell("inferctl_job_items_total", place, reply.outcome).add()
            if wait_s := attempt.answered(run, reply):
                attempt.is_paused = True
                asyncio.get_running_loop().call_later(wait_s, self._resume, attempt)
            else:
                self._moved_s[place] = time.monotonic()
        if attempt.has_news:
            self._tell()
        self._line_up(attempt)
        self.fill()

    def _resume(self, attempt: Attempt) -> None:
        attempt.is_paused = False
        self._line_up(attempt)
        self.fill()

    def _window(self, model: ServedModel) -> int:
        return window_items(self._ledger, model, self._workers)
