"""What whoever operates a service should know of its settings, and what to do about it; said in the
log, by `inferctl doctor` and in /health."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from inferctl.settings import ServerSettings


class Caution(NamedTuple):
    """What is so, and what would do away with it; a sentence as a string."""

    finding: str
    fix: str

    def __str__(self) -> str:
        return f"{self.finding}: {self.fix}"


# Of a CPU that nobody asked for.
NO_GPU = Caution(
    "no CUDA device, so the models run on the CPU",
    "`inferctl doctor` tells why; set runtime.device = cpu if that is meant",
)


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
