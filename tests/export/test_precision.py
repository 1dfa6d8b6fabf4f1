"""Exports in other precisions: what is published, what it cost, what is refused."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from PIL import Image
from rich.console import Console

from inferctl.bundles.repository import open_bundle
from inferctl.errors import UsageError, VerificationError
from inferctl.export import ExportRequest, ExportResult, export_bundle
from inferctl.export import precision as precision_module
from inferctl.export.agreement import Agreement
from inferctl.export.graph import draw_graph
from inferctl.export.onnxfile import published_sha256
from inferctl.export.precision import Variant, choose, convert
from inferctl.export.report import summary_table
from inferctl.export.speed import Speed

from .conftest import LoadTiny, MakeRequest, factory

SAME = Agreement(100, 0, 0, 0, None, 0.01, 0.02, "pictures, row 1: scores move by 0.02")


def speeds(*gains: float) -> tuple[Speed, ...]:
    """What was measured of int8, by batch size."""
    return tuple(
        Speed(rows, {"fp32": gain, "int8": 1.0}) for rows, gain in zip((1, 8), gains, strict=True)
    )


@pytest.fixture
def deep(classify: MakeRequest, store: Path) -> MakeRequest:
    """Requests to export the classifier that has something to quantise."""
    parts = {"checkpoint": store / "deep.pt", "factory": factory("DeepClassifier")}
    return lambda **more: classify(**{**parts, **more})


@pytest.fixture
def boxes(classify: MakeRequest, store: Path) -> MakeRequest:
    """Requests to export the detector that has something to quantise."""
    parts = {
        "checkpoint": store / "boxes.pt",
        "factory": factory("DeepDetector"),
        "task": "image-detection",
    }
    return lambda **more: classify(**{**parts, **more})


@pytest.fixture
def timed(monkeypatch: pytest.MonkeyPatch) -> list[Speed]:
    """What the measurement will say; a test of a choice does not wait for a clock."""
    told = list(speeds(3.0, 3.0))
    monkeypatch.setattr(precision_module, "measure", lambda *_: tuple(told))
    return told


def report(result: ExportResult) -> dict:
    return json.loads((result.path / "report.json").read_bytes())


def printed(result: ExportResult) -> str:
    console = Console(width=200)
    with console.capture() as captured:
        console.print(
            summary_table(
                result.path,
                result.manifest,
                result.loaded,
                result.checks,
                result.seconds,
                result.conversion,
            )
        )
    return captured.get()


def save_pictures(folder: Path, count: int) -> Path:
    random = np.random.default_rng(5)
    folder.mkdir()
    for number in range(count):
        pixels = random.integers(0, 256, (4, 4, 3)).astype(np.uint8)
        Image.fromarray(pixels).resize((40, 30)).save(folder / f"photo-{number:02}.png")
    return folder


@pytest.mark.parametrize("kind", ["deep", "boxes"])
def test_an_image_model_in_int8_says_what_it_cost(
    kind: str, request: pytest.FixtureRequest, timed: list[Speed]
) -> None:
    make: MakeRequest = request.getfixturevalue(kind)
    stages: list[str] = []
    result = export_bundle(make(precision="int8"), stages.append)

    assert stages == ["load", "export", "verify", "convert", "publish"]
    assert open_bundle(result.path).manifest.precision == "int8"
    graph = onnx.load(result.path / "model.onnx")
    assert "QuantizeLinear" in {node.op_type for node in graph.graph.node}
    opsets = {entry.domain: entry.version for entry in graph.opset_import}
    assert result.manifest.opset == opsets[""]
    entry = report(result)["precision"]
    assert (entry["requested"], entry["chosen"], entry["how"]) == (
        "int8",
        "int8",
        "int8, static QDQ",
    )
    assert entry["against_fp32"]["changed"] == 0
    assert entry["against_fp32"]["rows"] == 74
    assert 0 < entry["against_fp32"]["max_drift"] < 0.35
    assert [speed["rows"] for speed in entry["speed"]] == [1, 8]
    assert "0 of 74 answers change" in printed(result)
    assert "calibrated on 64 generated pictures" in printed(result)


def test_a_report_names_the_fp32_graph_and_the_published_one(
    deep: MakeRequest, timed: list[Speed]
) -> None:
    fp32 = export_bundle(deep())
    int8 = export_bundle(deep(precision="int8"))
    graph = int8.path / "model.onnx"
    assert report(int8)["precision"]["fp32_graph_sha256"] == report(fp32)["graph"]["sha256"]
    assert report(int8)["graph"]["sha256"] == hashlib.sha256(graph.read_bytes()).hexdigest()
    assert report(int8)["graph"] != report(fp32)["graph"]
    assert report(int8)["checkpoint"]["sha256"] == report(fp32)["checkpoint"]["sha256"]
    assert report(fp32)["precision"] is None


def test_pictures_that_calibrate_do_not_judge(
    deep: MakeRequest, timed: list[Speed], tmp_path: Path
) -> None:
    folder = save_pictures(tmp_path / "photos", 9)
    result = export_bundle(deep(precision="int8", calibration_data=folder))
    entry = report(result)["precision"]
    assert entry["notes"] == ["calibrated on 5 pictures, judged on 4 others"]
    assert entry["against_fp32"]["rows"] == 1 + 2 + 5 + 2 + 4
    assert str(tmp_path) not in json.dumps(report(result))


@pytest.mark.parametrize(
    ("count", "text"),
    [(0, "the folder holds no pictures"), (1, "one picture is too few")],
)
def test_too_few_pictures_are_refused(
    deep: MakeRequest, tmp_path: Path, count: int, text: str
) -> None:
    request = deep(precision="int8", calibration_data=save_pictures(tmp_path / "photos", count))
    with pytest.raises(UsageError, match=f"{text}.*--calibration-data"):
        export_bundle(request)
    assert not request.output.exists()


def test_a_file_that_is_no_picture_is_named(deep: MakeRequest, tmp_path: Path) -> None:
    folder = save_pictures(tmp_path / "photos", 2)
    (folder / "broken.jpg").write_bytes(b"not a picture")
    with pytest.raises(UsageError, match=r"not JPEG, PNG or WebP.*broken\.jpg.*take it out"):
        export_bundle(deep(precision="int8", calibration_data=folder))


def text_request(store: Path, tmp_path: Path, **parts: object) -> ExportRequest:
    return ExportRequest(store / "bert", output=tmp_path / "models", **parts)


def test_a_text_model_in_int8_has_its_matrix_products_quantised(
    store: Path, tmp_path: Path, timed: list[Speed]
) -> None:
    # Of random weights: a trained model has wider margins.
    result = export_bundle(text_request(store, tmp_path, precision="int8", max_drop=0.05))
    graph = onnx.load(result.path / "model.onnx").graph
    assert "MatMulInteger" in {node.op_type for node in graph.node}
    assert result.conversion is not None
    assert result.conversion.variant is not None
    assert result.conversion.variant.how == "int8, dynamic"
    card = (result.path / "README.md").read_text()
    assert card.startswith(
        "# A tiny model\n\n## Precision of this bundle\n\nThis bundle runs in int8"
    )
    assert "answers change" in card


def test_texts_are_not_judged_by_pictures(store: Path, tmp_path: Path) -> None:
    request = text_request(
        store, tmp_path, precision="int8", calibration_data=save_pictures(tmp_path / "photos", 2)
    )
    with pytest.raises(UsageError, match="the folder holds no texts"):
        export_bundle(request)


def test_fp16_keeps_inputs_outputs_and_answers(deep: MakeRequest, timed: list[Speed]) -> None:
    timed[:] = [Speed(1, {"fp32": 1.0, "fp16": 1.0})]
    fp32, fp16 = export_bundle(deep()), export_bundle(deep(precision="fp16"))
    assert (fp16.manifest.inputs, fp16.manifest.outputs) == (
        fp32.manifest.inputs,
        fp32.manifest.outputs,
    )
    assert fp16.manifest.precision == "fp16"
    entry = report(fp16)["precision"]
    assert (entry["against_fp32"]["changed"], entry["kept_fp32"]) == (0, [])
    assert 0 < entry["against_fp32"]["max_drift"] < 0.02
    assert 2 * (fp16.path / "model.onnx").stat().st_size < 1.7 * (
        (fp32.path / "model.onnx").stat().st_size
    )


def test_fp16_of_a_model_that_overflows_says_what_stayed_in_fp32(
    deep: MakeRequest, timed: list[Speed]
) -> None:
    timed[:] = [Speed(1, {"fp32": 1.0, "fp16": 1.0})]
    result = export_bundle(deep(factory=factory("Overflowing"), precision="fp16"))
    entry = report(result)["precision"]
    assert any("mul" in name.lower() for name in entry["kept_fp32"])
    assert f"{len(entry['kept_fp32'])} nodes kept in fp32" in printed(result)


def test_a_precision_that_answers_otherwise_publishes_nothing(
    deep: MakeRequest, monkeypatch: pytest.MonkeyPatch, load_tiny: LoadTiny, tmp_path: Path
) -> None:
    """The int8 graph is replaced by one of other weights."""
    other = load_tiny("DeepClassifier")
    for parameter in other.module.parameters():
        parameter.data = parameter.data.flip(0)
    wrong = draw_graph(other, tmp_path / "wrong").file
    monkeypatch.setattr(precision_module, "static_int8", lambda *_, **__: wrong)
    request = deep(precision="int8")
    with pytest.raises(
        VerificationError, match=r"answers change .*; worst is sample .*row \d.* instead of"
    ) as caught:
        export_bundle(request)
    assert caught.value.exit_code == 6
    assert not request.output.exists()


def test_nan_in_another_precision_names_its_sample(
    deep: MakeRequest, monkeypatch: pytest.MonkeyPatch, load_tiny: LoadTiny, tmp_path: Path
) -> None:
    wrong = draw_graph(load_tiny("NotFinite"), tmp_path / "wrong").file
    monkeypatch.setattr(precision_module, "static_int8", lambda *_, **__: wrong)
    with pytest.raises(VerificationError, match=r"scores holds NaN or infinity \(sample 1 picture"):
        export_bundle(deep(precision="int8"))


def test_a_graph_made_for_one_batch_size_is_refused(
    deep: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = precision_module.static_int8

    def fixed(*arguments: object, **options: object) -> Path:
        file = real(*arguments, **options)
        proto = onnx.load(file)
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
        onnx.save(proto, file)
        return file

    monkeypatch.setattr(precision_module, "static_int8", fixed)
    with pytest.raises(VerificationError, match="rows axis of input image is fixed at 2"):
        export_bundle(deep(precision="int8"))


def test_auto_takes_int8_where_it_is_faster(deep: MakeRequest, timed: list[Speed]) -> None:
    result = export_bundle(deep(precision="auto"))
    entry = report(result)["precision"]
    assert result.manifest.precision == entry["chosen"] == "int8"
    assert {refusal["variant"] for refusal in entry["refused"]} == {
        "fp16",
        "int8 with S8 activations",
        "dynamic int8 of convolutions",
    }


def test_auto_stays_with_fp32_where_int8_gains_too_little(
    deep: MakeRequest, timed: list[Speed]
) -> None:
    timed[:] = speeds(3.0, 1.05)
    result = export_bundle(deep(precision="auto"))
    assert result.manifest.precision == "fp32"
    first = report(result)["precision"]["refused"][0]
    assert first["variant"] == "int8, static QDQ"
    assert "1.05 x as fast as fp32 in batches of 8" in first["reason"]
    assert "1.05 x as fast" in printed(result)


def test_auto_stays_with_fp32_where_nothing_can_be_quantised(
    classify: MakeRequest, store: Path
) -> None:
    request = classify(
        checkpoint=store / "words.pt",
        factory=factory("Words"),
        task="text-classification",
        labels=("bad", "good"),
        tokenizer=store / "tokenizer.json",
        max_tokens=20,
        precision="auto",
    )
    result = export_bundle(request)
    assert result.manifest.precision == "fp32"
    assert "nothing in the graph can run in int8" in printed(result)


def test_int8_that_is_slower_than_fp32_is_published_with_a_warning(
    deep: MakeRequest, timed: list[Speed]
) -> None:
    timed[:] = speeds(0.8, 2.0)
    result = export_bundle(deep(precision="int8"))
    assert result.conversion is not None
    assert result.conversion.warning == (
        "int8 is slower than fp32 on this machine: "
        "1 row, one thread: fp32 0.800 ms, int8 1.000 ms: 0.80 x"
    )
    assert report(result)["precision"]["warning"] == result.conversion.warning

    timed[:] = speeds(1.0, 2.0)
    faster = export_bundle(deep(precision="int8"))
    assert faster.conversion is not None
    assert faster.conversion.warning is None


def test_auto_for_a_gpu_is_a_rule_and_says_so(deep: MakeRequest) -> None:
    result = export_bundle(deep(precision="auto", target="cuda"))
    assert result.manifest.precision == "fp16"
    assert report(result)["precision"]["speed"] == []
    assert "its speed there was not measured" in printed(result)


@pytest.mark.parametrize(
    ("agreement", "gains", "reason"),
    [
        (SAME, (2.0, 2.0), None),
        (SAME, (1.1, 1.1), None),
        (SAME, (1.05, 2.0), "1.05 x as fast as fp32 in batches of 1"),
        (SAME, (2.0, 0.5), "0.50 x as fast as fp32 in batches of 8"),
        (replace(SAME, changed=1), (2.0, 2.0), None),
        (replace(SAME, changed=2), (2.0, 2.0), "2 of 100 answers change"),
        (replace(SAME, max_drift=0.5), (2.0, 2.0), "a score moves by 0.5"),
    ],
)
def test_a_candidate_is_taken_when_it_is_right_and_fast(
    agreement: Agreement, gains: tuple[float, ...], reason: str | None
) -> None:
    found = choose(Variant("int8", "int8", Path(), agreement), speeds(*gains), max_drop=0.01)
    assert found is None if reason is None else reason in str(found)


def test_the_same_input_gives_the_same_bytes(
    deep: MakeRequest, load_tiny: LoadTiny, tmp_path: Path
) -> None:
    loaded = load_tiny("DeepClassifier")
    found = set()
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        graph = draw_graph(loaded, tmp_path / str(number) / "fp32")
        for precision in ("int8", "fp16"):
            conversion = convert(graph, loaded, deep(precision=precision))
            found.add(published_sha256(conversion.file, 1_000_000))
        found.add(published_sha256(graph.file, 1_000_000))
    assert len(found) == 3


def test_no_path_of_this_machine_travels_in_int8(deep: MakeRequest, timed: list[Speed]) -> None:
    result = export_bundle(deep(precision="int8"))
    data = b"".join(file.read_bytes() for file in result.path.iterdir())
    assert not [
        text for text in (b"/tmp", b"site-packages", str(Path.cwd()).encode()) if text in data
    ]


def test_a_detector_that_finds_nothing_cannot_be_judged(
    boxes: MakeRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("inferctl.export.agreement.CONFIDENT", 2.0)
    with pytest.raises(VerificationError, match=r"no sample has a detection.*--calibration-data"):
        export_bundle(boxes(precision="int8"))
