"""Builds the module that a state dict belongs to, by the person's `package.module:function`."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn

from inferctl.bundles.manifest import ImageInput, Task, TextInput
from inferctl.errors import InferctlError, UsageError
from inferctl.export.checkpoint import load_weights
from inferctl.export.fit import fit_weights
from inferctl.export.foreign import FOREIGN_ERRORS, first_line, type_of
from inferctl.export.loaded import LoadedModel, file_sha256, name_from, read_card
from inferctl.export.request import ExportRequest
from inferctl.export.sniff import Kind
from inferctl.export.tokens import TokenizerFile, read_tokenizer

# A module without a `__main__` guard parses its own arguments when it is imported, and exits.
_CALL_ERRORS: tuple[type[BaseException], ...] = (*FOREIGN_ERRORS, SystemExit)


def load_with_factory(request: ExportRequest, kind: Kind) -> LoadedModel:
    """Build the module by `request.factory` and load the checkpoint file into it.

    Raises UsageError when a flag is missing or the factory does not work, CheckpointError when the
    weights cannot be read or do not fit.
    """
    task = _task(request)
    spec = _factory(request)
    tokenizer = None if request.tokenizer is None else read_tokenizer(request.tokenizer)
    image = _image_input(request) if task != "text-classification" else None
    text = _text_input(request, tokenizer) if task == "text-classification" else None
    card = read_card(request.card)
    sha256 = file_sha256(request.checkpoint)
    weights = load_weights(request.checkpoint, kind, request.weights_key)
    module = build_module(spec)
    notes = weights.notes + fit_weights(module, weights, where=str(request.checkpoint))
    return LoadedModel(
        module=module,
        task=task,
        name=request.name or name_from(request.checkpoint),
        labels=request.labels,
        weights=request.checkpoint,
        sha256=sha256,
        notes=notes,
        image=image,
        mean=request.mean,
        std=request.std,
        text=text,
        tokenizer=tokenizer.data if tokenizer else None,
        card=card,
    )


def build_module(spec: str) -> nn.Module:
    """Import `package.module:function`, call it, and put the module on the CPU in float32, eval.

    The current directory can be imported from. Raises UsageError when any step fails.
    """
    factory = _import_factory(spec)
    try:
        module = factory()
    except InferctlError:
        raise
    except _CALL_ERRORS as error:
        raise UsageError(
            f"the factory fails: {type(error).__name__}: {first_line(error)}",
            where=spec,
            hint="it must work when called without arguments",
        ) from None
    if not isinstance(module, nn.Module):
        raise UsageError(
            f"the factory returns {type_of(module)}, not an nn.Module",
            where=spec,
            hint="return the model itself, such as `return Net()`",
        )
    return module.cpu().float().eval()


def _import_factory(spec: str) -> Callable[[], Any]:
    module_name, _, function = spec.partition(":")
    if not module_name or not function.isidentifier():
        raise UsageError(
            f"{spec!r} does not name a function",
            where="--factory",
            hint="write package.module:function",
        )
    here = str(Path.cwd())
    if here not in sys.path:
        # The console script's folder is first on the path, the person's project is not on it.
        sys.path.insert(0, here)
    try:
        module = importlib.import_module(module_name)
        factory = getattr(module, function, None)
    except InferctlError:
        raise
    except _CALL_ERRORS as error:
        raise UsageError(
            f"cannot import {module_name}: {type(error).__name__}: {first_line(error)}",
            where="--factory",
            hint="run the command in the project's folder, or install the project",
        ) from None
    if not callable(factory):
        raise UsageError(
            f"{module_name} has no function {function!r}", where="--factory", hint=_offer(module)
        )
    return factory  # type: ignore[no-any-return]  # callable() does not narrow Any


def _offer(module: ModuleType) -> str:
    """Name up to five public callables of a module, those defined in it first."""
    public = {
        name: value
        for name, value in vars(module).items()
        if not name.startswith("_") and callable(value)
    }
    own = [n for n, v in public.items() if getattr(v, "__module__", "") == module.__name__]
    names = (own or list(public))[:5]
    return f"it has {', '.join(names)}" if names else "it has no functions at all"


def _task(request: ExportRequest) -> Task:
    if request.task is not None:
        return request.task
    if request.tokenizer is not None:
        return "text-classification"
    raise UsageError(
        "a state dict does not say what it predicts",
        where="--task",
        hint="pass --task image-detection, image-classification or text-classification",
    )


def _factory(request: ExportRequest) -> str:
    if request.factory is None:
        raise UsageError(
            "a state dict has weights but no model",
            where=str(request.checkpoint),
            hint="pass --factory package.module:function, which returns the nn.Module",
        )
    if not request.labels:
        raise UsageError(
            "a state dict has no label names",
            where="--labels",
            hint="pass --labels cat,dog or a file",
        )
    return request.factory


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
