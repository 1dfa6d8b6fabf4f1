"""docs/reliability.md: what can go wrong, and the tests that show what happens then."""

from __future__ import annotations

from itertools import groupby

from tests.faults.rows import Row, marked_tests, read_rows

TIERS = {"c": "test", "n": "faults", "s": "soak"}

INTRODUCTION = """\
Each row is a fault, with the tests in which it happens to a running service: real processes, real
sockets, real signals. `pytest --row 84` runs those of a row. `make test` runs the rows of tier
*test*, `make faults` those that take minutes too, `make soak` those that take an hour or more;
their results are in [log.md](log.md). A row that is not built, or not all of it, says why.
"""


def reliability_page(generated: str) -> str:
    """The page; `generated` is the note that it is."""
    marked = marked_tests()
    parts = ["# What it survives\n\n", generated, INTRODUCTION]
    for section, rows in groupby(read_rows().items(), key=lambda numbered: numbered[1].section):
        lines = [_line(number, row, marked.get(number, [])) for number, row in rows]
        parts.append(
            f"\n## {section}\n\n| row | fault | tier | tests |\n|---|---|---|---|\n"
            + "\n".join(lines)
            + "\n"
        )
    return "".join(parts)


def _line(number: int, row: Row, tests: list[str]) -> str:
    fault = row.fault.replace("|", "\\|").replace("<", "&lt;")
    by_file = {
        file: [test.partition("::")[2] for test in of_file]
        for file, of_file in groupby(tests, key=lambda test: test.partition("::")[0])
    }
    shown = [f"`{file}`: {', '.join(names)}" for file, names in by_file.items()]
    if row.why_not:
        shown.append(f"*{row.why_not}*")
    return f"| {number} | {fault} | {TIERS[row.tier]} | {'<br>'.join(shown)} |"
