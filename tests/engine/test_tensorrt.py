"""What TensorRT is told of a model, and where its engines are kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from inferctl.bundles.manifest import DATA_FILE, GRAPH_FILE
from inferctl.cuda.lack import Lack
from inferctl.engine import tensorrt as module
from inferctl.engine.tensorrt import TENSORRT, Build, TensorRt, provider_of
from inferctl.settings import RuntimeSettings
from tests.graphs import MAX_TOKENS, image_manifest, text_manifest

BUILD = Build("1.31.1", "13.0", Path("capi"))
GRAPH, DATA = "a" * 64, "b" * 64


def files(**sha256s: str) -> dict[str, Any]:
    names = {"graph": GRAPH_FILE, "data": DATA_FILE}
    return {names[name]: {"bytes": 1, "sha256": sha256} for name, sha256 in sha256s.items()}


@pytest.fixture
def there(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that has all of it."""
    monkeypatch.setattr(module, "tensorrt_libraries", lambda _: ["libnvinfer.so.10"])
    monkeypatch.setattr(module, "missing_tensorrt", lambda _: [])
    monkeypatch.setattr(module, "version_of_tensorrt", lambda _: "10.13.3")
    monkeypatch.setattr(module, "name_of", lambda number: f"NVIDIA H200 {number}")


def options_of(model: TensorRt, **runtime: Any) -> dict[str, str]:
    found = provider_of(model, RuntimeSettings(tensorrt=True, **runtime), 1, BUILD)
    assert not isinstance(found, Lack), found
    assert found[0] == TENSORRT
    return found[1]


def test_shapes_are_those_of_the_buckets(there: None, tmp_path: Path) -> None:
    texts = text_manifest(buckets={"rows": [2, 8], "tokens": [2, 4, MAX_TOKENS]})
    options = options_of(TensorRt.of(texts), tensorrt_cache=str(tmp_path))
    assert [options[f"trt_profile_{which}_shapes"] for which in ("min", "opt", "max")] == [
        "input_ids:2x2,attention_mask:2x2",
        "input_ids:8x4,attention_mask:8x4",
        f"input_ids:8x{MAX_TOKENS},attention_mask:8x{MAX_TOKENS}",
    ]
    pictures = TensorRt.of(image_manifest(buckets={"rows": [1, 4]}))
    assert pictures.shapes == ("image:1x2x2x3", "image:4x2x2x3", "image:4x2x2x3")


def test_engines_are_kept_for_one_model_and_all_versions_that_they_depend_on(
    there: None, tmp_path: Path
) -> None:
    model = TensorRt.of(image_manifest(files=files(graph=GRAPH)))
    options = options_of(model, tensorrt_cache=str(tmp_path / "engines"))
    (folder,) = (tmp_path / "engines").iterdir()
    assert folder.name == f"{GRAPH}_onnxruntime-1.31.1_tensorrt-10.13.3_NVIDIA-H200-1"
    assert options["trt_engine_cache_path"] == options["trt_timing_cache_path"] == str(folder)
    assert (options["trt_engine_cache_enable"], options["trt_timing_cache_enable"]) == ("1", "1")
    assert options["device_id"] == "1"
    with_tf32 = options_of(model, tensorrt_cache=str(tmp_path / "engines"), tf32=True)
    assert with_tf32["trt_engine_cache_path"] == f"{folder}_tf32"


def test_weights_that_are_apart_make_another_model() -> None:
    alone = TensorRt.of(image_manifest(files=files(graph=GRAPH)))
    one, other = (
        TensorRt.of(image_manifest(files=files(graph=GRAPH, data=data))) for data in (DATA, GRAPH)
    )
    assert len({alone.sha256, one.sha256, other.sha256}) == 3


@pytest.mark.parametrize(("precision", "enabled"), [("fp32", "0"), ("fp16", "1"), ("int8", "0")])
def test_only_a_bundle_in_fp16_is_run_in_it(
    precision: str, enabled: str, there: None, tmp_path: Path
) -> None:
    model = TensorRt.of(image_manifest(precision=precision))
    assert options_of(model, tensorrt_cache=str(tmp_path))["trt_fp16_enable"] == enabled


def test_what_is_missing_is_told(
    there: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model, file = TensorRt.of(image_manifest()), tmp_path / "file"
    file.touch()
    assert provider_of(model, RuntimeSettings(tensorrt_cache=str(file)), 0, BUILD) == (
        f"TensorRT's engines cannot be kept in {file}: Not a directory",
        "set runtime.tensorrt_cache to a folder that can be written",
    )
    monkeypatch.setattr(module, "missing_tensorrt", lambda libraries: libraries)
    lack = provider_of(model, RuntimeSettings(), 0, BUILD)
    assert isinstance(lack, Lack)
    assert lack.what == "libnvinfer.so.10 of TensorRT is not found"
