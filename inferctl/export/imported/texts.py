"""What an imported text model takes, from the Hugging Face files beside it."""

from __future__ import annotations

from dataclasses import dataclass

from onnx import TensorProto

from inferctl.bundles.manifest import TOKENIZER_FILE, TextInput
from inferctl.errors import CheckpointError, UsageError
from inferctl.export.huggingface.config import Directory, number
from inferctl.export.huggingface.lengths import longest_text
from inferctl.export.imported.request import ImportRequest
from inferctl.export.imported.source import OnnxFile
from inferctl.export.tokens import TokenizerFile, read_tokenizer

IDS, MASK, TYPES = "input_ids", "attention_mask", "token_type_ids"
_INTEGERS = (TensorProto.INT32, TensorProto.INT64)


@dataclass(frozen=True, slots=True)
class TextFacts:
    """What a text model takes; empty of any other."""

    text: TextInput | None = None
    tokenizer: bytes | None = None


def is_text_model(file: OnnxFile) -> bool:
    """Whether it takes tokens and their mask."""
    return {IDS, MASK} <= {value.name for value in file.inputs}


def text_facts(file: OnnxFile, request: ImportRequest, beside: Directory | None) -> TextFacts:
    """Find the tokenizer and the longest text.

    Raises CheckpointError when the inputs are not those of a text model, UsageError when a file or
    a flag is missing.
    """
    _check_inputs(file)
    tokenizer = _tokenizer(request, beside)
    max_tokens = request.max_tokens or tokenizer.max_length
    if beside is not None:
        max_tokens = longest_text(beside)
    if max_tokens is None:
        raise UsageError(
            "the longest text is not known",
            where="--max-tokens",
            hint="pass what it was trained with",
        )
    pad_id = tokenizer.pad_id or 0
    text = TextInput(
        max_tokens=max_tokens,
        pad_id=number(beside.config, "pad_token_id", pad_id) if beside else pad_id,
        vocab_size=tokenizer.vocab_size,
    )
    return TextFacts(text, tokenizer.data)


def _tokenizer(request: ImportRequest, beside: Directory | None) -> TokenizerFile:
    path = request.tokenizer or (beside.file(TOKENIZER_FILE) if beside else None)
    path = path or request.checkpoint.parent / TOKENIZER_FILE
    if request.tokenizer is None and not path.is_file():
        raise UsageError(
            "a text model needs its tokenizer", where="--tokenizer", hint="pass its tokenizer.json"
        )
    return read_tokenizer(path)


def _check_inputs(file: OnnxFile) -> None:
    where = str(file.path)
    names = {value.name for value in file.inputs}
    if not {IDS, MASK} <= names <= {IDS, MASK, TYPES}:
        raise CheckpointError(
            f"its inputs are {', '.join(sorted(names))}, and a text model's {IDS}, {MASK} and "
            f"perhaps {TYPES}",
            where=where,
            hint="another model can be imported with --task tensor",
        )
    for value in file.inputs:
        dims = value.type.tensor_type.shape.dim
        if value.type.tensor_type.elem_type not in _INTEGERS or len(dims) != 2:
            raise CheckpointError(f"input {value.name} is not int64 [rows, tokens]", where=where)
        if dims[1].dim_value:
            raise CheckpointError(
                f"input {value.name} takes texts of {dims[1].dim_value} tokens alone",
                where=where,
                hint="export it again with a dynamic sequence axis",
            )
