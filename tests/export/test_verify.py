"""Graphs that are run: refused when invalid, failing, or when nothing could be compared."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from inferctl.errors import VerificationError
from inferctl.export import ExportResult
from inferctl.export import verify as verify_module
from inferctl.export.compare import Answers, Difference, Tolerance
from inferctl.export.drawn import Graph
from inferctl.export.graph import draw_graph
from inferctl.export.samples import Feeds
from inferctl.export.verify import open_model, verify_graph

TOLERANCE = Tolerance(1e-4, 1e-3)
Published = dict[str, ExportResult]


@pytest.fixture(scope="module")
def drawn(published: Published, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    folder = tmp_path_factory.mktemp("drawn") / "fp32"
    return draw_graph(published["image-classification"].loaded, folder)


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"\x08\x01\xff")
    with pytest.raises(VerificationError, match="the graph is not valid"):
        open_model(tmp_path / "model.onnx")


def test_a_graph_without_the_promised_output_is_refused(published: Published, drawn: Graph) -> None:
    renamed = drawn.outputs[0].model_copy(update={"name": "absent"})
    with pytest.raises(VerificationError, match="the graph fails in ONNX Runtime"):
        verify_graph(
            replace(drawn, outputs=(renamed,)), published["image-classification"].loaded, TOLERANCE
        )


def test_a_graph_of_other_weights_is_refused(published: Published, drawn: Graph) -> None:
    def reference(feeds: Feeds) -> Answers:
        return {name: array[:, ::-1] for name, array in drawn.reference(feeds).items()}

    other = replace(drawn, reference=reference)
    with pytest.raises(VerificationError, match=r"scores differ by .* \(sample 1 picture, against"):
        verify_graph(other, published["image-classification"].loaded, TOLERANCE)


def test_a_model_that_fails_on_some_batch_is_refused(published: Published, drawn: Graph) -> None:
    def reference(feeds: Feeds) -> Answers:
        raise RuntimeError("only\nbatches of 2")

    failing = replace(drawn, reference=reference)
    with pytest.raises(VerificationError, match="fails: RuntimeError: only"):
        verify_graph(failing, published["image-classification"].loaded, TOLERANCE)


def test_a_comparison_of_nothing_is_no_verification(
    published: Published, drawn: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_module, "compare", lambda *a, **k: Difference(0.0, 0.0, 0, 0))
    with pytest.raises(VerificationError, match="nothing that could be compared"):
        verify_graph(drawn, published["image-classification"].loaded, TOLERANCE)
