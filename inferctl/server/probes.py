"""`/livez` and `/readyz`; with `?verbose` each check in a line, as Kubernetes has it."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Annotated, Any, NamedTuple

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import PlainTextResponse

from inferctl.server import cautions
from inferctl.server.health import Check, Live, Ready, State
from inferctl.server.v2 import state_of

PING = Check("ping")
# Whoever asks has no key, and need not know what is served here.
WITHHELD = "reason withheld"
_TEXT: dict[str, Any] = {"text/plain": {"schema": {"type": "string"}}}
_NOT_READY: dict[str, Any] = {
    "model": Ready,
    "content": _TEXT,
    "description": "loading, draining, or no engine",
}

Verbose = Annotated[
    str | None, Query(description="say of each check what came of it, as text; of any value")
]
Exclude = Annotated[
    tuple[str, ...], Query(description="a check that is not to count; several times")
]


class Probe(NamedTuple):
    """A question with its answer, and what does not change that, and is to be known."""

    name: str
    checks: Sequence[Check]
    excluded: Collection[str]
    notes: Sequence[str] = ()

    @property
    def passed(self) -> bool:
        """Whether nothing fails that counts."""
        return not any(one.problem for one in self.checks if one.name not in self.excluded)

    def text(self, *, tells_why: bool) -> str:
        """A line for each check, and one for all of them."""
        lines = [self._line(one, tells_why=tells_why) for one in self.checks]
        if set(self.excluded) - {one.name for one in self.checks}:
            lines.append("warn: not every name to exclude is that of a check")
        if tells_why:
            lines += [f"warn: {note}" for note in self.notes]
        lines.append(f"{self.name} check {'passed' if self.passed else 'failed'}")
        return "\n".join(lines) + "\n"

    def _line(self, check: Check, *, tells_why: bool) -> str:
        if check.name in self.excluded:
            return f"[+]{check.name} excluded: ok"
        if not check.problem:
            return f"[+]{check.name} ok"
        return f"[-]{check.name}: {check.problem if tells_why else WITHHELD}"


def probe_routes() -> APIRouter:
    """Both, open to whoever asks."""
    router = APIRouter(tags=["state"])

    @router.get(
        "/livez",
        summary="200 while the process answers",
        response_model=Live,
        responses={200: {"content": _TEXT}},
    )
    async def livez(
        request: Request,
        verbose: Verbose = None,
        exclude: Exclude = (),
    ) -> Live | Response:
        probe = Probe("livez", [PING], exclude)
        return Live(live=True) if verbose is None else _told(probe, state_of(request))

    @router.get(
        "/readyz",
        summary="200 when every model is warm",
        response_model=Ready,
        responses={200: {"content": _TEXT}, 503: _NOT_READY},
    )
    async def readyz(
        request: Request,
        response: Response,
        verbose: Verbose = None,
        exclude: Exclude = (),
    ) -> Ready | Response:
        state = state_of(request)
        notes = [*cautions.of_jobs(state.ledger)]
        probe = Probe("readyz", state.checks(), exclude, notes)
        if verbose is not None:
            return _told(probe, state)
        response.status_code = _status(probe)
        return Ready(ready=probe.passed)

    return router


def _told(probe: Probe, state: State) -> Response:
    text = probe.text(tells_why=not state.is_keyed())
    return PlainTextResponse(text, _status(probe))


def _status(probe: Probe) -> int:
    return 200 if probe.passed else 503
