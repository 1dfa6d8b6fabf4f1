"""`inferctl import`: an ONNX file becomes a verified bundle."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, cast

import typer

from inferctl.cli.making import (
    export_extra,
    print_summary,
    read_channels,
    read_labels,
    read_size,
    stages,
)
from inferctl.errors import UsageError

if TYPE_CHECKING:
    from typing import Literal

    from inferctl.bundles.manifest import Precision, Task
    from inferctl.export.imported.request import Head, Resize

_TASKS = ("image-detection", "image-classification", "text-classification", "tensor")
_DOING = {
    "load": "Reading the file",
    "export": "Rewriting the graph",
    "verify": "Comparing it with the file",
    "convert": "Converting it, and comparing with fp32",
    "publish": "Writing the bundle",
}


def import_(
    file: Annotated[
        Path,
        typer.Argument(
            help="An ONNX file: a YOLO export, a classifier of images or texts, or any other with "
            "--task tensor. Weights beside it, and the files of a Hugging Face directory, are read."
        ),
    ],
    name: Annotated[str | None, typer.Option(help="Name of the model. [from the file]")] = None,
    version: Annotated[int | None, typer.Option(help="Version of the bundle. [next free]")] = None,
    task: Annotated[
        str | None, typer.Option(help=f"One of {', '.join(_TASKS)}. [from the file]")
    ] = None,
    labels: Annotated[
        str | None,
        typer.Option(help="Names of the classes: a,b,c, or a file, one per line. [from the file]"),
    ] = None,
    image_size: Annotated[
        str | None,
        typer.Option(help="Input in pixels, where the file leaves it free: HxW, or one number."),
    ] = None,
    resize: Annotated[
        str | None,
        typer.Option(
            help="How pictures come to that size: stretch, letterbox, or crop with --short-side. "
            "[from the file; detectors letterbox]"
        ),
    ] = None,
    short_side: Annotated[
        int | None, typer.Option(help="Shorter side in pixels before --resize crop.")
    ] = None,
    scale: Annotated[
        float, typer.Option(help="What a white pixel is before --mean and --std: 1, or 255.")
    ] = 1,
    mean: Annotated[
        str, typer.Option(help="Subtracted from values in 0..scale: one number, or three.")
    ] = "0",
    std: Annotated[
        str, typer.Option(help="Divides them after that: one number, or one per channel.")
    ] = "1",
    head: Annotated[
        str | None,
        typer.Option(help="Of a detector: yolov8, yolov5 or end-to-end. [from its output]"),
    ] = None,
    iou: Annotated[
        float, typer.Option(help="Boxes of one label that overlap by more are one.")
    ] = 0.7,
    max_detections: Annotated[int, typer.Option(help="Detections answered of a picture.")] = 300,
    tokenizer: Annotated[
        Path | None, typer.Option(help="tokenizer.json of a text model. [beside the file]")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option(help="Longest text in tokens.")] = None,
    card: Annotated[Path | None, typer.Option(help="README.md to put into the bundle.")] = None,
    output: Annotated[Path, typer.Option(help="Folder of models.")] = Path("models"),
    force: Annotated[bool, typer.Option("--force", help="Replace an existing version.")] = False,
    atol: Annotated[float, typer.Option(help="Absolute difference to the file allowed.")] = 1e-4,
    rtol: Annotated[float, typer.Option(help="Relative difference to the file allowed.")] = 1e-3,
    precision: Annotated[
        str,
        typer.Option(help="fp32, fp16, int8, or auto: the fastest that stays within --max-drop."),
    ] = "fp32",
    target: Annotated[str, typer.Option(help="What auto chooses for: cpu or cuda.")] = "cpu",
    calibration_data: Annotated[
        Path | None,
        typer.Option(
            help="Folder of pictures to calibrate int8 with, or of .txt files to judge it by. "
            "[generated ones]"
        ),
    ] = None,
    max_drop: Annotated[
        float, typer.Option(help="Share of rows that may answer otherwise than in fp32.")
    ] = 0.01,
    external_data_mb: Annotated[
        int,
        typer.Option(help="Weights of more MB go into model.onnx.data, beside model.onnx."),
    ] = 2000,
) -> None:
    """Turn an ONNX file into a bundle whose graph was compared with the file's own."""
    if task is not None and task not in _TASKS:
        raise UsageError(
            f"unknown task {task!r}", where="--task", hint=f"one of {', '.join(_TASKS)}"
        )
    with export_extra():
        from inferctl.export.imported.pipeline import import_bundle
        from inferctl.export.imported.request import ImportRequest
    request = ImportRequest(
        checkpoint=file,
        name=name,
        version=version,
        task=cast("Task | None", task),
        labels=read_labels(labels),
        image_size=read_size(image_size),
        mean=read_channels(mean, "--mean"),
        std=read_channels(std, "--std"),
        tokenizer=tokenizer,
        max_tokens=max_tokens,
        card=card,
        output=output,
        force=force,
        atol=atol,
        rtol=rtol,
        precision=cast("Precision", precision),
        target=cast("Literal['cpu', 'cuda']", target),
        calibration_data=calibration_data,
        max_drop=max_drop,
        data_over_bytes=external_data_mb * 1_000_000,
        scale=scale,
        resize=cast("Resize | None", resize),
        short_side=short_side,
        head=cast("Head | None", head),
        iou=iou,
        max_detections=max_detections,
    )
    with stages(_DOING) as on_stage:
        result = import_bundle(request, on_stage)
    print_summary(result)
