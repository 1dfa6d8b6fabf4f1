"""What may happen to a service in a minute: one incident after the other, while it goes on."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial

from tests.e2e.service import Service
from tests.faults.abuse import QUICK, SLOW
from tests.faults.bad import bad_set
from tests.faults.chaos import Seen
from tests.faults.good import Good, good_set
from tests.faults.kept import Hang, Kept, NoAnswer, address_of, post
from tests.faults.kit import HUGE, LEAST, VOCABULARY
from tests.faults.load import Load, Mixture, seen_by

Say = Callable[[str], None]

ENGINE, WORKER = "inferctl-engine", "inferctl-worker"
MINUTE_S = 60.0
# An incident comes so long after its minute began.
QUIET_S = 5.0
STOPPED_S = 2.0
STARVED_S = 5.0
READY_WITHIN_S = 30.0
SPIN = "import time\nend = time.monotonic() + {}\nwhile time.monotonic() < end: pass"


class Havoc:
    """Does something to a service."""

    def __init__(self, service: Service, goods: list[Good], rng: random.Random) -> None:
        self._service = service
        self._address = address_of(service.url)
        self._goods = goods
        self._rng = rng
        inside: dict[str, Callable[[], None]] = {
            "an engine dies": lambda: self._signal(ENGINE, signal.SIGKILL),
            "an engine crashes": lambda: self._signal(ENGINE, signal.SIGSEGV),
            "an engine stands still": lambda: self._stop(ENGINE),
            "a worker dies": lambda: self._signal(WORKER, signal.SIGKILL),
            "a worker stands still": lambda: self._stop(WORKER),
            "a reload": lambda: self._service.process.send_signal(signal.SIGHUP),
            "a row kills the engine": lambda: self._rows("divmin", LEAST, 1),
            "rows fail": lambda: self._rows("gather", VOCABULARY, 50),
            "rows ask for too much memory": lambda: self._rows("alloc", HUGE, 5),
            "no CPU is left": self._starve,
        }
        outside: dict[str, Callable[[], None]] = {
            "a burst": lambda: self._burst(200),
            "clients without patience": self._hurry,
            "wrong requests": self._nonsense,
            **{name: partial(abuse, self._address, 5) for name, abuse in QUICK.items()},
            **{name: partial(abuse, self._address, 200) for name, abuse in SLOW.items()},
        }
        self.incidents = inside | outside
        self._kinds = (list(inside), list(outside))

    def draw(self) -> str:
        """The next incident: as often in the service as from its clients."""
        return self._rng.choice(self._rng.choice(self._kinds))

    def _pid(self, name: str) -> int:
        return self._rng.choice(self._service.pids(name))

    def _signal(self, name: str, number: signal.Signals) -> None:
        os.kill(self._pid(name), number)

    def _stop(self, name: str) -> None:
        """A watchdog may kill it meanwhile."""
        pid = self._pid(name)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(STOPPED_S)
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGCONT)

    def _rows(self, model: str, x: int, count: int) -> None:
        request = post(f"/models/{model}/predict", b'{"inputs":[%d]}' % x)
        with Kept(self._address, again=True) as client:
            for _ in range(count):
                with suppress(Hang, NoAnswer):
                    client.ask(request, READY_WITHIN_S)

    def _burst(self, count: int) -> None:
        """All of them at once, each on a connection of its own."""
        request = self._rng.choice(self._goods).request
        together = threading.Barrier(count)

        def ask() -> None:
            together.wait()
            with Kept(self._address) as client, suppress(Hang, NoAnswer):
                client.ask(request, READY_WITHIN_S)

        threads = [threading.Thread(target=ask) for _ in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def _hurry(self) -> None:
        with Kept(self._address) as client:
            for _ in range(500):
                with suppress(Hang, NoAnswer):
                    client.ask(self._rng.choice(self._goods).request, 0.002)

    def _nonsense(self) -> None:
        with Kept(self._address) as client:
            for one in bad_set() * 5:
                with suppress(Hang, NoAnswer):
                    client.ask(one.request)

    def _starve(self) -> None:
        """Two programs that take all they get."""
        spin = [sys.executable, "-c", SPIN.format(STARVED_S)]
        spinning = [subprocess.Popen(spin) for _ in range(2)]
        for process in spinning:
            process.wait()


@dataclass
class Minutes:
    """What came of them: what the patient clients saw, and what was not as it must be."""

    seen: Seen
    complaints: list[str]

    @property
    def availability(self) -> float:
        """The share of right requests that got their answer."""
        return self.seen.right / max(self.seen.goods, 1)


def endure(service: Service, minutes: float, load: float, seed: int, say: Say) -> Minutes:
    """An incident each minute, drawn anew, under a steady load of right requests."""
    address = address_of(service.url)
    goods = good_set(address)
    havoc = Havoc(service, goods, random.Random(seed))
    whole = Minutes(Seen(), [])
    with Load(Mixture(address, goods, (), READY_WITHIN_S), seed) as clients:
        rate = clients.capacity() * load
        say(f"havoc: seed {seed}, {rate:,.0f} requests a second")
        end_s = time.monotonic() + minutes * MINUTE_S
        while (left_s := end_s - time.monotonic()) > 1.0:
            asking = clients.begin(rate, min(left_s, MINUTE_S))
            time.sleep(min(QUIET_S, left_s / 2))
            name = havoc.draw()
            havoc.incidents[name]()
            seen = seen_by(asking)
            whole.seen.add(seen)
            whole.complaints += [f"{name}: {wrong}" for wrong in seen.wrong]
            if not _is_well(service):
                whole.complaints.append(f"{name}: not ready after {READY_WITHIN_S:g} s")
            if service.process.poll() is not None:
                break
            say(f"havoc: {name}: {seen.right:,} of {seen.goods:,} right, {whole.availability:.3%}")
    return whole


def _is_well(service: Service) -> bool:
    """Whether it runs, and is ready soon."""
    give_up_s = time.monotonic() + READY_WITHIN_S
    while time.monotonic() < give_up_s and service.process.poll() is None:
        with suppress(OSError):
            if service.request("/readyz").status == 200:
                return True
        time.sleep(0.1)
    return False
