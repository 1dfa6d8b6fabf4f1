"""text-classification: a text in, its label out."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from pydantic import BaseModel, Field, create_model
from tokenizers import Tokenizer

from inferctl.bundles.manifest import TOKENIZER_FILE, Manifest
from inferctl.errors import BundleError
from inferctl.refusals import EmptyText, RequestError, TooLarge, Unprocessable
from inferctl.settings import LimitsSettings
from inferctl.tasks.base import (
    ITEMS,
    Answer,
    Array,
    Body,
    Many,
    Prepared,
    Request,
    Task,
    Timed,
    items_request,
    label_type,
    parse_json,
    rounded,
    schema_name,
)
from inferctl.tasks.bounds import ESCAPED_CHARS, FEW_BYTES, SLACK_BYTES, SLACK_NAMES, Bounds

BYTE_ORDER_MARK = "\ufeff"
MAX_CHAR_BYTES = 4  # of UTF-8
SEND_LESS = "send less, or raise limits.max_text_chars"


class TextTask(Task):
    """A text in, one row of token ids and mask [1, tokens] int64.

    Reads `scores` [1, labels], which sum to 1.
    """

    media_types: ClassVar[tuple[str, ...]] = ("text/plain",)
    # 50 microseconds for a sentence: less than a thread costs.
    decodes_off_loop: ClassVar[bool] = False

    def __init__(self, bundle: Path, manifest: Manifest, limits: LimitsSettings) -> None:
        """Load the bundle's tokenizer. Raises BundleError when it does not load."""
        if manifest.text is None:
            raise ValueError("a text task needs manifest.text")
        self._max_chars = limits.max_text_chars
        self._vocab_size = manifest.text.vocab_size
        self._inputs = tuple(tensor.name for tensor in manifest.inputs)
        self._tokenizer = _load_tokenizer(bundle / TOKENIZER_FILE, manifest.text.max_tokens)
        self.labels = manifest.labels
        self.schema_name = schema_name(manifest.name)
        self.request = create_model(
            f"{self.schema_name}Request",
            __base__=Request,
            text=(str, Field(min_length=1, max_length=self._max_chars)),
        )
        self.items_request = items_request(self.schema_name, self.request, limits.max_rows)
        self.bounds = Bounds(
            SLACK_BYTES + limits.max_rows * self._max_chars * ESCAPED_CHARS,
            2 * (limits.max_rows + 1) + SLACK_NAMES,
        )
        self.answer = self._answer_model()

    def _answer_model(self) -> type[BaseModel]:
        label = label_type(self.labels)
        score = (float, Field(ge=0, le=1))
        return create_model(
            f"{self.schema_name}Answer",
            __base__=Timed,
            label=(label, ...),
            score=score,
            scores=(dict[label, float], Field(description="the score of every label")),  # type: ignore[valid-type] # a type made at run time
        )

    def read_json(self, body: Body) -> str | Many:
        """Parse `{"text": …}`."""
        if len(body) > FEW_BYTES:
            self.guard(body)
        try:
            return self.item(parse_json(self.request, body))
        except RequestError:
            if ITEMS not in body:
                raise
            return self._read_items(body)

    def guard(self, body: Body) -> None:
        """Refuse JSON that is more than any request needs, or one text may take."""
        super().guard(body)
        most = SLACK_BYTES + self._max_chars * ESCAPED_CHARS
        if len(body) > most and ITEMS not in body:
            raise TooLarge(f"the JSON of one text is larger than {most} bytes", hint=SEND_LESS)

    def _too_long(self) -> RequestError:
        return TooLarge(f"the text has more than {self._max_chars} characters", hint=SEND_LESS)

    def item(self, request: Any) -> str:
        """The text."""
        return str(request.text)

    def read_raw(self, body: Body, query: Mapping[str, str]) -> str:
        """Take UTF-8 text; there are no options."""
        if query:
            raise Unprocessable("a text/plain request takes no query parameters")
        return self.element(body)

    def element(self, data: Body | str) -> str:
        """Take a text, in UTF-8 if it is bytes."""
        if len(data) > self._max_chars * MAX_CHAR_BYTES:
            raise self._too_long()
        try:
            text = data if isinstance(data, str) else data.decode("utf-8")
        except UnicodeDecodeError:
            raise RequestError("the text is not UTF-8") from None
        if not text:
            raise EmptyText("the text is empty")
        if len(text) > self._max_chars:
            raise self._too_long()
        return text

    def preprocess(self, item: str) -> Prepared:
        """Tokenise; texts longer than the model's window are cut."""
        ids = token_ids(item, self._tokenizer, self._vocab_size)
        row = np.array([ids], np.int64)
        by_name = {"attention_mask": np.ones_like(row), "token_type_ids": np.zeros_like(row)}
        tensors = {name: by_name.get(name, row) for name in self._inputs}
        return Prepared(tensors, len(ids), None, shape=b"%d tokens" % len(ids))

    def postprocess(self, context: None, outputs: Mapping[str, Array]) -> Answer:
        """The most likely label, and the score of each."""
        scores = outputs["scores"][0]
        best = int(scores.argmax())
        return {
            "label": self.labels[best],
            "score": rounded(scores[best]),
            "scores": dict(zip(self.labels, map(rounded, scores.tolist()), strict=True)),
        }

    def example(self) -> dict[str, Any]:
        """A short sentence."""
        return {"text": "A quiet film with a wonderful cast."}


def token_ids(text: str, tokenizer: Tokenizer, vocab_size: int) -> list[int]:
    """The row that a text becomes. Raises Unprocessable when a model cannot take it."""
    if "\0" in text:
        raise Unprocessable("the text contains a NUL character")
    encoding = tokenizer.encode(text.removeprefix(BYTE_ORDER_MARK))
    if 0 not in encoding.special_tokens_mask:
        raise EmptyText("the text holds no token the model knows")
    ids: list[int] = encoding.ids
    if max(ids) >= vocab_size:
        raise Unprocessable("the text holds a token outside the model's vocabulary")
    return ids


def row_tokenizer(document: bytes, max_tokens: int) -> Tokenizer:
    """The tokenizer of single rows: cut at `max_tokens`, not padded. Raises ValueError."""
    tokenizer = Tokenizer.from_buffer(document)
    tokenizer.no_padding()
    tokenizer.enable_truncation(max_tokens)
    return tokenizer


def _load_tokenizer(path: Path, max_tokens: int) -> Tokenizer:
    try:
        return row_tokenizer(path.read_bytes(), max_tokens)
    except (OSError, ValueError) as error:
        raise BundleError(
            f"the tokenizer does not load: {error}", where=str(path), hint="export the bundle again"
        ) from None
