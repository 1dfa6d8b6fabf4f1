"""The command: flags in, exit codes and one line out."""

from __future__ import annotations

import importlib
import io
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from inferctl import export as package
from inferctl.bundles.repository import open_bundle
from inferctl.cli import making
from inferctl.errors import InferctlError, UsageError, VerificationError
from inferctl.export import ExportResult
from inferctl.export import report as report_module
from inferctl.export.checkpoint import TRUST_FLAG

from . import kinds, tinymodels
from .conftest import factory

# `inferctl.cli.export` is also the name of the function in it.
command = importlib.import_module("inferctl.cli.export")


def inferctl(*arguments: object, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "inferctl", "export", *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=cwd,
    )


def flags(store: Path, model: str, labels: str = "cat,dog,owl") -> list[object]:
    return [
        store / "classifier.pt",
        "--factory",
        f"project:{model}",
        "--task",
        "image-classification",
        "--labels",
        labels,
        "--image-size",
        "16x16",
    ]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A person's folder: a module to import from it, and labels in a file."""
    source = Path(tinymodels.__file__).read_text()
    (tmp_path / "project.py").write_text(source)
    (tmp_path / "labels.txt").write_text("cat\ndog\nowl\n")
    return tmp_path


def test_an_export_from_the_command_line(store: Path, project: Path) -> None:
    done = inferctl(*flags(store, "classifier", "labels.txt"), "--name", "cats", cwd=project)
    assert (done.returncode, done.stderr.count("✓")) == (0, 4), done.stderr
    assert "models/cats/1" in done.stdout
    assert "Warning" not in done.stderr
    assert open_bundle(project / "models" / "cats" / "1").manifest.labels == ("cat", "dog", "owl")


@pytest.mark.row(182)
@pytest.mark.parametrize(
    ("model", "code", "text"),
    [
        ("BatchMean", 6, "against each row alone"),
        ("Detector", 4, "weights are unknown"),
        ("absent", 2, "has no function 'absent'"),
        ("own_error", 2, "the factory fails: OwnError: config missing"),
        ("Broken", 4, "the model does not run: OwnError: no such layer"),
    ],
)
def test_a_failure_is_one_line_an_exit_code_and_no_bundle(
    store: Path, project: Path, model: str, code: int, text: str
) -> None:
    done = inferctl(*flags(store, model), cwd=project)
    assert done.returncode == code
    last = done.stderr.rstrip("\n").splitlines()[-1]
    assert last.startswith("inferctl: ")
    assert text in last
    assert "Traceback" not in done.stderr
    assert not (project / "models").exists()


@pytest.mark.row(178)
@pytest.mark.parametrize(
    ("kind", "cut", "code", "text"),
    [
        ("scripted", None, 0, ""),
        ("program", None, 0, ""),
        ("scripted", 0.9, 4, "cut short or damaged"),
        ("program", 0.9, 4, "cut short or damaged"),
        ("pickled", None, 4, "would import and call tests.export.tinymodels.Classifier"),
    ],
)
def test_a_whole_model_needs_no_project(
    store: Path, tmp_path: Path, kind: str, cut: float | None, code: int, text: str
) -> None:
    if kind == "pickled":
        path = kinds.save_torch(kinds.classifier(), tmp_path / "whole.pt")
    else:
        path = kinds.save(kind, tmp_path)
    if cut:
        path.write_bytes(path.read_bytes()[: int(path.stat().st_size * cut)])
    _, _, _, *others = flags(store, "none")
    done = inferctl(path, *others, cwd=tmp_path)
    said = [line for line in done.stderr.splitlines() if line.strip() and "✓" not in line]
    assert (done.returncode, len(said)) == (code, bool(code)), done.stderr
    assert text in "".join(said)
    assert (tmp_path / "models").exists() == (code == 0)


def test_trust_is_one_line_before_the_stages(store: Path, project: Path) -> None:
    make = "import project, torch; torch.save(project.Classifier(), 'whole.pt')"
    subprocess.run([sys.executable, "-c", make], cwd=project, check=True)
    _, _, _, *others = flags(store, "none")
    done = inferctl("whole.pt", *others, TRUST_FLAG, cwd=project)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stderr.splitlines() if line.strip() and "✓" not in line]
    assert len(said) == 1
    assert "trusting the author of whole.pt (sha256 " in said[0]
    assert "project.Classifier" in said[0]


@pytest.mark.row(184)
def test_the_exporters_own_words_stay_out_of_the_terminal(store: Path, project: Path) -> None:
    done = inferctl(*flags(store, "Branching"), cwd=project)
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    assert done.returncode == 6
    assert (len(lines), lines[0][:1]) == (2, "✓"), done.stderr
    assert lines[1].startswith("inferctl: the model cannot be drawn as a graph")


@pytest.mark.parametrize("terminal", [True, False])
def test_a_stage_that_fails_is_crossed_out(monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    stream = io.StringIO()
    stream.isatty = lambda: terminal
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setenv("TERM", "xterm")

    def fail() -> None:
        with making.stages(command._DOING) as on_stage:
            on_stage("load")
            on_stage("export")
            raise VerificationError("no")

    with pytest.raises(VerificationError):
        fail()
    shown = stream.getvalue()
    assert bool(re.search("✗.*Drawing", shown)) == ("Drawing" in shown) == terminal
    assert re.search("✓.*Loading", shown)


def test_the_command_is_known_without_importing_torch() -> None:
    code = "import sys; from inferctl.cli import app; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def invoke(*arguments: object) -> InferctlError | None:
    app = typer.Typer()
    app.command()(command.export)
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert result.exception is None or isinstance(result.exception, InferctlError)
    return result.exception


def test_flags_become_one_request(
    monkeypatch: pytest.MonkeyPatch,
    published: dict[str, ExportResult],
) -> None:
    requests = []

    def export_bundle(request: object, on_stage: object) -> ExportResult:
        requests.append(request)
        on_stage("load")
        return published["image-classification"]

    monkeypatch.setattr(package, "export_bundle", export_bundle)
    arguments = ("--image-size", "4x6", "--mean", "0.5", "--std", "1,2,3", "--labels", "a, b")
    assert invoke("file.pt", *arguments, "--factory", factory("x")) is None

    (request,) = requests
    assert request.image_size == (4, 6)
    assert (request.mean, request.std) == ((0.5, 0.5, 0.5), (1.0, 2.0, 3.0))
    assert request.labels == ("a", "b")
    assert request.output == Path("models")
    assert not request.trust_pickle
    assert invoke("file.pt", TRUST_FLAG) is None
    assert requests[1].trust_pickle


def test_a_warning_is_one_line_on_stderr(
    monkeypatch: pytest.MonkeyPatch,
    published: dict[str, ExportResult],
    capsys: pytest.CaptureFixture[str],
) -> None:
    class Slow:
        warning = "int8 is slower"

    shown = replace(published["image-classification"], conversion=Slow())
    monkeypatch.setattr(report_module, "summary_table", lambda *_: "")
    command.print_summary(shown)
    assert capsys.readouterr().err == "inferctl: warning: int8 is slower\n"


@pytest.mark.row(184)
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (("--task", "poetry"), "unknown task 'poetry'"),
        (("--image-size", "big"), "'big' is no size"),
        (("--image-size", "32x"), "'32x' is no size"),
        (("--image-size", "x32"), "'x32' is no size"),
        (("--image-size", "32x32x3"), "is no size"),
        (("--image-size", "3_2"), "is no size"),
        (("--mean", "1,2"), "not one number or three"),
        (("--std", "a"), "not one number or three"),
        (("--labels", "missing.txt"), "no such file of labels"),
        (("--version", "0"), "--version"),
        (("--precision", "bf16"), "no MatMul, Gemm or Conv in bfloat16 (--precision); use fp16"),
        (("--precision", "int4"), "one of fp32, fp16, int8, auto"),
        (("--opset", "17"), "not written in opset 17 (--opset); use 18 to 23, or leave it out"),
        (("--opset", "24"), "use 18 to 23"),
        (("--external-data-mb", "-1"), "--external-data-mb"),
        (("--target", "tpu"), "one of cpu, cuda"),
        (("--max-drop", "2"), "--max-drop"),
    ],
)
def test_flags_that_cannot_be_read_are_refused(arguments: tuple[str, ...], text: str) -> None:
    error = invoke("file.pt", *arguments)
    assert isinstance(error, UsageError)
    assert text in str(error)


def test_labels_that_are_not_text_are_refused(tmp_path: Path) -> None:
    (tmp_path / "labels").write_bytes(b"\xff\xfe")
    with pytest.raises(UsageError, match="cannot read the labels"):
        making.read_labels(str(tmp_path / "labels"))
    assert making.read_labels(None) == ()
    assert making.read_size("224") == (224, 224)
    assert making.read_size("48X64") == (48, 64)


def test_an_error_of_the_export_passes_through(monkeypatch: pytest.MonkeyPatch) -> None:
    def export_bundle(request: object, on_stage: object) -> ExportResult:
        raise VerificationError("no")

    monkeypatch.setattr(package, "export_bundle", export_bundle)
    assert isinstance(invoke("file.pt"), VerificationError)


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        with making.export_extra():
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

    with pytest.raises(UsageError, match=r"pip install 'inferctl\[export\]'"):
        missing("torch._C")
    with pytest.raises(ModuleNotFoundError):
        missing("somethingelse")
