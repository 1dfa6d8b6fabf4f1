"""The closing table."""

from __future__ import annotations

from dataclasses import replace

import pytest
from rich.console import Console

from inferctl.export import ExportResult
from inferctl.export import report as report_module
from inferctl.export.report import summary_table


def render(result: ExportResult) -> str:
    console = Console(width=160, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as captured:
        console.print(
            summary_table(
                result.path, result.manifest, result.loaded, result.checks, result.seconds
            )
        )
    return captured.get()


def test_the_table_says_what_was_made_and_how_well_it_agrees(
    published: dict[str, ExportResult],
) -> None:
    text = render(published["image-classification"])
    for part in ("classifier version 1", "cat, dog, owl", "mean (0.5, 0.4, 0.3)", "comparisons"):
        assert part in text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0.0 kB"), (51_230, "51.2 kB"), (100_000, "0.1 MB"), (5e6, "5.0 MB")]
)
def test_small_graphs_are_measured_in_kilobytes(count: int, text: str) -> None:
    assert report_module._size(count) == text


def test_names_are_shown_as_they_are_and_long_lists_are_cut(
    published: dict[str, ExportResult],
) -> None:
    result = published["text-classification"]
    labels = tuple(f"[red]{number}" for number in range(9))
    manifest = result.manifest.model_copy(update={"labels": labels})
    loaded = replace(result.loaded, notes=("stripped 'module.'",))
    text = render(replace(result, manifest=manifest, loaded=loaded))
    assert "[red]5 … (9)" in text
    assert "[red]6" not in text
    assert "stripped 'module.'" in text
