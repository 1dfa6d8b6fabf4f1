"""A steady load from processes of their own: so many requests a second, whatever is answered.

It comes in parts of a minute or less, so that who waits can look at what came of each.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import NamedTuple

from tests.faults.bad import Bad
from tests.faults.chaos import Client, Seen
from tests.faults.good import Good
from tests.faults.kept import Address, Kept

PROCESSES = 2
CLIENTS_EACH = 8
CAPACITY_S = 10.0
# Who is so late leaves out what he missed.
MAX_LATE_S = 5.0


class Mixture(NamedTuple):
    """Who is asked for what. With a patience the clients wait so long, else they hurry."""

    address: Address
    goods: Sequence[Good]
    bads: Sequence[Bad]
    patience_s: float = 0.0


class Load:
    """The processes; to be used as a context."""

    def __init__(self, mixture: Mixture, seed: int) -> None:
        self._mixture = mixture
        self._seed = seed
        self._parts = 0
        self._pool = ProcessPoolExecutor(PROCESSES, get_context("spawn"))

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown(cancel_futures=True)

    def capacity(self) -> float:
        """Requests a second when each client asks again as soon as it is answered."""
        self.ask(0.0, 1.0)  # the processes start
        return self.ask(0.0, CAPACITY_S).asked / CAPACITY_S

    def ask(self, rate: float, seconds: float) -> Seen:
        """Ask at a rate, or at any for 0, for so long."""
        return seen_by(self.begin(rate, seconds))

    def begin(self, rate: float, seconds: float) -> list[Future[Seen]]:
        """The same, to be waited for."""
        self._parts += 1
        seeds = [self._seed + 1000 * self._parts + number for number in range(PROCESSES)]
        each = rate / PROCESSES
        return [self._pool.submit(_part, self._mixture, each, seconds, seed) for seed in seeds]


def seen_by(parts: Sequence[Future[Seen]]) -> Seen:
    """What all of them saw, once they are over."""
    whole = Seen()
    for part in parts:
        whole.add(part.result())
    return whole


def ask_again_and_again(address: Address, request: bytes, times: int) -> None:
    """So many times the same, from each process on one connection."""
    with ProcessPoolExecutor(PROCESSES, get_context("spawn")) as pool:
        each = [times // PROCESSES] * PROCESSES
        list(pool.map(_again_and_again, [address] * PROCESSES, [request] * PROCESSES, each))


def _again_and_again(address: Address, request: bytes, times: int) -> None:
    with Kept(address) as client:
        for _ in range(times):
            assert client.ask(request).status == 200
        assert client.opened == 1


def _part(mixture: Mixture, rate: float, seconds: float, seed: int) -> Seen:
    """One process' part."""
    clients = [
        Client(
            mixture.address,
            mixture.goods,
            mixture.bads,
            seed * CLIENTS_EACH + n,
            mixture.patience_s,
        )
        for n in range(CLIENTS_EACH)
    ]
    end_s = time.monotonic() + seconds
    threads = [
        threading.Thread(target=_live, args=(client, rate / CLIENTS_EACH, end_s, seed + number))
        for number, client in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    whole = Seen()
    for client in clients:
        whole.add(client.seen)
    return whole


def _live(client: Client, rate: float, end_s: float, seed: int) -> None:
    """Ask at times that do not depend on the answers."""
    rng = random.Random(seed)
    pause = threading.Event()
    next_s = time.monotonic()
    while (now_s := time.monotonic()) < end_s:
        if rate:
            if now_s < next_s:
                pause.wait(min(next_s, end_s) - now_s)
                continue
            next_s = max(next_s, now_s - MAX_LATE_S) + rng.expovariate(rate)
        client.ask()
    client.close()
