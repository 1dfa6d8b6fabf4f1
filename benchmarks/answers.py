"""Asking a server, and whether what it answers is right."""

from __future__ import annotations

import http.client
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from urllib.parse import urlsplit

from benchmarks.workloads import Workload
from inferctl.errors import BenchError

CONCURRENT = 48
TIMEOUT_S = 60.0


def ask(url: str, body: bytes, timeout_s: float = TIMEOUT_S) -> tuple[int, bytes]:
    """POST a JSON body: status and answer. Raises OSError or HTTPException."""
    target = urlsplit(url)
    connection = http.client.HTTPConnection(target.hostname or "", target.port, timeout=timeout_s)
    try:
        connection.request("POST", target.path, body, {"Content-Type": "application/json"})
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def check_answers(
    url: str, workload: Workload, bodies: Sequence[bytes], expected: Sequence[dict[str, Any]]
) -> None:
    """Ask many at the same time. Raises BenchError when an answer is not what ORT alone gives."""
    with ThreadPoolExecutor(CONCURRENT) as pool:
        answers = list(pool.map(lambda body: ask(url, body), bodies[:CONCURRENT]))
    pairs = list(zip(answers, expected[:CONCURRENT], strict=True))
    wrong = [
        (status, answer, wanted)
        for (status, answer), wanted in pairs
        if status != 200 or not is_right(json.loads(answer), wanted, workload)
    ]
    if wrong:
        status, answer, wanted = wrong[0]
        raise BenchError(
            f"{len(wrong)} of {len(pairs)} answers are wrong, the first {status} {answer[:200]!r} "
            f"instead of {wanted}",
            where=url,
        )


def is_right(answer: dict[str, Any], wanted: dict[str, Any], workload: Workload) -> bool:
    """Labels are equal and numbers within the workload's tolerance; other keys do not matter.

    Of two labels, the other one is right as well if its score is within the tolerance.
    """
    if "label" in wanted and answer.get("label") != wanted["label"] and workload.labels == 2:
        answer = {"label": wanted["label"], "score": 1 - answer.get("score", -1)}
    return _matches(answer, wanted, workload.tolerance)


def _matches(found: Any, wanted: Any, tolerance: float) -> bool:
    if isinstance(wanted, dict):
        return isinstance(found, dict) and all(
            _matches(found.get(key), value, tolerance) for key, value in wanted.items()
        )
    if isinstance(wanted, list):
        return (
            isinstance(found, list)
            and len(found) == len(wanted)
            and all(map(lambda one, two: _matches(one, two, tolerance), found, wanted))
        )
    if isinstance(wanted, float):
        return isinstance(found, float | int) and abs(found - wanted) <= tolerance
    return bool(found == wanted)
