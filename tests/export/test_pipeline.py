"""Whole exports: what is published is what a server can open and run, or nothing is."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from inferctl import __version__
from inferctl.bundles.repository import find_bundles, open_bundle
from inferctl.check import CheckRequest, check_bundle
from inferctl.errors import (
    CheckpointError,
    InferctlError,
    OutputError,
    UsageError,
    VerificationError,
)
from inferctl.export import ExportRequest, ExportResult, export_bundle
from inferctl.export.finish import token_buckets

from . import tinymodels
from .conftest import MakeRequest, factory, save_torch, settle

Published = dict[str, ExportResult]
TASKS = ("image-classification", "image-detection", "text-classification", "text-factory")


def run(path: Path, rows: int, tokens: int = 11) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(path / "model.onnx", providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    feeds = {}
    for tensor in open_bundle(path).manifest.inputs:
        shape = [{"rows": rows, "tokens": tokens}.get(dim, dim) for dim in tensor.shape]
        highest = {"image": 256, "input_ids": tinymodels.VOCABULARY - 5, "attention_mask": 2}
        feeds[tensor.name] = random.integers(0, highest[tensor.name], shape).astype(tensor.dtype)
        if tensor.name == "attention_mask":
            feeds[tensor.name][:, 0] = 1
    return dict(zip([o.name for o in session.get_outputs()], session.run(None, feeds), strict=True))


@pytest.mark.parametrize("task", TASKS)
@pytest.mark.parametrize("rows", [1, 7])
def test_a_bundle_opens_and_runs_at_any_batch(published: Published, task: str, rows: int) -> None:
    result = published[task]
    bundle = open_bundle(result.path)
    outputs = run(result.path, rows)

    assert bundle.manifest == result.manifest
    for tensor in bundle.manifest.outputs:
        array = outputs[tensor.name]
        assert array.dtype == tensor.dtype
        assert array.shape == (rows, *tensor.shape[1:])
    if "boxes" not in outputs:
        assert np.allclose(outputs["scores"].sum(1), 1, atol=1e-5)


def test_a_models_folder_of_exports_is_served(published: Published) -> None:
    root = published["image-detection"].path.parents[1]
    assert [b.manifest.name for b in find_bundles(root)] == [
        "bert",
        "classifier",
        "detector",
        "words",
    ]


def test_normalisation_is_part_of_the_graph(published: Published) -> None:
    """The graph's scores are those of the bare module on pixels normalised by the formula."""
    result = published["image-classification"]
    picture = np.random.default_rng(1).integers(0, 256, (3, 16, 16, 3)).astype(np.uint8)
    mean, std = torch.tensor((0.5, 0.4, 0.3)), torch.tensor((0.2, 0.3, 0.4))
    pixels = ((torch.from_numpy(picture) / 255 - mean) / std).permute(0, 3, 1, 2)
    with torch.no_grad():
        expected = settle(tinymodels.Classifier())(pixels).softmax(1).numpy()

    session = onnxruntime.InferenceSession(
        result.path / "model.onnx", providers=["CPUExecutionProvider"]
    )
    (actual,) = session.run(["scores"], {"image": picture})

    np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_a_text_bundle_has_tokenizer_card_and_buckets(published: Published) -> None:
    result = published["text-classification"]
    manifest = result.manifest
    assert {"model.onnx", "tokenizer.json", "README.md"} == set(manifest.files)
    assert (result.path / "README.md").read_text() == "# A tiny model\n"
    assert manifest.labels == ("negative", "positive")
    assert manifest.text is not None
    assert (manifest.text.max_tokens, manifest.text.pad_id) == (40, 0)
    assert manifest.buckets.tokens == (16, 32, 40)
    assert manifest.producer == f"inferctl {__version__}"


@pytest.mark.parametrize("task", TASKS)
def test_no_path_of_this_machine_travels(published: Published, task: str) -> None:
    foreign = [os.fsencode(Path.cwd()), b"stack_trace", b"site-packages", b"tinymodels"]
    for file in published[task].path.iterdir():
        data = file.read_bytes()
        assert not [text for text in foreign if text in data], file.name


def test_the_report_says_what_was_compared(published: Published) -> None:
    result = published["text-factory"]
    report = json.loads((result.path / "report.json").read_bytes())
    assert report["created_at"].endswith("+00:00")
    assert report["checkpoint"]["file"] == "words.pt"
    assert report["checkpoint"]["parameters"] == tinymodels.VOCABULARY * 8 + 8 * 2 + 2
    assert set(report["versions"]) == {"python", "torch", "onnx", "onnxruntime"}
    assert {check["rows"] for check in report["checks"]} == {1, 2, 5}
    assert len({check["tokens"] for check in report["checks"]}) >= 2
    assert {check["against"] for check in report["checks"]} == {
        "pytorch",
        "each row alone",
        "each row unpadded",
    }


def test_stages_are_announced_in_order_and_an_old_target_is_refused(
    classify: MakeRequest,
) -> None:
    stages: list[str] = []
    first = export_bundle(classify(version=1), stages.append)
    assert stages == ["load", "export", "verify", "publish"]
    assert list(first.seconds) == stages

    stages.clear()
    with pytest.raises(OutputError, match="the target exists"):
        export_bundle(classify(version=1), stages.append)
    assert stages == ["load"]

    assert export_bundle(classify()).path.name == "2"

    marker = first.path / "old"
    marker.touch()
    assert export_bundle(classify(version=1, force=True)).path == first.path
    assert not marker.exists()
    open_bundle(first.path)
    assert sorted(path.name for path in first.path.parent.iterdir()) == ["1", "2"]


@pytest.mark.row(182)
@pytest.mark.parametrize(
    ("model", "text"),
    [
        ("BatchMean", "against each row alone.; the model mixes the rows of a batch"),
        ("Branching", "cannot be drawn as a graph: Could not guard on data-dependent"),
        ("BrokenInExport", "cannot be drawn as a graph: .*cannot be traced"),
        ("Restless", "scores differ by"),
        ("RowLoop", "rows axis is fixed at 2"),
        ("TwoRows", "rows axis is fixed at 2 .tensor scores"),
        ("NotFinite", "NaN or infinity"),
        ("TrainingNorm", "against each row alone.; the model mixes the rows of a batch"),
    ],
)
def test_a_model_that_would_answer_otherwise_is_not_published(
    classify: MakeRequest, model: str, text: str
) -> None:
    request = classify(factory=factory(model))
    with pytest.raises(VerificationError, match=text) as caught:
        export_bundle(request)
    assert caught.value.exit_code == 6
    assert "\n" not in str(caught.value)
    assert not request.output.exists()


@pytest.mark.row(181)
def test_an_output_that_cannot_be_written_is_found_before_loading(
    classify: MakeRequest, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    request = classify(output=tmp_path / "file" / "models", factory="not.there:at_all")
    with pytest.raises(OutputError, match="choose another --output"):
        export_bundle(request)


def test_boxes_in_pixels_are_refused(classify: MakeRequest, store: Path) -> None:
    request = classify(
        checkpoint=store / "detector.safetensors",
        factory=factory("PixelDetector"),
        task="image-detection",
    )
    with pytest.raises(VerificationError, match=r"boxes reach .* must be in 0\.\.1"):
        export_bundle(request)


def test_a_detector_with_fewer_labels_named_is_refused(classify: MakeRequest, store: Path) -> None:
    request = classify(
        checkpoint=store / "detector.safetensors",
        factory=factory("Detector"),
        task="image-detection",
        labels=("cat",),
    )
    with pytest.raises(VerificationError, match="and 1 are named"):
        export_bundle(request)


def test_an_answer_that_depends_on_padding_is_refused(classify: MakeRequest, store: Path) -> None:
    request = text_request(classify, store, factory=factory("Unmasked"))
    with pytest.raises(
        VerificationError, match=r"against each row unpadded.; the model does not leave"
    ):
        export_bundle(request)


def test_a_tokenizer_larger_than_the_embedding_is_refused(
    classify: MakeRequest, store: Path, tmp_path: Path
) -> None:
    checkpoint = save_torch(settle(tinymodels.Words(10)).state_dict(), tmp_path / "small.pt")
    module = tmp_path / "smallmodels.py"
    module.write_text(
        f"from {tinymodels.__name__} import Words\ndef build():\n    return Words(10)\n"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        request = text_request(classify, store, checkpoint=checkpoint, factory="smallmodels:build")
        with pytest.raises(InferctlError, match="IndexError"):
            export_bundle(request)


def text_request(classify: MakeRequest, store: Path, **parts: object) -> object:
    return classify(
        **{
            "checkpoint": store / "words.pt",
            "task": "text-classification",
            "labels": ("bad", "good"),
            "tokenizer": store / "tokenizer.json",
            "max_tokens": 20,
            **parts,
        }
    )


@pytest.mark.parametrize(
    ("parts", "error", "text"),
    [
        ({"labels": ("cat", "dog")}, UsageError, "3 classes apart, 2 are named .*pass 3 names"),
        ({"factory": factory("Detector")}, CheckpointError, "6 weights are unknown"),
        ({"task": "image-detection"}, CheckpointError, r"a detector returns .* this one returns"),
        ({"factory": factory("Broken")}, CheckpointError, r"not run: OwnError: no such layer \("),
        ({"image_size": (1, 1)}, CheckpointError, "the model does not run"),
    ],
)
def test_flags_that_do_not_fit_the_model_fail_before_the_export(
    classify: MakeRequest, parts: dict[str, object], error: type[InferctlError], text: str
) -> None:
    with pytest.raises(error, match=text):
        export_bundle(classify(**parts))


@pytest.mark.parametrize(
    ("max_tokens", "buckets"), [(2, (2,)), (16, (16,)), (17, (16, 17)), (64, (16, 32, 64))]
)
def test_token_buckets_end_at_the_longest_text(max_tokens: int, buckets: tuple[int, ...]) -> None:
    assert token_buckets(max_tokens) == buckets


@pytest.mark.row(184)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_weights_over_the_limit_lie_beside_the_graph(
    classify: MakeRequest, store: Path, precision: str
) -> None:
    """Whole and parted bundles answer alike, and each passes its check."""
    parts = {"checkpoint": store / "deep.pt", "factory": factory("DeepClassifier")}
    request = classify(**parts, precision=precision, data_over_bytes=2_000)
    parted = export_bundle(request)
    whole = export_bundle(replace(request, data_over_bytes=1_000_000))

    data = parted.path / "model.onnx.data"
    assert open_bundle(parted.path).manifest.files["model.onnx.data"].bytes == data.stat().st_size
    assert "model.onnx.data" not in open_bundle(whole.path).manifest.files
    assert (parted.path / "model.onnx").stat().st_size < (whole.path / "model.onnx").stat().st_size
    assert np.array_equal(run(parted.path, 3)["scores"], run(whole.path, 3)["scores"])
    report = json.loads((parted.path / "report.json").read_bytes())
    assert report["graph"]["data_sha256"] == parted.manifest.files["model.onnx.data"].sha256
    assert [path.name for path in parted.path.parent.iterdir() if path.name.startswith(".")] == []
    assert not check_bundle(CheckRequest(parted.path)).failed


def test_a_text_model_with_weights_beside_it_can_be_quantised(store: Path, tmp_path: Path) -> None:
    request = ExportRequest(
        store / "bert", output=tmp_path, precision="int8", max_drop=1.0, data_over_bytes=1_000
    )
    path = export_bundle(request).path
    assert (path / "model.onnx.data").is_file()
    assert run(path, 2)["scores"].shape == (2, 2)
