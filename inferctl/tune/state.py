"""What was measured, kept in a file as it comes, so that a search can be gone on with.

The search decides by what it measured and by nothing else, so going on is going through it again:
a measurement that is in the file is not made twice. A file is of one model, machine, version and
question; another question has another file.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict, deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import orjson

from inferctl.bench.slo import Judged
from inferctl.errors import OutputError
from inferctl.files import write_whole
from inferctl.tune.space import Candidate

VERSION = 2
DIGEST_CHARS = 12
# A window's ends are known to a few milliseconds.
AS_LONG = 0.99


@dataclass(slots=True)
class State:
    """The measurements of one question; `question` is everything that they depend on.

    `curves` are of variants, by their digests.
    """

    file: Path
    question: Mapping[str, Any]
    curves: dict[str, dict[int, dict[int, float]]] = field(default_factory=dict)
    start_per_s: float | None = None
    _probes: list[dict[str, Any]] = field(default_factory=list)
    _known: dict[tuple[str, str, float], deque[Judged]] = field(
        default_factory=lambda: defaultdict(deque)
    )

    @property
    def measured(self) -> int:
        """How many measurements there are."""
        return len(self._probes)

    def recall(
        self, stage: str, candidate: Candidate, rate_per_s: float, least_s: float = 0.0
    ) -> Judged | None:
        """A measurement that was made before, each once; shorter ones are passed over."""
        found = self._known.get((stage, _name(candidate), rate_per_s))
        while found:
            judged = found.popleft()
            if judged.seconds >= AS_LONG * least_s:
                return judged
        return None

    def add(self, stage: str, candidate: Candidate, judged: Judged) -> None:
        """Keep a measurement; it is in the file when this returns. Raises OutputError."""
        self._probes.append(
            {"stage": stage, "candidate": _name(candidate), "judged": asdict(judged)}
        )
        self.save()

    def save(self) -> None:
        """Write the file, whole or not at all. Raises OutputError."""
        document = {
            "question": self.question, "curves": self.curves, "start_per_s": self.start_per_s,
            "probes": self._probes,
        }  # fmt: skip
        content = orjson.dumps(document, option=orjson.OPT_NON_STR_KEYS | orjson.OPT_INDENT_2)
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(
                f"cannot keep what was measured: {error.strerror}", where=str(self.file),
                hint="--state takes a folder that is writable",
            ) from None  # fmt: skip
        write_whole(self.file, content)


def open_state(folder: Path, name: str, question: Mapping[str, Any], *, fresh: bool) -> State:
    """The state of a question, with what is known of it unless it is to be `fresh`.

    A file that is none of ours is left alone, and raises OutputError.
    """
    asked = orjson.dumps({"version": VERSION, **question}, option=orjson.OPT_SORT_KEYS)
    digest = hashlib.sha256(asked).hexdigest()[:DIGEST_CHARS]
    state = State(folder / f"tune-{name}-{digest}.json", dict(question))
    if fresh or not state.file.exists():
        return state
    try:
        document = orjson.loads(state.file.read_bytes())
        state.curves = {
            digest: {
                int(threads): {int(rows): seconds for rows, seconds in curve.items()}
                for threads, curve in by_threads.items()
            }
            for digest, by_threads in document["curves"].items()
        }
        state.start_per_s = document["start_per_s"]
        for probe in document["probes"]:
            judged = _judged(probe["judged"])
            state._probes.append({**probe, "judged": asdict(judged)})
            state._known[probe["stage"], probe["candidate"], judged.rate_per_s].append(judged)
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        raise OutputError(
            "the file does not hold what a search kept", where=str(state.file),
            hint="remove it, or say --fresh to begin anew",
        ) from None  # fmt: skip
    return state


def _name(candidate: Candidate) -> str:
    """Two variants may be called alike."""
    return f"{candidate} of {candidate.variant.digest[:DIGEST_CHARS]}"


def _judged(members: dict[str, Any]) -> Judged:
    """JSON has no infinity: what is null there was one."""
    endless = {name: float("inf") for name in ("latency_ms", "p50_ms") if members.get(name) is None}
    return Judged(**(members | endless))
