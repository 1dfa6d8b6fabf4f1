"""Requests that cannot be meant, names, and texts quoted from other people's errors."""

from __future__ import annotations

from pathlib import Path

import pytest

from inferctl.errors import CheckpointError, UsageError
from inferctl.export import ExportRequest
from inferctl.export.foreign import clean, first_line, type_of
from inferctl.export.loaded import file_sha256, name_from


@pytest.mark.parametrize(
    ("parts", "flag"),
    [
        ({"name": "My Model"}, "--name"),
        ({"name": "../up"}, "--name"),
        ({"version": 0}, "--version"),
        ({"task": "tensor"}, "model of numbers cannot be exported.*--task.*inferctl import"),
        ({"labels": ("a", " ")}, "--labels"),
        ({"labels": ("a", "a")}, "--labels"),
        ({"image_size": (0, 5)}, "--image-size"),
        ({"image_size": (5, 20_000)}, "--image-size"),
        ({"mean": (float("nan"), 0, 0)}, "--mean"),
        ({"std": (1, 0, 1)}, "--std"),
        ({"max_tokens": 1}, "--max-tokens"),
        ({"max_tokens": 9000}, "--max-tokens"),
        ({"atol": -1}, "--atol"),
        ({"rtol": float("inf")}, "--rtol"),
        ({"precision": "bf16"}, "no MatMul, Gemm or Conv in bfloat16.*use fp16"),
        ({"precision": "int4"}, "--precision.*one of fp32, fp16, int8, auto"),
        ({"target": "tpu"}, "--target"),
        ({"calibration_data": Path()}, "fp32 needs no calibration.*--calibration-data"),
        ({"precision": "auto", "max_drop": 1.5}, "--max-drop"),
    ],
)
def test_a_value_that_cannot_be_meant_is_refused(parts: dict[str, object], flag: str) -> None:
    with pytest.raises(UsageError, match=flag):
        ExportRequest(Path("file.pt"), **parts)


@pytest.mark.parametrize(
    ("file", "name"),
    [
        ("Best Model (v2).pt", "best-model-v2"),
        ("ckpt.epoch=3.pth", "ckpt.epoch-3"),
        ("a" * 90, "a" * 64),
    ],
)
def test_a_name_is_made_of_the_files(file: str, name: str) -> None:
    assert name_from(Path(file)) == name


def test_a_name_of_nothing_usable_is_asked_for() -> None:
    with pytest.raises(UsageError, match="--name"):
        name_from(Path("模型.pt"))


def test_a_checkpoint_that_vanished_cannot_be_hashed(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        file_sha256(tmp_path / "gone")


def test_foreign_texts_become_one_clean_line() -> None:
    assert clean("\x1b[1mbold\x1b[0m\tand\r\nmore\x07") == "bold and more"
    assert len(clean("x" * 1000)) == 300
    assert first_line(ValueError("\n first.\nlast\n")) == "first"
    assert first_line(RuntimeError("Errors in Net:\n\tsize mismatch\nx")) == (
        "Errors in Net: size mismatch"
    )
    assert len(first_line(ValueError("x" * 1000))) == 300
    assert first_line(EOFError()) == "EOFError"


def test_types_are_named_in_a_sentence() -> None:
    assert [type_of(value) for value in (7, {}, None)] == ["an int", "a dict", "nothing"]


def test_the_exporters_summary_is_what_happened() -> None:
    text = "advice\n## Exception summary\n\n<class 'a.B'>: no ONNX function\n⬆️\n<class 'c.D'>: more"
    assert first_line(RuntimeError(text)) == "no ONNX function"
    assert first_line(RuntimeError("advice\n## Exception summary\n")) == "RuntimeError"
