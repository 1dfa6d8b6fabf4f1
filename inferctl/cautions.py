"""What whoever operates a service should know of its settings, and what to do about it; said in the
log, by `inferctl doctor` and in /health."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from inferctl.settings import ServerSettings


class Caution(NamedTuple):
    """What is so, and what would do away with it; a sentence as a string."""

    finding: str
    fix: str

    def __str__(self) -> str:
        return f"{self.finding}: {self.fix}"


class Located(Protocol):
    """Where a version runs, and what is missing for where it would have run."""

    @property
    def on_cuda(self) -> bool:
        """Whether it is on a GPU."""

    @property
    def missing(self) -> str:
        """Empty where nothing is."""

    @property
    def fix(self) -> str:
        """What would mend that."""


def of_fallback(placed: Iterable[tuple[str, Located]], models: int) -> Iterator[Caution]:
    """Of a CPU that nobody asked for, or of a GPU without TensorRT: which of so many models run
    there, what is missing, and what would mend that."""
    alike: dict[tuple[str, str, bool], list[str]] = defaultdict(list)
    for name, one in placed:
        names = alike[one.missing, one.fix, one.on_cuda]
        if name not in names:  # it may have several versions
            names.append(name)
    for (missing, fix, on_cuda), names in alike.items():
        where, meant = (
            ("without TensorRT", "runtime.tensorrt = false")
            if on_cuda
            else ("on the CPU", "runtime.device = cpu")
        )
        if missing:
            yield Caution(
                f"{missing}, so {_who(names, models)} {where}",
                f"{fix}; set {meant} if that is meant",
            )


def _who(names: Sequence[str], models: int) -> str:
    if len(names) == 1:
        return f"{names[0]} runs"
    if len(names) == models:
        return "the models run"
    return f"{', '.join(names[:-1])} and {names[-1]} run"


def of_openness(server: ServerSettings, *, is_keyed: bool) -> Iterator[Caution]:
    """Of who may do what; `is_keyed` is whether there are API keys just now."""
    if server.is_public and not is_keyed:
        yield Caution(
            "whoever reaches the port may use it", "make API keys with `inferctl key NAME`"
        )
    elif server.is_public and not server.tls_cert:
        yield Caution(
            "API keys can be read on their way, unless a proxy in front has TLS",
            "set server.tls_cert and server.tls_key",
        )
    if server.admin:
        yield Caution(
            "models can be loaded over HTTP", "set server.admin = false unless that is needed"
        )
    for name, is_served in (("docs", server.serves_docs), ("ui", server.serves_page)):
        if server.is_public and is_served:
            yield Caution(
                f"others than this machine reach server.{name}", f"set server.{name} = false"
            )
