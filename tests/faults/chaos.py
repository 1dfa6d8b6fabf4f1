"""Clients of every kind at once: right requests and wrong ones, with and without patience."""

from __future__ import annotations

import random
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from tests.faults.bad import Bad
from tests.faults.good import Good
from tests.faults.kept import Address, Hang, Kept, NoAnswer, Unsent

THREADS = 8
BAD_SHARE = 0.3
# Clients wait 0 to 330 ms: most as long as they must, some not at all.
PATIENCE_S = 0.33
LEAST_PATIENCE_S = 0.0005
# What an overloaded service may say to anybody.
BUSY = frozenset((429, 503, 504))
PROGRESS = 10_000


@dataclass
class Seen:
    """What the clients saw: of the right requests, those that were waited for and answered.

    `left` are requests that were sent, and count, and whose answer nobody waited for; `statuses`
    are the answers of those that count. `wrong` has a line for each answer that is not right.
    """

    asked: int = 0
    goods: int = 0
    right: int = 0
    refused: int = 0
    abandoned: int = 0
    left: int = 0
    statuses: Counter[int] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    def add(self, other: Seen) -> None:
        self.asked += other.asked
        self.goods += other.goods
        self.right += other.right
        self.refused += other.refused
        self.abandoned += other.abandoned
        self.left += other.left
        self.statuses += other.statuses
        self.wrong += other.wrong


class Client:
    """One of them; number n of a seed asks the same each time.

    With `patience_s` it waits so long for each answer, and asks again where a connection ended.
    """

    def __init__(
        self,
        address: Address,
        goods: Sequence[Good],
        bads: Sequence[Bad],
        seed: int,
        patience_s: float = 0.0,
    ) -> None:
        self._client = Kept(address, again=patience_s > 0)
        self._goods, self._bads = goods, bads
        self._rng = random.Random(seed)
        self._patience_s = patience_s
        self.seen = Seen()

    def ask(self) -> None:
        """One request, right or wrong."""
        rng, seen = self._rng, self.seen
        is_bad = bool(self._bads) and rng.random() < BAD_SHARE
        request: Good | Bad = rng.choice(self._bads) if is_bad else rng.choice(self._goods)
        hurry_s = max(PATIENCE_S * rng.random() ** 2, LEAST_PATIENCE_S)
        counts = isinstance(request, Good) or request.counts
        seen.asked += 1
        try:
            reply = self._client.ask(request.request, self._patience_s or hurry_s)
        except (Hang, NoAnswer) as error:
            if isinstance(error, Hang) and not self._patience_s:
                seen.abandoned += 1
                seen.left += counts and not isinstance(error, Unsent)
                return
            seen.goods += not is_bad
            seen.wrong.append(f"{request.name}: {error!r}")
            return
        seen.statuses[reply.status] += counts
        if isinstance(request, Good):
            seen.goods += 1
            is_right = request.is_answered_by(reply)
            seen.right += is_right
        else:
            seen.refused += 1
            is_right = reply.status in request.statuses
        if not is_right and reply.status not in BUSY:
            seen.wrong.append(f"{request.name}: {reply.status} {reply.body[:200]!r}")

    def close(self) -> None:
        self._client.close()


def chaos(
    address: Address,
    goods: Sequence[Good],
    bads: Sequence[Bad],
    requests: int,
    seed: int,
    say: Callable[[str], None],
) -> Seen:
    """Ask so many from eight threads at once."""
    seen = Seen()
    adding = threading.Lock()
    clients = [Client(address, goods, bads, seed + number) for number in range(THREADS)]
    left = iter(range(requests))

    def live(client: Client) -> None:
        while True:
            with adding:
                number = next(left, None)
            if number is None:
                break
            client.ask()
            if number % PROGRESS == PROGRESS - 1:
                say(f"chaos: {number + 1:,} of {requests:,}")
        client.close()

    threads = [threading.Thread(target=live, args=(client,)) for client in clients]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for client in clients:
        seen.add(client.seen)
    return seen
