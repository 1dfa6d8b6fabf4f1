"""`inferctl export`: a checkpoint becomes a verified bundle."""

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

_TASKS = ("image-detection", "image-classification", "text-classification")
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
    opset: Annotated[
        int | None, typer.Option(help="Version of ONNX's operators, 18 to 23. [torch's default]")
    ] = None,
) -> None:
    """Turn a checkpoint into a bundle whose ONNX graph was compared with PyTorch."""
    # Of the task that no export has, the request knows the reason.
    if task not in (None, *_TASKS, "tensor"):
        raise UsageError(
            f"unknown task {task!r}", where="--task", hint=f"one of {', '.join(_TASKS)}"
        )
    with export_extra():
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
        data_over_bytes=external_data_mb * 1_000_000,
        opset=opset,
    )
    with stages(_DOING) as on_stage:
        result = export_bundle(request, on_stage)
    print_summary(result)
