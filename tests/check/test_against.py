"""Two bundles of one model: what differs is found, and what may differ is measured."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from inferctl.check import CheckReport, CheckRequest, check_bundle
from inferctl.errors import UsageError
from inferctl.export import ExportResult, export_bundle
from inferctl.export.request import ExportRequest

from ..export import tinymodels
from ..export.conftest import factory
from . import damage
from .damage import damaged

Published = dict[str, ExportResult]
AGAINST = "answers against the other"


def against(bundle: Path, other: Path) -> CheckReport:
    return check_bundle(CheckRequest(bundle, against=other))


def failed(report: CheckReport) -> dict[str, str]:
    return {line.name: line.worst.problem for line in report.failed if line.worst}


@pytest.mark.parametrize("task", ["image-classification", "image-detection", "text-factory"])
def test_a_bundle_agrees_with_itself(published: Published, task: str) -> None:
    path = published[task].path
    report = against(path, path)
    assert failed(report) == {}
    assert report.agreement is not None
    assert (report.agreement.changed, report.agreement.max_drift) == (0, 0.0)
    assert report.agreement.rows > 64
    assert [speed.rows for speed in report.speeds] == [1, 8]


def test_a_weight_that_was_changed_is_seen(published: Published, tmp_path: Path) -> None:
    path = published["image-classification"].path

    def flip_bit(weight: np.ndarray) -> np.ndarray:
        weight.view(np.uint32).flat[0] ^= 1 << 24  # one of the exponent's
        return weight

    bundle = damaged(path, tmp_path / "1", damage.change_weight("head", flip_bit))
    problem = failed(against(bundle, path))[AGAINST]
    assert "scores differ by" in problem or "top label" in problem


def test_a_swapped_normalisation_is_seen(published: Published, tmp_path: Path) -> None:
    """The constants of red and blue trade places."""
    path = published["image-classification"].path

    def swap(proto: onnx.ModelProto) -> None:
        swapped = 0
        for tensor in proto.graph.initializer:
            array = numpy_helper.to_array(tensor)
            if array.shape == (1, 3, 1, 1):
                tensor.CopyFrom(numpy_helper.from_array(array[:, ::-1].copy(), tensor.name))
                swapped += 1
        assert swapped

    bundle = damaged(path, tmp_path / "1", swap)
    assert list(failed(check_bundle(CheckRequest(bundle)))) == []
    assert AGAINST in failed(against(bundle, path))


def test_labels_in_another_order_are_seen(published: Published, tmp_path: Path) -> None:
    path = published["image-classification"].path
    bundle = damaged(path, tmp_path / "1", labels=["dog", "cat", "owl"])
    assert failed(against(bundle, path)) == {
        "labels against the other": "it is 'dog', and 'cat' in the other"
    }


def test_int8_is_held_against_fp32_by_its_own_limits(store: Path, tmp_path: Path) -> None:
    request = {
        "checkpoint": store / "deep.pt",
        "factory": factory("DeepClassifier"),
        "task": "image-classification",
        "labels": ("cat", "dog", "owl"),
        "image_size": (tinymodels.SIDE, tinymodels.SIDE),
        "output": tmp_path,
    }
    fp32 = export_bundle(ExportRequest(**request))
    int8 = export_bundle(ExportRequest(**request, precision="int8"))

    report = against(int8.path, fp32.path)

    assert failed(report) == {}
    assert report.precision == "int8"
    assert report.agreement is not None
    assert 0 < report.agreement.max_drift < 0.35


@pytest.mark.parametrize(
    ("other", "what"), [("image-detection", "task"), ("text-classification", "task")]
)
def test_bundles_of_different_models_are_not_compared(
    published: Published, other: str, what: str
) -> None:
    with pytest.raises(UsageError, match=f"their {what} differ .--against"):
        against(published["image-classification"].path, published[other].path)


def test_a_bundle_that_breaks_its_contract_is_no_agreement(
    published: Published, tmp_path: Path
) -> None:
    path = published["image-classification"].path
    bundle = damaged(path, tmp_path / "1", damage.divide_by_zero)
    report = against(bundle, path)
    assert failed(report)[AGAINST] == "scores holds NaN or infinity"


def test_what_an_export_published_passes_beside_its_fp32(store: Path, tmp_path: Path) -> None:
    """Of random weights: many answers are hardly decided, and the export allowed for it."""
    request = ExportRequest(store / "bert", output=tmp_path)
    fp32 = export_bundle(request)
    int8 = export_bundle(replace(request, precision="int8", max_drop=0.05))
    noted = json.loads((int8.path / "report.json").read_bytes())["precision"]["against_fp32"]

    for first, second in ((int8.path, fp32.path), (fp32.path, int8.path)):
        report = against(first, second)
        assert failed(report) == {}
        assert report.agreement is not None
        assert report.agreement.document() == noted

    strict = check_bundle(CheckRequest(int8.path, against=fp32.path, max_drop=0.0))
    assert (AGAINST in failed(strict)) == bool(noted["changed"])


def test_what_was_judged_on_real_texts_is_not_judged_on_noise(store: Path, tmp_path: Path) -> None:
    texts = tmp_path / "texts"
    texts.mkdir()
    (texts / "some.txt").write_text("the film was long\nnot bad\n")
    request = ExportRequest(store / "bert", output=tmp_path / "models")
    fp32 = export_bundle(request)
    int8 = export_bundle(replace(request, precision="int8", max_drop=0.1, calibration_data=texts))
    assert int8.conversion is not None
    assert int8.conversion.notes == ("judged on 2 texts",)
    noted = json.loads((int8.path / "report.json").read_bytes())["precision"]["against_fp32"]

    alone, together = (
        check_bundle(CheckRequest(int8.path, data, fp32.path)).agreement for data in (None, texts)
    )
    assert alone is not None
    assert together is not None
    assert together.document() == noted
    assert alone.rows == together.rows - 2
