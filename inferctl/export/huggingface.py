"""Opens a Hugging Face directory of a sequence classifier; nothing is downloaded or executed."""

from __future__ import annotations

import json
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers.utils import logging as transformers_logging

from inferctl.bundles.manifest import CARD_FILE, TOKENIZER_FILE, TextInput
from inferctl.errors import CheckpointError, UsageError
from inferctl.export.foreign import FOREIGN_ERRORS, clean, first_line
from inferctl.export.loaded import LoadedModel, file_sha256, name_from, read_card
from inferctl.export.request import MAX_TOKENS_LIMIT, ExportRequest
from inferctl.export.sniff import Kind, sniff
from inferctl.export.tokens import read_tokenizer

WEIGHTS_FILE = "model.safetensors"
_HEAD = "ForSequenceClassification"
# Longer texts cost quadratically more; who wants them says --max-tokens.
_DEFAULT_MAX_TOKENS = 512
# These count positions from pad_token_id + 1, so that many of the table's rows are never used.
_OFFSET_POSITIONS = ("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "longformer", "mpnet")
_FOREIGN_FLAGS = ("factory", "image_size", "weights_key")


class SequenceClassifier(nn.Module):
    """Positional tensors in, logits [rows, labels] out, for any Hugging Face classifier."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        """Logits of int64 [rows, tokens] ids and mask."""
        logits: Tensor = self.model(input_ids=input_ids, attention_mask=attention_mask).logits
        return logits


def load_huggingface(request: ExportRequest) -> LoadedModel:
    """Load a directory with config.json, model.safetensors and tokenizer.json.

    Raises CheckpointError when it is another head or incomplete, UsageError for flags that
    contradict it.
    """
    directory = request.checkpoint
    _check_flags(request)
    config = _read_config(directory / "config.json")
    _check_task(request, config, directory)
    labels = request.labels or _labels(config, directory)
    tokenizer = read_tokenizer(request.tokenizer or directory / TOKENIZER_FILE)
    if tokenizer.vocab_size > _number(config, "vocab_size", tokenizer.vocab_size):
        raise CheckpointError(
            f"the tokenizer has {tokenizer.vocab_size} tokens, the model {config['vocab_size']}",
            where=str(directory),
            hint="use the tokenizer.json the model was trained with",
        )
    card = request.card or _existing(directory / CARD_FILE)
    pad_id = _number(config, "pad_token_id", tokenizer.pad_id or 0)
    module, notes = _load_module(directory)
    return LoadedModel(
        module=module,
        task="text-classification",
        name=request.name or name_from(directory),
        labels=labels,
        weights=directory / WEIGHTS_FILE,
        sha256=file_sha256(directory / WEIGHTS_FILE),
        notes=notes,
        text=TextInput(
            max_tokens=_max_tokens(request, config, directory),
            pad_id=pad_id,
            vocab_size=tokenizer.vocab_size,
        ),
        tokenizer=tokenizer.data,
        card=read_card(card),
    )


def _check_flags(request: ExportRequest) -> None:
    for flag in _FOREIGN_FLAGS:
        if getattr(request, flag) is not None:
            raise UsageError(
                "a Hugging Face directory describes its model itself",
                where=f"--{flag.replace('_', '-')}",
                hint="leave the flag out",
            )


def _read_config(path: Path) -> dict[str, Any]:
    try:
        config = json.loads(path.read_bytes())
    except OSError as error:
        raise CheckpointError(f"cannot read it: {error.strerror}", where=str(path)) from None
    except ValueError as error:
        raise CheckpointError(f"not JSON: {first_line(error)}", where=str(path)) from None
    if not isinstance(config, dict):
        raise CheckpointError("not a model's configuration", where=str(path))
    return config


def _check_task(request: ExportRequest, config: Mapping[str, Any], directory: Path) -> None:
    architecture = str((config.get("architectures") or ["nothing"])[0])
    if not architecture.endswith(_HEAD):
        raise CheckpointError(
            clean(f"it is {architecture}, and only *{_HEAD} is exported from a directory"),
            where=str(directory),
            hint="export other models as a state dict with --factory",
        )
    if request.task not in (None, "text-classification"):
        raise UsageError(f"{clean(architecture)} is text-classification", where="--task")
    if "auto_map" in config and not hasattr(transformers, architecture):
        raise CheckpointError(
            "it needs Python code from its own directory, which is not run",
            where=str(directory),
            hint="export it as a state dict with --factory",
        )
    problem = config.get("problem_type")
    if problem in ("regression", "multi_label_classification"):
        raise CheckpointError(
            f"its problem type is {problem}, not single-label classification", where=str(directory)
        )
    weights = directory / WEIGHTS_FILE
    if not weights.is_file():
        raise CheckpointError(
            f"{WEIGHTS_FILE} is missing",
            where=str(directory),
            hint="save it in one file with `model.save_pretrained(directory)`",
        )
    if sniff(weights) is not Kind.SAFETENSORS:
        raise CheckpointError(
            "it is not a safetensors file",
            where=str(weights),
            hint="save it again with `model.save_pretrained(directory)`",
        )


def _labels(config: Mapping[str, Any], directory: Path) -> tuple[str, ...]:
    named = config.get("id2label") or {0: "LABEL_0", 1: "LABEL_1"}
    try:
        by_id = {int(number): str(label) for number, label in dict(named).items()}
    except (TypeError, ValueError):
        by_id = {}
    if sorted(by_id) != list(range(len(by_id))) or len(by_id) < 2:
        raise CheckpointError(
            "id2label in config.json does not number two labels or more from 0",
            where=str(directory),
            hint="correct it, or pass --labels",
        )
    return tuple(by_id[number] for number in range(len(by_id)))


def _max_tokens(request: ExportRequest, config: Mapping[str, Any], directory: Path) -> int:
    positions = _number(config, "n_positions", MAX_TOKENS_LIMIT)
    longest = _number(config, "max_position_embeddings", positions)
    if config.get("model_type") in _OFFSET_POSITIONS:
        longest -= _number(config, "pad_token_id", 1) + 1
    longest = min(longest, MAX_TOKENS_LIMIT)
    if request.max_tokens is not None:
        if request.max_tokens > longest:
            raise UsageError(f"the model has only {longest} positions", where="--max-tokens")
        return request.max_tokens
    settings = _existing(directory / "tokenizer_config.json")
    trained = _number(_read_config(settings), "model_max_length", longest) if settings else longest
    return min(longest, trained, _DEFAULT_MAX_TOKENS)


def _number(config: Mapping[str, Any], key: str, otherwise: int) -> int:
    """A whole number from 0 up; absent, null and absurd ones (1e30 means unlimited) are not."""
    value = config.get(key)
    return int(value) if isinstance(value, int) and 0 <= value < 2**31 else otherwise


def _existing(path: Path) -> Path | None:
    return path if path.is_file() else None


def _load_module(directory: Path) -> tuple[nn.Module, tuple[str, ...]]:
    try:
        with _quiet():
            model, found = transformers.AutoModelForSequenceClassification.from_pretrained(
                directory,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                ignore_mismatched_sizes=True,
                output_loading_info=True,
                dtype=torch.float32,
            )
    except FOREIGN_ERRORS as error:
        raise CheckpointError(
            f"transformers cannot load it: {first_line(error)}", where=str(directory)
        ) from None
    _check_complete(found, directory)
    unexpected = sorted(str(name) for name in found["unexpected_keys"])
    notes = (
        (f"left aside {len(unexpected)} weights of another head, such as {unexpected[0]!r}",)
        if unexpected
        else ()
    )
    return SequenceClassifier(model).cpu().float().eval(), notes


def _check_complete(found: Mapping[str, Any], directory: Path) -> None:
    for key, what in (
        ("mismatched_keys", "have another shape than config.json says"),
        ("missing_keys", "are missing"),
        ("error_msgs", "do not load"),
    ):
        names = sorted(str(item[0] if isinstance(item, tuple) else item) for item in found[key])
        if names:
            raise CheckpointError(
                clean(f"{len(names)} weights {what}, such as {names[0]!r}"),
                where=str(directory / WEIGHTS_FILE),
                hint="the directory must hold a trained classifier, not only its base model",
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep transformers' load report, progress bars and warnings out of the terminal."""
    verbosity = transformers_logging.get_verbosity()
    bars = transformers_logging.is_progress_bar_enabled()
    transformers_logging.set_verbosity(logging.CRITICAL)
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module=r"(transformers|torch|huggingface_hub)\b")
            yield
    finally:
        transformers_logging.set_verbosity(verbosity)
        if bars:
            transformers_logging.enable_progress_bar()  # type: ignore[no-untyped-call]
