"""Markdown that shows what was measured and nothing that a name smuggles in."""

from __future__ import annotations

from dataclasses import replace

from rich.console import Console

from inferctl.bench.gate.ruling import Case, Ruling
from inferctl.bench.report.markdown import escaped, to_markdown
from inferctl.bench.report.table import render
from tests.bench.made import INPUTS, report


def test_the_verdict_the_checks_and_the_figures_are_there() -> None:
    ruling = Ruling((Case("limit", "p99>50ms", False, "99ms at 8 users"),))
    lines = to_markdown(report(), ruling).splitlines()
    assert lines[0].startswith("## Failed: shapes: 100.0 requests/s at 8 users")
    assert "| `p99>50ms` | **failed** | 99ms at 8 users |" in lines
    assert "| latency p99 | 99.00 ms |" in lines
    assert any(line.startswith("- server: inferctl 0.1.0, onnxruntime 1.32.0") for line in lines)


def test_what_is_posted_where_is_told() -> None:
    """A report from before that was kept says nothing of it."""
    inputs = replace(INPUTS, dialect="v2", path="/v2/models/shapes/infer")
    made = replace(report(), settings=replace(report().settings, inputs=inputs))
    assert "- posted: v2, to /v2/models/shapes/infer" in to_markdown(made)
    assert "- posted" not in to_markdown(report())
    with (console := Console(width=200)).capture() as captured:
        console.print(render(made))
    assert "16 inputs (made up, v2)" in captured.get()


def test_tables_have_as_many_cells_as_columns() -> None:
    for line in to_markdown(report()).splitlines():
        if line.startswith("|"):
            assert line.count("|") == 3


def test_what_markdown_would_obey_is_shown() -> None:
    assert escaped("a|b <script> `x`\n[y]") == r"a\|b \<script\> \`x\` \[y\]"
