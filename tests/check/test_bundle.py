"""Sound bundles pass; a planted fault is found and its sample named."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import onnx
import pytest

from inferctl.check import CheckReport, CheckRequest, check_bundle
from inferctl.errors import BundleError
from inferctl.export import ExportResult
from inferctl.export.graph import draw_graph

from ..export.conftest import LoadTiny
from ..graphs import image_fields, image_graph, write_bundle
from . import damage
from .damage import damaged

Published = dict[str, ExportResult]
TASKS = ("image-classification", "image-detection", "text-classification", "text-factory")


def check(path: Path) -> CheckReport:
    return check_bundle(CheckRequest(path))


def faults(report: CheckReport) -> list[str]:
    return [
        f"{line.name}: {finding.sample}: {finding.problem}"
        for line in report.lines
        for finding in line.findings
    ]


@pytest.mark.parametrize("task", TASKS)
def test_what_was_exported_passes(published: Published, task: str) -> None:
    report = check(published[task].path)
    assert faults(report) == []
    by_name = {line.name: line for line in report.lines}
    assert by_name["files"].count == len(published[task].manifest.files)
    assert by_name["samples"].count >= 4
    assert by_name["samples, each row alone"].count >= 3
    assert ("samples, each row unpadded" in by_name) == task.startswith("text")
    assert by_name["report of the export"].count == 2


def test_stages_are_announced(published: Published) -> None:
    stages: list[str] = []
    path = published["image-classification"].path
    check_bundle(CheckRequest(path, against=path), stages.append)
    assert stages == ["open", "run", "against"]


def test_a_bundle_of_bare_tensors_passes(tmp_path: Path) -> None:
    fields = image_fields(
        task="tensor", labels=[], buckets={"rows": [1, 2, 4], "tokens": []}, image=None
    )
    write_bundle(tmp_path / "1", image_graph(), fields)
    report = check(tmp_path / "1")
    assert faults(report) == []
    assert {line.name: line.count for line in report.lines}["samples"] == 4


def test_a_graph_that_takes_segments_is_fed_zeros(published: Published, tmp_path: Path) -> None:
    """As the server does; the graph answers nonsense to anything else."""
    names = ("input_ids", "attention_mask", "token_type_ids")
    inputs = [{"name": name, "dtype": "int64", "shape": ["rows", "tokens"]} for name in names]
    bundle = published["text-factory"].path
    changed = damaged(bundle, tmp_path / "1", damage.take_segments, inputs=inputs)
    assert faults(check(changed)) == []
    assert faults(check_bundle(CheckRequest(changed, against=changed))) == []


def test_a_flipped_bit_is_a_damaged_bundle(published: Published, tmp_path: Path) -> None:
    bundle = shutil.copytree(published["image-classification"].path, tmp_path / "1")
    graph = bytearray((bundle / "model.onnx").read_bytes())
    graph[len(graph) // 2] ^= 1
    (bundle / "model.onnx").write_bytes(graph)
    with pytest.raises(BundleError, match=r"'model\.onnx' is not what was exported") as caught:
        check(bundle)
    assert caught.value.exit_code == 3


def test_a_graph_that_does_not_load_is_a_damaged_bundle(
    published: Published, tmp_path: Path
) -> None:
    def unknown_operator(proto: object) -> None:
        proto.graph.node[0].op_type = "Absent"  # type: ignore[attr-defined]

    bundle = damaged(published["image-classification"].path, tmp_path / "1", unknown_operator)
    with pytest.raises(BundleError, match="the graph is not valid"):
        check(bundle)


def test_a_report_that_is_none_is_a_damaged_bundle(published: Published, tmp_path: Path) -> None:
    bundle = shutil.copytree(published["image-classification"].path, tmp_path / "1")
    (bundle / "report.json").write_text("[]")
    with pytest.raises(BundleError, match=r"report\.json is not what an export writes"):
        check(damaged(bundle, tmp_path / "2", unrecorded=False))


def test_a_graph_made_for_one_batch_size_is_found(published: Published, tmp_path: Path) -> None:
    bundle = damaged(published["image-classification"].path, tmp_path / "1", damage.fix_rows)
    found = faults(check(bundle))
    assert "inputs and outputs: graph: the rows axis of input image is fixed at 2" in found
    assert any(text.startswith("samples: 1 picture: the graph fails") for text in found)


@pytest.mark.parametrize("task", ["image-classification", "image-detection"])
def test_a_graph_that_answers_for_the_first_row_alone_is_found(
    published: Published, tmp_path: Path, task: str
) -> None:
    bundle = damaged(published[task].path, tmp_path / "1", damage.answer_first_row_only)
    report = check(bundle)
    assert {line.name for line in report.failed} == {"samples, each row alone"}
    assert report.failed[0].worst is not None
    assert report.failed[0].worst.sample in (
        "2 pictures",
        "5 pictures",
        "a black and a white picture",
    )


def test_a_norm_in_training_mode_is_found(
    published: Published, load_tiny: LoadTiny, tmp_path: Path
) -> None:
    graph = draw_graph(load_tiny("TrainingNorm"), tmp_path / "fp32").file

    def replace_graph(proto: object) -> None:
        proto.CopyFrom(onnx.load(graph))  # type: ignore[attr-defined]

    bundle = damaged(published["image-classification"].path, tmp_path / "1", replace_graph)
    report = check(bundle)
    assert {line.name for line in report.failed} == {"samples, each row alone"}


def test_nan_at_an_edge_is_found(published: Published, tmp_path: Path) -> None:
    bundle = damaged(published["image-classification"].path, tmp_path / "1", damage.divide_by_zero)
    assert faults(check(bundle)) == [
        "samples: a black and a white picture: scores holds NaN or infinity"
    ]


def test_labels_in_another_order_than_the_exports_are_found(
    published: Published, tmp_path: Path
) -> None:
    bundle = damaged(
        published["image-classification"].path,
        tmp_path / "1",
        unrecorded=False,
        labels=["dog", "cat", "owl"],
    )
    assert faults(check(bundle)) == [
        "report of the export: labels: they are not those, in that order, of the export"
    ]


def test_a_graph_changed_after_the_export_is_found(published: Published, tmp_path: Path) -> None:
    edit = damage.change_weight("head", lambda weight: weight * np.float32(1.5))
    path = published["image-classification"].path
    bundle = damaged(path, tmp_path / "1", edit, unrecorded=False)
    assert faults(check(bundle)) == [
        "report of the export: graph: it is not the one that the export verified"
    ]
    assert faults(check(damaged(path, tmp_path / "2", edit))) == []  # a model like any other


def test_the_worst_sample_is_the_one_that_differs_most(
    published: Published, tmp_path: Path
) -> None:
    bundle = damaged(
        published["image-classification"].path, tmp_path / "1", damage.answer_first_row_only
    )
    (line,) = check(bundle).failed
    assert len(line.findings) >= 2
    assert line.worst is not None
    assert line.worst.size == max(finding.size for finding in line.findings)
