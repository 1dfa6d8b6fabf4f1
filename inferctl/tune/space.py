"""What can be set, and to what: the axes of the search, and candidates on them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from typing import Any, Literal, TypeAlias

from inferctl.bench.slo import Slo
from inferctl.settings import ModelSettings, Settings

Auto: TypeAlias = Literal["auto"]
# Instances, and the threads of each.
Layout: TypeAlias = tuple[int | Auto, int | Auto]
Axis = Literal["variant", "layout", "workers", "batch", "wait", "decode"]

# A batch that is held for longer than this share of the limit leaves no time for the rest.
LONGEST_WAIT = 0.25
WAITS_MS = (1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
# More waits than this differ by less than a measurement shows.
MOST_WAITS = 3


@dataclass(frozen=True, slots=True)
class Variant:
    """A version of the model that may be served: where its bundle is, and what tells it apart.

    `digest` is of its manifest, which has the hashes of all files.
    """

    folder: str
    name: str
    version: int
    precision: str
    digest: str = ""

    def __str__(self) -> str:
        return f"{self.name} v{self.version} ({self.precision})"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One way to serve the model."""

    variant: Variant
    layout: Layout
    workers: int | Auto
    batch: int | Auto
    wait: float
    decode: Literal["fast", "exact"]

    def settings(self) -> dict[str, dict[str, Any]]:
        """What it sets, by section and key."""
        instances, threads = self.layout
        return {
            "server": {"workers": self.workers},
            "batching": {"max_batch_rows": self.batch, "max_wait_ms": self.wait},
            "runtime": {
                "instances": instances,
                "intra_op_threads": threads,
                "decode": self.decode,
            },
        }

    def words(self) -> dict[Axis, str]:
        """Each axis in words."""
        instances, threads = self.layout
        layout = "auto" if self.layout == ("auto", "auto") else f"{instances} x {threads} threads"
        return {
            "variant": str(self.variant),
            "layout": f"instances {layout}",
            "workers": f"workers {self.workers}",
            "batch": f"batch {self.batch}",
            "wait": f"wait {self.wait:g} ms",
            "decode": f"decode {self.decode}",
        }

    def __str__(self) -> str:
        return ", ".join(self.words().values())

    def beside(self, other: Candidate) -> str:
        """In what it differs from another one, in words."""
        own, others = self.words(), other.words()
        if self.variant != other.variant and own["variant"] == others["variant"]:
            own["variant"] += f" in {self.variant.folder}"
        return ", ".join(own[axis] for axis in own if own[axis] != others[axis]) or "as it is"


@dataclass(frozen=True, slots=True)
class Space:
    """The values of each axis, in the order in which they are tried; `base` is what is set now."""

    base: Candidate
    axes: Mapping[Axis, tuple[Any, ...]] = field(default_factory=dict)

    def along(self, axis: Axis, best: Candidate) -> Iterator[Candidate]:
        """Those that differ from one in an axis alone."""
        for value in self.axes.get(axis, ()):
            other = with_value(best, axis, value)
            if other != best:
                yield other

    def all(self) -> Iterator[Candidate]:
        """Every combination: the grid."""
        names = list(self.axes)
        for values in product(*self.axes.values()):
            candidate = self.base
            for axis, value in zip(names, values, strict=True):
                candidate = with_value(candidate, axis, value)
            yield candidate


def with_value(candidate: Candidate, axis: Axis, value: Any) -> Candidate:
    """It, with another value of an axis."""
    return replace(candidate, **{axis: value})


def base_candidate(settings: Settings, variant: Variant) -> Candidate:
    """What the settings say now."""
    own: ModelSettings = settings.for_model(variant.name)
    return Candidate(
        variant=variant,
        layout=(own.runtime.instances, own.runtime.intra_op_threads),
        workers=settings.server.workers,
        batch=own.batching.max_batch_rows,
        wait=own.batching.max_wait_ms,
        decode=own.runtime.decode,
    )


def find_space(
    base: Candidate, variants: Iterable[Variant], slo: Slo, *,
    cores: int, rows: Iterable[int], is_image: bool, on_gpu: bool,
) -> Space:  # fmt: skip
    """The axes of a model on a machine; each has the base's value first.

    `rows` are the batch sizes that its bundle is made for.
    """
    layouts: list[Layout] = (
        [("auto", "auto"), (1, "auto"), (4, "auto")] if on_gpu else list(_layouts(cores))
    )
    longest_ms = slo.limit_ms * LONGEST_WAIT
    waits = [wait for wait in WAITS_MS if wait <= longest_ms][-MOST_WAITS:]
    axes: dict[Axis, tuple[Any, ...]] = {
        "variant": _first(base.variant, variants),
        "layout": _first(base.layout, layouts),
        "workers": _first(base.workers, _workers(base.workers, cores)),
        "batch": _first(base.batch, ["auto", *rows]),
        "wait": _first(base.wait, [0.0, *waits]),
        "decode": _first(base.decode, ("fast", "exact") if is_image else ()),
    }
    return Space(base, {axis: values for axis, values in axes.items() if len(values) > 1})


def _layouts(cores: int) -> Iterator[Layout]:
    """Ways to share the cores out: "auto" is an instance for each, or none beside the reader."""
    yield "auto", "auto"
    for threads in (one for one in range(2, cores + 1) if cores % one == 0):
        yield cores // threads, threads
    yield 1, 1


def _workers(base: int | Auto, cores: int) -> list[int]:
    """One, doubling; not as many as there are cores, where that is what "auto" is."""
    counts = []
    count = 1
    while count < cores:
        counts.append(count)
        count *= 2
    return counts if base == "auto" else [*counts, cores]


def _first(value: Any, others: Iterable[Any]) -> tuple[Any, ...]:
    return tuple(dict.fromkeys([value, *others]))
