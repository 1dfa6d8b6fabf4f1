"""One connection to Redis, and the scripts that it does for us. No answer takes longer than 1 s."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.resources import files
from typing import Any, TypeAlias

import redis
import structlog
from redis import exceptions
from redis.backoff import NoBackoff
from redis.commands.core import Script
from redis.retry import Retry

from inferctl.errors import StartError
from inferctl.jobs.redis.breaker import Breaker
from inferctl.jobs.redis.names import PREFIX
from inferctl.jobs.store import StoreUnavailable

log = structlog.get_logger()

Argument: TypeAlias = str | bytes | int | float

TIMEOUT_S = 1.0
# How long a second try may take: whoever asks knows in 2 s.
AGAIN_S = 0.5
# A connection that was idle for so long is tried before it is used.
IDLE_S = 15
# The policy by which a Redis whose memory is full drops nothing.
KEEPS_ALL = "noeviction"
# What is told of an error: the first that it is one of.
FAILURES: tuple[tuple[type[Exception], str], ...] = (
    (exceptions.AuthenticationError, "Redis refuses the user or the password"),
    (exceptions.BusyLoadingError, "Redis is still loading"),
    (exceptions.TimeoutError, "Redis does not answer"),
    (Exception, "Redis is not there"),
)
SCRIPTS = files("inferctl.jobs.redis") / "scripts"


class Connection:
    """Made at the first question. Whoever asks hears StoreUnavailable in 2 s, or at once."""

    def __init__(self, url: str) -> None:
        self._redis = _client(url, TIMEOUT_S)
        self._redis_again = _client(url, AGAIN_S)
        self._breaker = Breaker()
        self._scripts: dict[str, Script] = {}
        self._is_asked = False

    def run(self, name: str, *arguments: Argument, again: bool = False) -> Any:
        """What the script of a name answers. Raises StoreUnavailable.

        `again` is for what comes to the same when it is done twice: where no answer came in time it
        may have been done, and is asked for once more.
        """
        self._breaker.check()
        with self._failing():
            try:
                answer = self._ask(self._redis, name, arguments)
            except exceptions.TimeoutError:
                if not again:
                    raise
                answer = self._ask(self._redis_again, name, arguments)
        self._breaker.succeeded()
        return answer

    def close(self) -> None:
        """Let go of it."""
        self._redis.close()
        self._redis_again.close()

    def _ask(self, client: redis.Redis, name: str, arguments: Sequence[Argument]) -> Any:
        if not self._is_asked:
            self._warn_of_what_is_lost(client)
        script = self._scripts.get(name)
        if script is None:
            script = self._scripts[name] = self._redis.register_script(_text(name))
        return script(args=[PREFIX, *arguments], client=client)

    @contextmanager
    def _failing(self) -> Iterator[None]:
        """Redis' errors as ours: of its own texts, which may hold what was asked, none is told."""
        try:
            yield
        except exceptions.ResponseError as error:
            raise _refused(error) from None
        except (exceptions.RedisError, OSError) as error:
            why = next(says for kind, says in FAILURES if isinstance(error, kind))
            raise self._breaker.failed(f"{why}, so no job can be looked at") from None

    def _warn_of_what_is_lost(self, client: redis.Redis) -> None:
        """Once, when it answers: whether jobs survive its death, and that there are too many."""
        try:
            answer = client.config_get("appendonly", "maxmemory-policy")
        except exceptions.ResponseError:  # CONFIG is forbidden where others run it
            client.ping()
            answer = {}
        self._is_asked = True
        if answer.get("appendonly") == "no":
            log.warning(
                "Redis keeps no append-only file: when it dies, jobs that were taken in are lost; "
                "set appendonly yes in its configuration"
            )
        if (policy := answer.get("maxmemory-policy", KEEPS_ALL)) != KEEPS_ALL:
            log.warning(
                "Redis drops keys when its memory is full, so jobs that were taken in may be lost; "
                "set maxmemory-policy noeviction in its configuration",
                policy=policy,
            )


def _client(url: str, timeout_s: float) -> redis.Redis:
    try:
        return redis.Redis.from_url(
            url,
            socket_connect_timeout=timeout_s,
            socket_timeout=timeout_s,
            socket_keepalive=True,
            health_check_interval=IDLE_S,
            retry=Retry(NoBackoff(), 0),
            protocol=2,
        )
    except ValueError:
        raise StartError(
            "is no address of a Redis", where="jobs.redis_url", hint="e.g. redis://host:6379/0"
        ) from None


def _text(name: str) -> str:
    """A script; Redis reads what is in its first line before it has read the rest."""
    flags, _, body = (SCRIPTS / f"{name}.lua").read_text(encoding="ascii").partition("\n")
    return f"{flags}\n{(SCRIPTS / 'prelude.lua').read_text(encoding='ascii')}\n{body}"


def _refused(error: exceptions.ResponseError) -> StoreUnavailable:
    """It is there, and does not do it; of its text, which may hold what was asked, the kind."""
    kind = str(error).partition(" ")[0][:32]
    if isinstance(error, exceptions.OutOfMemoryError) or kind == "OOM":
        return StoreUnavailable("Redis has no memory left, so no job is taken in")
    log.error("Redis refused what the job store asked", kind=kind)
    return StoreUnavailable("Redis refused what the job store asked")
