"""What every predict request of a worker works with."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from inferctl.errors import StartError
from inferctl.refusals import TooLarge
from inferctl.server.health import State
from inferctl.server.intake import Intake
from inferctl.server.link import EngineLink
from inferctl.server.logs import RequestLog
from inferctl.server.tally import Tally
from inferctl.server.timeouts import Timeouts
from inferctl.server.traces import Traces
from inferctl.settings import ServerSettings

if TYPE_CHECKING:
    from inferctl.server.prediction import Prediction


# A thread that has not begun by then has died.
START_TIMEOUT_S = 10.0


class Workplace:
    """The line to the engine, the log, the bounds, the decoders; the same for all models."""

    def __init__(
        self, link: EngineLink, log: RequestLog, tally: Tally, state: State,
        settings: ServerSettings, decode_threads: int, workers: int, traces: Traces | None = None,
    ) -> None:  # fmt: skip
        self.link = link
        self.log = log
        self.tally = tally
        self.traces = traces
        self.is_loaded, self.memory_is_short = state.is_loaded, state.memory_is_short
        self.timeout_s = settings.request_timeout_ms / 1000
        self.max_timeout_s = settings.max_request_timeout_ms / 1000
        self.max_body_bytes = settings.max_body_bytes
        self.timeouts: Timeouts[Prediction] = Timeouts(
            self.timeout_s, lambda request: request.expire()
        )
        self.intake = Intake(settings.max_waiting_body_bytes // workers)
        self.decode_threads = decode_threads
        self.decoders = _all_started(decode_threads)

    def too_large(self) -> TooLarge:
        """The error of a body that is larger than any may be."""
        what = f"the body is larger than {self.max_body_bytes} bytes"
        return TooLarge(what, hint="send a smaller one")


def _all_started(threads: int) -> ThreadPoolExecutor:
    """Decoders that have their threads: later, in the middle of a request, there may be none.

    Raises StartError when there are none now.
    """
    decoders = ThreadPoolExecutor(threads, "decode")
    at_work = threading.Barrier(threads + 1)
    try:
        for _ in range(threads):
            decoders.submit(at_work.wait)
    except RuntimeError as error:
        at_work.abort()
        raise StartError(f"cannot start the decoders: {error}", where="RLIMIT_NPROC") from None
    try:
        at_work.wait(START_TIMEOUT_S)
    except threading.BrokenBarrierError:  # one died before it began
        raise StartError(f"the decoders did not start in {START_TIMEOUT_S:g} s") from None
    return decoders
