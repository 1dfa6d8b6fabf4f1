"""One request and its answer, with the deadline and the retries; how it is sent is not known here.

A conversation is a generator of steps. Whoever runs it does each step and sends back what came of
it: the synchronous client by blocking, the asynchronous one by awaiting. So both have one logic.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import orjson

from inferctl.client.errors import (
    BY_STATUS,
    ClientError,
    DeadlineExceeded,
    Overloaded,
    Unavailable,
    UnexpectedAnswer,
    Unreachable,
)

T = TypeVar("T")

OK = 200
# Before the n-th retry, if the server does not say how long: this, doubled n times, up to a limit.
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 2.0
# That limit is reached before; who waits for days would come to a number that is none.
MOST_DOUBLINGS = 10
# A crowd that was refused together must not come back together.
JITTER = 0.25
# A wait of no time at all would be taken for one without a limit.
LEAST_WAIT_S = 1e-3
NO_TIME_LEFT = "no answer came in time"


class TimeLeft(Mapping[str, float]):
    """Seconds until a deadline, asked anew before each wait: to connect, to write, to read.

    It is the `timeout` extension of a request, so that all its waits together keep the deadline.
    """

    def __init__(self, timeout_s: float, now: Callable[[], float]) -> None:
        self.timeout_s = timeout_s
        self._now = now
        self._ends_s = now() + timeout_s

    def left_s(self) -> float:
        """Seconds left, negative when it is over."""
        return self._ends_s - self._now()

    def __getitem__(self, wait: str) -> float:
        return max(self.left_s(), LEAST_WAIT_S)

    def __iter__(self) -> Iterator[str]:
        return iter(("connect", "read", "write", "pool"))

    def __len__(self) -> int:
        return len(tuple(iter(self)))


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request, but for what changes from one attempt to the next.

    `is_repeatable` is whether it may be asked again though the server may have done it. `accepted`
    are the statuses that are no error. Of a body beyond `most_bytes` the rest is left unread.
    """

    method: str
    path: str
    request_id: str = ""
    params: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    is_prediction: bool = False
    is_repeatable: bool = False
    accepted: tuple[int, ...] = (OK,)
    most_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Step: send it; what comes back is a Reply or a Lost."""

    outgoing: Outgoing
    headers: Mapping[str, str]
    time_left: TimeLeft


@dataclass(frozen=True, slots=True)
class Pause:
    """Step: wait; nothing comes back."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Encode:
    """Step: do what takes as long as a file or an image does; its result comes back."""

    work: Callable[[], Any]


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer, whatever its status; header names are in lower case.

    `is_whole` is False where the rest of a long body was left unread.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class Lost:
    """No answer. `unsent` is whether none had begun, so that asking again is safe."""

    error: ClientError
    unsent: bool


Steps = Generator[Send | Pause | Encode, Any, T]


@dataclass(frozen=True, slots=True)
class Patience:
    """How often it is asked again, and by which clock; `random` gives 0..1."""

    max_retries: int
    now: Callable[[], float]
    random: Callable[[], float]

    def without_retries(self) -> Patience:
        """By the same clock, but asked once."""
        return replace(self, max_retries=0)

    def pause_s(self, attempt: int, retry_after_s: float | None) -> float:
        """Seconds before attempt `attempt` + 1. Never less than what the server asked for."""
        if retry_after_s is not None:
            return retry_after_s * (1 + JITTER * self.random())
        usual_s = min(FIRST_PAUSE_S * 2.0 ** min(attempt, MOST_DOUBLINGS), LONGEST_PAUSE_S)
        return usual_s * (1 - JITTER * self.random())


def exchange(outgoing: Outgoing, time_left: TimeLeft, patience: Patience) -> Steps[Reply]:
    """Ask, again where that is safe and there is time. Returns an answer of an accepted status.

    Asked again is after a connection that broke before an answer, after 429 and after 503: then
    nothing was done; what is repeatable also after an answer that broke off. Raises ClientError.
    """
    for attempt in range(patience.max_retries + 1):
        left_ms = int(time_left.left_s() * 1000)
        if left_ms < 1:
            raise _too_late(outgoing, time_left)
        headers = {"x-request-timeout-ms": str(left_ms)} if outgoing.is_prediction else {}
        outcome = yield Send(outgoing, {**outgoing.headers, **headers}, time_left)
        if isinstance(outcome, Reply) and outcome.status in outgoing.accepted:
            return outcome
        error, retry_after_s = _failure(outcome, outgoing)
        again = _is_safe(outcome, outgoing) if isinstance(outcome, Lost) else is_refusal(error)
        pause_s = patience.pause_s(attempt, retry_after_s)
        if not again or attempt == patience.max_retries or pause_s >= time_left.left_s():
            raise error
        yield Pause(pause_s)
    raise AssertionError("the last attempt raises or returns")


def _is_safe(lost: Lost, outgoing: Outgoing) -> bool:
    """Whether nothing is done twice when it is asked again."""
    return lost.unsent or (outgoing.is_repeatable and isinstance(lost.error, Unreachable))


def is_refusal(error: ClientError) -> bool:
    """Whether the server did nothing, and may do it later."""
    return isinstance(error, Overloaded | Unavailable)


def json_of(reply: Reply, request_id: str) -> Any:
    """The answer's JSON. Raises UnexpectedAnswer."""
    try:
        return orjson.loads(reply.body)
    except ValueError:
        raise UnexpectedAnswer(
            "the answer is not JSON", hint="is it an inferctl server?", status=reply.status,
            request_id=request_id,
        ) from None  # fmt: skip


def error_of(status: int, problem: Any, request_id: str) -> ClientError:
    """The error of an answer's status and its problem document, if it has one."""
    kind = BY_STATUS.get(status, UnexpectedAnswer)
    if not isinstance(problem, dict) or not isinstance(problem.get("detail"), str):
        return kind(f"the server answered {status}", status=status, request_id=request_id)
    return kind(
        problem["detail"],
        hint=str(problem.get("hint") or ""),
        code=str(problem.get("code") or ""),
        status=status,
        request_id=str(problem.get("request_id") or request_id),
    )


def _failure(outcome: Reply | Lost, outgoing: Outgoing) -> tuple[ClientError, float | None]:
    """What went wrong, and how many seconds the server wants to be left alone."""
    if isinstance(outcome, Lost):
        outcome.error.request_id = outgoing.request_id
        return outcome.error, None
    try:
        problem = orjson.loads(outcome.body)
    except ValueError:
        problem = None
    error = error_of(outcome.status, problem, outgoing.request_id)
    return error, retry_after_s_of(outcome.headers)


def retry_after_s_of(headers: Mapping[str, str]) -> float | None:
    """Seconds until it may be asked again: exactly, or as RFC 9110 has them.

    Proxies write dates too, which are of the wall clock.
    """
    exact_ms, value = headers.get("retry-after-ms", ""), headers.get("retry-after")
    if exact_ms.isdecimal():
        return int(exact_ms) / 1000
    if value is None:
        return None
    try:
        seconds = float(value)
    except ValueError:
        return _seconds_until(value)
    return max(0.0, seconds) if math.isfinite(seconds) else None


def _seconds_until(date: str) -> float | None:
    try:
        moment = parsedate_to_datetime(date)
        return max(0.0, (moment - moment.now(moment.tzinfo)).total_seconds())
    except (ValueError, TypeError):
        return None


def _too_late(outgoing: Outgoing, time_left: TimeLeft) -> DeadlineExceeded:
    return DeadlineExceeded(
        f"{NO_TIME_LEFT}: {time_left.timeout_s:g} s",
        hint="raise timeout_s",
        request_id=outgoing.request_id,
    )
