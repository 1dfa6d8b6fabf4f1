"""Loads a checkpoint that does not say what it predicts: the flags say it."""

from __future__ import annotations

from collections.abc import Mapping

from torch import nn

from inferctl.bundles.manifest import ImageInput, Task, TextInput
from inferctl.errors import CheckpointError, UsageError
from inferctl.export.checkpoint import Weights, find_weights, load_weights
from inferctl.export.factory import build_module
from inferctl.export.fit import fit_weights
from inferctl.export.foreign import type_of
from inferctl.export.loaded import LoadedModel, file_sha256, name_from, read_card
from inferctl.export.pickled import load_trusted
from inferctl.export.program import load_program
from inferctl.export.request import ExportRequest
from inferctl.export.scripted import load_script
from inferctl.export.sharded import index_of, shards_sha256
from inferctl.export.sniff import Kind
from inferctl.export.tokens import TokenizerFile, read_tokenizer

_WHOLE_MODELS = (Kind.TORCHSCRIPT, Kind.PT2)
Loaded = tuple[nn.Module, tuple[str, ...]]


def load_described(request: ExportRequest, kind: Kind) -> LoadedModel:
    """Load a whole model, or build one by `request.factory` and load the weights into it.

    Raises UsageError when a flag is missing, superfluous or the factory does not work,
    CheckpointError when the checkpoint cannot be read or does not fit.
    """
    task = _task(request)
    _check_flags(request, kind)
    tokenizer = None if request.tokenizer is None else read_tokenizer(request.tokenizer)
    image = _image_input(request) if task != "text-classification" else None
    text = _text_input(request, tokenizer) if task == "text-classification" else None
    card = read_card(request.card)
    sharded = kind is Kind.SHARDED
    weights = index_of(request.checkpoint) if sharded else request.checkpoint
    sha256, shards = shards_sha256(weights) if sharded else (file_sha256(weights), {})
    module, notes = _load_module(request, kind, task, image)
    return LoadedModel(
        module=module,
        task=task,
        name=request.name or name_from(request.checkpoint),
        labels=request.labels,
        weights=weights,
        sha256=sha256,
        shards=shards,
        notes=notes,
        image=image,
        mean=request.mean,
        std=request.std,
        text=text,
        tokenizer=tokenizer.data if tokenizer else None,
        card=card,
    )


def _load_module(
    request: ExportRequest, kind: Kind, task: Task, image: ImageInput | None
) -> Loaded:
    if kind is Kind.TORCHSCRIPT:
        return load_script(request.checkpoint), ()
    if kind is Kind.PT2:
        return load_program(request.checkpoint, task, image), ()
    if request.trust_pickle:
        return _load_trusted(request, kind)
    return _build(request, load_weights(request.checkpoint, kind, request.weights_key))


def _load_trusted(request: ExportRequest, kind: Kind) -> Loaded:
    where = str(request.checkpoint)
    content, note = load_trusted(request.checkpoint, kind)
    if isinstance(content, nn.Module):
        if request.factory is not None:
            raise _own_model("a pickled module")
        return content.cpu().float().eval(), (note,)
    if request.factory is None:
        hint = "pass --factory package.module:function" if isinstance(content, Mapping) else ""
        raise CheckpointError(
            f"it holds {type_of(content)}, not an nn.Module", where=where, hint=hint
        )
    module, notes = _build(request, find_weights(content, request.weights_key, where=where))
    return module, (note, *notes)


def _build(request: ExportRequest, weights: Weights) -> Loaded:
    module, passed = build_module(request.factory or "", weights.hyperparameters)
    fitted = fit_weights(module, weights, where=str(request.checkpoint))
    return module, (*weights.notes, *passed, *fitted)


def _check_flags(request: ExportRequest, kind: Kind) -> None:
    if kind in _WHOLE_MODELS:
        if request.factory is not None:
            raise _own_model(kind.value)
        if request.weights_key is not None:
            raise UsageError(
                f"{kind.value} has no nested weights", where="--weights-key", hint="leave it out"
            )
    elif request.factory is None and not request.trust_pickle:
        # A factory does not help where the weights cannot be read, as those of a pickled module.
        load_weights(request.checkpoint, kind, request.weights_key)
        raise UsageError(
            "a state dict has weights but no model",
            where=str(request.checkpoint),
            hint="pass --factory package.module:function, which returns the nn.Module",
        )
    if not request.labels:
        raise UsageError(
            "the checkpoint has no label names",
            where="--labels",
            hint="pass --labels cat,dog or a file",
        )


def _own_model(what: str) -> UsageError:
    return UsageError(f"{what} brings its own model", where="--factory", hint="leave --factory out")


def _task(request: ExportRequest) -> Task:
    if request.task is not None:
        return request.task
    if request.tokenizer is not None:
        return "text-classification"
    raise UsageError(
        "the checkpoint does not say what it predicts",
        where="--task",
        hint="pass --task image-detection, image-classification or text-classification",
    )


def _image_input(request: ExportRequest) -> ImageInput:
    if request.image_size is None:
        raise UsageError(
            "the size of the model's input is not known",
            where="--image-size",
            hint="pass the size it was trained with, such as --image-size 224",
        )
    height, width = request.image_size
    return ImageInput(height=height, width=width)


def _text_input(request: ExportRequest, tokenizer: TokenizerFile | None) -> TextInput:
    if tokenizer is None:
        raise UsageError(
            "a text model needs its tokenizer", where="--tokenizer", hint="pass its tokenizer.json"
        )
    max_tokens = request.max_tokens or tokenizer.max_length
    if max_tokens is None:
        raise UsageError(
            "the longest text is not known",
            where="--max-tokens",
            hint="pass what it was trained with",
        )
    return TextInput(
        max_tokens=max_tokens, pad_id=tokenizer.pad_id or 0, vocab_size=tokenizer.vocab_size
    )
