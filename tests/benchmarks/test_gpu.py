"""The benchmark of a GPU: what of it needs none."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from benchmarks.gpu.__main__ import cells
from benchmarks.gpu.ceiling import Point
from benchmarks.gpu.models import Bundle, resnet50
from benchmarks.gpu.service import Outcome, ways
from benchmarks.load import Load

LOAD = Load(100.0, 400, 1.0, 2.0, 3.0, 4.0, 0, 0, 0, {})


def test_the_ceiling_is_the_quickest_way_there_is() -> None:
    point = Point(8, 1, run_ms=4.0, bound_ms=2.0, graph_ms=1.0)
    assert point.ceiling == 8000
    assert replace(point, graph_ms=math.inf).ceiling == 4000


def test_a_resnet_50_has_as_many_weights_as_the_published_one() -> None:
    """25,557,032 with its head of 1000 labels; He et al. 2015."""
    with torch.device("meta"):
        net = resnet50(1000)
    assert sum(weights.numel() for weights in net.parameters()) == 25_557_032


def test_a_text_is_asked_in_one_way() -> None:
    (way,) = ways(Bundle("bert-base", "text", "fp16", Path("nowhere")))
    assert way.path == "/models/bert-base/predict"
    assert all(json.loads(body)["text"] for body in way.bodies)


@pytest.mark.parametrize(("rate", "share"), [(500.0, "0.50"), (990.0, "0.99")])
def test_a_row_of_the_table_says_what_share_of_the_ceiling_it_is(rate: float, share: str) -> None:
    outcome = Outcome(
        "v2", 32, rate, LOAD, 7.5, 0.953, {"engine": 0.5, "worker": 2.0, "supervisor": 0.1}, 0.8
    )
    assert cells(outcome, 1000.0) == (
        "v2", "32", f"{rate:,.0f}", share, "1.0", "3.0", "7.5", "95%", "0.5, 2.1, 0.8",
    )  # fmt: skip
