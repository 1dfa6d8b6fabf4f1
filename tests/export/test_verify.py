"""Graphs that are run: refused when invalid, failing, or when nothing could be compared."""

from __future__ import annotations

from dataclasses import replace

import pytest

from inferctl.errors import VerificationError
from inferctl.export import verify as verify_module
from inferctl.export.compare import Answers, Difference, Tolerance
from inferctl.export.drawn import Graph
from inferctl.export.graph import draw_graph
from inferctl.export.loaded import LoadedModel
from inferctl.export.samples import Feeds
from inferctl.export.verify import references, verify_graph

from .conftest import LoadTiny

TOLERANCE = Tolerance(1e-4, 1e-3)


@pytest.fixture(scope="module")
def tiny(load_tiny: LoadTiny) -> LoadedModel:
    return load_tiny("Classifier")


@pytest.fixture(scope="module")
def drawn(tiny: LoadedModel, tmp_path_factory: pytest.TempPathFactory) -> Graph:
    return draw_graph(tiny, tmp_path_factory.mktemp("drawn") / "fp32")


def verify(graph: Graph, loaded: LoadedModel) -> None:
    verify_graph(graph, loaded, references(graph, loaded), TOLERANCE)


def test_a_graph_without_the_promised_output_is_refused(tiny: LoadedModel, drawn: Graph) -> None:
    renamed = drawn.outputs[0].model_copy(update={"name": "absent"})
    with pytest.raises(VerificationError, match="the graph fails in ONNX Runtime"):
        verify(replace(drawn, outputs=(renamed,)), tiny)


@pytest.mark.row(182)
def test_a_graph_of_other_weights_is_refused(tiny: LoadedModel, drawn: Graph) -> None:
    def reference(feeds: Feeds) -> Answers:
        return {name: array[:, ::-1] for name, array in drawn.reference(feeds).items()}

    other = replace(drawn, reference=reference)
    with pytest.raises(VerificationError, match=r"scores differ by .* \(sample 1 picture, against"):
        verify(other, tiny)


def test_a_model_that_fails_on_some_batch_is_refused(tiny: LoadedModel, drawn: Graph) -> None:
    def reference(feeds: Feeds) -> Answers:
        raise RuntimeError("only\nbatches of 2")

    failing = replace(drawn, reference=reference)
    with pytest.raises(VerificationError, match="fails: RuntimeError: only"):
        verify(failing, tiny)


def test_a_comparison_of_nothing_is_no_verification(
    tiny: LoadedModel, drawn: Graph, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(verify_module, "compare", lambda *a, **k: Difference(0.0, 0.0, 0, 0))
    with pytest.raises(VerificationError, match="nothing that could be compared"):
        verify(drawn, tiny)
