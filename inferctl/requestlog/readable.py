"""A line of the request log as a person reads it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from inferctl.requestlog.fields import DROPPED_LINES

# Dresses a part of a line in a style: "red", "bold", ...
Paint = Callable[[str, str], str]
# What a request waited for, in the order it did.
PHASES = ("decode", "queue", "inference", "postprocess")
BAD_REQUEST, SERVER_FAULT = 400, 500


def plain(text: str, style: str) -> str:
    """No colours."""
    return text


def readable(entry: Mapping[str, Any], paint: Paint = plain) -> str:
    """When, what became of it, where it went, how long that took, and who asked.

    `entry` is a parsed line, of whatever form: what is not in it is left out.
    """
    time = printable(entry.get("time", ""))
    when = paint(f"{time[5:10]} {time[11:23]}", "dim")
    if DROPPED_LINES in entry:
        missing = f"{printable(entry[DROPPED_LINES])} lines are missing here"
        return f"{when}  {paint(missing, 'bold red')}"
    status = entry.get("status", 0)
    outcome = f"{printable(status)} {printable(entry.get('outcome', '')):<20}"
    took = f"{_number(entry.get('total_ms')):8.1f} ms"
    parts = [
        when,
        paint(outcome, style_of(status)),
        f"{_target(entry):<16}",
        paint(took, "bold"),
        *(paint(part, "dim") for part in _details(entry)),
        printable(entry.get("request_id", "")),
    ]
    if "trace_id" in entry:
        parts.append(paint(f"trace {printable(entry['trace_id'])}", "dim"))
    return "  ".join(parts)


def style_of(status: object) -> str:
    """Green is well, yellow the client's fault, red ours."""
    if not isinstance(status, int) or status >= SERVER_FAULT:
        return "bold red"
    return "yellow" if status >= BAD_REQUEST else "green"


def printable(value: object) -> str:
    """What a client sent cannot move the cursor, or look like another line."""
    return str(value).encode("unicode_escape").decode("ascii")


def _target(entry: Mapping[str, Any]) -> str:
    """The model and its version; the path where there is none."""
    if not entry.get("model"):
        return printable(entry.get("path", ""))
    version = entry.get("version")
    return printable(f"{entry['model']}/{version}" if version else entry["model"])


def _details(entry: Mapping[str, Any]) -> list[str]:
    took_ms = {phase: entry.get(f"{phase}_ms") for phase in PHASES}
    found = [
        " ".join(f"{phase} {_number(ms):.1f}" for phase, ms in took_ms.items() if ms is not None)
    ]
    if "batch_rows" in entry:
        rows, batch_rows = printable(entry.get("rows", "")), printable(entry["batch_rows"])
        found.append(f"rows {rows} in {batch_rows}")
    found.append(printable(entry.get("shape", "")))
    if entry.get("key_id"):
        found.append(f"key {printable(entry['key_id'])}")
    return [part for part in found if part]


def _number(value: object) -> float:
    return value if isinstance(value, int | float) else 0.0
