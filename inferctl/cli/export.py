"""`inferctl export`: a checkpoint becomes a verified bundle."""

from __future__ import annotations

import re
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from inferctl.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from typing import Literal

    from inferctl.bundles.manifest import Precision, Task
    from inferctl.export import ExportResult

_TASKS = ("image-detection", "image-classification", "text-classification")
_EXTRA = ("torch", "onnx", "onnxscript", "safetensors", "transformers")
_FACTORY_HELP = (
    "package.module:function that returns the nn.Module of a state dict. Image models take float32 "
    "(rows, 3, H, W), already normalised; text models (input_ids, attention_mask). Classifiers "
    "return logits (rows, classes); detectors return boxes (rows, k, 4) as xyxy in 0..1, scores "
    "(rows, k) descending and int64 labels (rows, k)."
)
_TRUST_HELP = (
    "Unpickle a checkpoint that is more than tensors. Whoever made the file can run any code "
    "on this machine as you: only for files you made yourself."
)
_DOING = {
    "load": "Loading the checkpoint",
    "export": "Drawing the graph",
    "verify": "Comparing it with PyTorch",
    "convert": "Converting it, and comparing with fp32",
    "publish": "Writing the bundle",
}


def export(
    checkpoint: Annotated[
        Path,
        typer.Argument(
            help="A state dict (.pt, .ckpt, .safetensors or their index), a TorchScript or "
            "torch.export file, or a Hugging Face directory."
        ),
    ],
    factory: Annotated[
        str | None,
        typer.Option(help=_FACTORY_HELP),
    ] = None,
    name: Annotated[
        str | None, typer.Option(help="Name of the model. [from the checkpoint]")
    ] = None,
    version: Annotated[int | None, typer.Option(help="Version of the bundle. [next free]")] = None,
    task: Annotated[str | None, typer.Option(help=f"One of {', '.join(_TASKS)}.")] = None,
    labels: Annotated[
        str | None, typer.Option(help="Names of the classes: a,b,c, or a file with one per line.")
    ] = None,
    image_size: Annotated[
        str | None, typer.Option(help="Input of an image model in pixels: HxW, or one number.")
    ] = None,
    mean: Annotated[
        str, typer.Option(help="Subtracted from values in 0..1: one number, or one per channel.")
    ] = "0",
    std: Annotated[
        str, typer.Option(help="Divides them after that: one number, or one per channel.")
    ] = "1",
    tokenizer: Annotated[Path | None, typer.Option(help="tokenizer.json of a text model.")] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest text in tokens.")] = None,
    weights_key: Annotated[
        str | None, typer.Option(help="Entry of the checkpoint that holds the weights.")
    ] = None,
    trust_pickle: Annotated[
        bool,
        typer.Option("--unsafe-load-pickle-and-trust-its-author", help=_TRUST_HELP),
    ] = False,
    card: Annotated[Path | None, typer.Option(help="README.md to put into the bundle.")] = None,
    output: Annotated[Path, typer.Option(help="Folder of models.")] = Path("models"),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing version.")] = False,
    atol: Annotated[float, typer.Option(help="Absolute difference to PyTorch allowed.")] = 1e-4,
    rtol: Annotated[float, typer.Option(help="Relative difference to PyTorch allowed.")] = 1e-3,
    precision: Annotated[
        str,
        typer.Option(help="fp32, fp16, int8, or auto: the fastest that stays within --max-drop."),
    ] = "fp32",
    target: Annotated[str, typer.Option(help="What auto chooses for: cpu or cuda.")] = "cpu",
    calibration_data: Annotated[
        Path | None,
        typer.Option(help="Folder of pictures to calibrate int8 with. [generated ones]"),
    ] = None,
    max_drop: Annotated[
        float, typer.Option(help="Share of rows that may answer otherwise than in fp32.")
    ] = 0.01,
) -> None:
    """Turn a checkpoint into a bundle whose ONNX graph was compared with PyTorch."""
    if task is not None and task not in _TASKS:
        raise UsageError(
            f"unknown task {task!r}", where="--task", hint=f"one of {', '.join(_TASKS)}"
        )
    with _export_extra():
        from inferctl.export import ExportRequest, export_bundle
    request = ExportRequest(
        checkpoint=checkpoint,
        factory=factory,
        name=name,
        version=version,
        task=cast("Task | None", task),
        labels=read_labels(labels),
        image_size=read_size(image_size),
        mean=read_channels(mean, "--mean"),
        std=read_channels(std, "--std"),
        tokenizer=tokenizer,
        max_tokens=max_tokens,
        weights_key=weights_key,
        trust_pickle=trust_pickle,
        card=card,
        output=output,
        force=force,
        atol=atol,
        rtol=rtol,
        precision=cast("Precision", precision),
        target=cast("Literal['cpu', 'cuda']", target),
        calibration_data=calibration_data,
        max_drop=max_drop,
    )
    with _progress() as on_stage:
        result = export_bundle(request, on_stage)
    _print_summary(result)


def read_labels(text: str | None) -> tuple[str, ...]:
    """Read `--labels`: a file with one label per line, or the labels between commas."""
    if text is None:
        return ()
    path = Path(text)
    try:
        if path.is_file():
            lines = path.read_text(encoding="utf-8").splitlines()
            return tuple(line.strip() for line in lines if line.strip())
    except (OSError, ValueError) as error:
        raise UsageError(f"cannot read the labels: {error}", where=text) from None
    if path.suffix == ".txt":
        raise UsageError("no such file of labels", where=text)
    return tuple(label.strip() for label in text.split(","))


def read_size(text: str | None) -> tuple[int, int] | None:
    """Read `--image-size`, 224 or 480x640, as height and width in pixels."""
    if text is None:
        return None
    found = re.fullmatch(r"([0-9]{1,6})(?:[xX]([0-9]{1,6}))?", text.strip())
    if found is None:
        raise UsageError(
            f"{text!r} is no size",
            where="--image-size",
            hint="write 224, or 480x640 (height first)",
        )
    return int(found[1]), int(found[2] or found[1])


def read_channels(text: str, flag: str) -> tuple[float, float, float]:
    """Read one number for all channels, or three between commas."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if len(numbers) == 1:
        numbers *= 3
    if len(numbers) != 3:
        raise UsageError(
            f"{text!r} is not one number or three",
            where=flag,
            hint="write 0.5 or 0.485,0.456,0.406",
        )
    red, green, blue = numbers
    return red, green, blue


@contextmanager
def _export_extra() -> Iterator[None]:
    """Say which extra is missing, when it is one of its packages that cannot be imported."""
    try:
        yield
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _EXTRA:
            raise
        raise UsageError(
            f"exporting needs {error.name}", hint="install with pip install 'inferctl[export]'"
        ) from None


@contextmanager
def _progress() -> Iterator[Callable[[str], None]]:
    """Show each stage on stderr with its time while it runs."""
    from rich.console import Console
    from rich.progress import Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    # A bound stream: the exporter's own output is redirected while the spinner turns.
    console = Console(file=sys.stderr)
    mark = SpinnerColumn(finished_text="✓")
    columns = (
        mark,
        TextColumn("{task.description}"),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as progress:

        def on_stage(stage: str) -> None:
            for running in progress.task_ids:
                progress.update(running, completed=1)
            progress.add_task(_DOING.get(stage, stage), total=1)

        try:
            yield on_stage
        except BaseException:
            # Only the stage that failed still shows the spinner's frame.
            mark.spinner.frames, mark.spinner.style = ["✗"], "red"
            if not console.is_terminal:
                for failed in progress.task_ids[-1:]:
                    progress.remove_task(failed)
            raise
        for finished in progress.task_ids:
            progress.update(finished, completed=1)


def _print_summary(result: ExportResult) -> None:
    from rich.console import Console

    from inferctl.export.report import summary_table

    table = summary_table(
        result.path,
        result.manifest,
        result.loaded,
        result.checks,
        result.seconds,
        result.conversion,
    )
    Console(file=sys.stdout).print(table)
