"""TorchScript archives: loaded by torch's own interpreter, and kept to tensors."""

from __future__ import annotations

import os
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from inferctl.errors import CheckpointError, UntrustedCheckpoint
from inferctl.export.archive import read_records
from inferctl.export.scripted import load_script

from . import kinds, tinymodels


class Evil:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> tuple[object, ...]:
        return os.system, (f"touch {self.marker}",)


def rewritten(path: Path, name: str, data: bytes) -> Path:
    records = {**read_records(path), name: data}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for record, content in records.items():
            archive.writestr(f"model/{record}", content)
    return path


@pytest.mark.parametrize("kind", ["traced", "scripted", "frozen"])
def test_a_script_answers_as_its_module(tmp_path: Path, kind: str) -> None:
    module = load_script(kinds.save(kind, tmp_path))
    pictures = torch.rand(5, 3, tinymodels.SIDE, tinymodels.SIDE)
    with torch.no_grad():
        torch.testing.assert_close(module(pictures), kinds.classifier()(pictures))


def test_a_script_is_put_into_float32_and_evaluation_mode(tmp_path: Path) -> None:
    path = kinds.save_script(kinds.classifier().double().train(), tmp_path / "double.pt")
    module = load_script(path)
    assert not module.training
    assert {parameter.dtype for parameter in module.parameters()} == {torch.float32}


@pytest.mark.parametrize("record", ["data.pkl", "constants.pkl"])
def test_a_pickle_inside_is_not_pythons(tmp_path: Path, record: str) -> None:
    marker = tmp_path / "marker"
    evil = pickle.dumps(Evil(marker), protocol=2)
    path = rewritten(kinds.save("scripted", tmp_path), record, evil)
    with pytest.raises(CheckpointError) as caught:
        load_script(path)
    assert not marker.exists()
    assert "\n" not in str(caught.value)


class Saving(nn.Module):
    """Writes a file when it is called."""

    def forward(self, x: Tensor) -> Tensor:
        torch.save(x, "stolen.pt")
        return x


class Loading(nn.Module):
    """Writes a file while it is loaded."""

    @torch.jit.export
    def __getstate__(self) -> tuple[Tensor, bool]:
        return torch.zeros(1), self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[Tensor, bool]) -> None:
        torch.save(state[0], "stolen.pt")
        self.training = state[1]

    def forward(self, x: Tensor) -> Tensor:
        return x


class Mapping(nn.Module):
    """Reads a file as numbers."""

    def forward(self, x: Tensor) -> Tensor:
        return x + torch.from_file("/etc/passwd", False, 4)


@pytest.mark.parametrize("model", [Saving, Loading, Mapping])
def test_code_that_uses_files_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: type[nn.Module]
) -> None:
    monkeypatch.chdir(tmp_path)
    path = kinds.save_script(model(), tmp_path / "model.pt")
    with pytest.raises(UntrustedCheckpoint, match="reaches beyond tensors"):
        load_script(path)
    assert not (tmp_path / "stolen.pt").exists()


@pytest.mark.parametrize(
    "text",
    [
        "t = torch\n    t.save(x, 'f')",
        "torch . save(x, 'f')",
        "ops.image.write_file('f', x)",
        "o = ops\n    o.image.write_file('f', x)",
        "getattr(torch, 'save')(x, 'f')",
        "getattr(torch, '\\x73ave')(x, 'f')",
        "x = __torch__.torch.classes.evil.Thing.__new__()",
    ],
)
def test_other_spellings_are_refused_too(tmp_path: Path, text: str) -> None:
    path = kinds.save("scripted", tmp_path)
    rewritten(path, "code/__torch__/evil.py", f"def f(x):\n    {text}\n".encode())
    with pytest.raises(UntrustedCheckpoint, match="reaches beyond tensors"):
        load_script(path)
