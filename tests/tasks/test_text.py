"""Which texts are taken, how they become tokens, and what comes back."""

from __future__ import annotations

import math
import time
from pathlib import Path

import numpy as np
import orjson
import pytest
from tokenizers import Tokenizer, normalizers

from inferctl.bundles.manifest import TOKENIZER_FILE
from inferctl.errors import BundleError
from inferctl.refusals import EmptyText, RequestError, TooLarge, Unprocessable
from inferctl.settings import LimitsSettings
from inferctl.tasks.base import Task, parse_json
from inferctl.tasks.text import TextTask

from .tinybundles import LABELS, MAX_TOKENS, detector, reader, task_of, timed, write_tokenizer

UNK, CLS, SEP, GOOD, FILM = 1, 2, 3, 4, 5
MAX_CHARS = 50


@pytest.fixture
def task(tmp_path: Path) -> Task:
    bundle = write_tokenizer(tmp_path, "good", "film")
    return task_of(reader(), bundle, limits=LimitsSettings(max_text_chars=MAX_CHARS))


def ids(task: Task, text: str) -> list[int]:
    (row,) = task.preprocess(text).tensors["input_ids"].tolist()
    assert isinstance(row, list)
    return row


def test_a_text_becomes_ids_and_masks(task: Task) -> None:
    prepared = task.preprocess("good film")
    assert (prepared.rows, prepared.tokens) == (1, 4)
    assert prepared.shape == b"4 tokens"
    assert prepared.tensors["input_ids"].tolist() == [[CLS, GOOD, FILM, SEP]]
    assert prepared.tensors["attention_mask"].tolist() == [[1, 1, 1, 1]]
    assert prepared.tensors["token_type_ids"].tolist() == [[0, 0, 0, 0]]
    assert {array.dtype for array in prepared.tensors.values()} == {np.dtype(np.int64)}


def test_only_the_inputs_of_the_graph_are_made(tmp_path: Path) -> None:
    bundle = write_tokenizer(tmp_path, "good")
    one_input = reader(inputs=reader().inputs[:1])
    assert list(task_of(one_input, bundle).preprocess("good").tensors) == ["input_ids"]


@pytest.mark.row(75)
@pytest.mark.parametrize("words", [MAX_TOKENS - 3, MAX_TOKENS - 2, MAX_TOKENS - 1, 20])
def test_a_text_longer_than_the_window_is_cut(task: Task, words: int) -> None:
    row = ids(task, " ".join(["good"] * words))
    assert len(row) == min(words + 2, MAX_TOKENS)
    assert row[-1] == SEP


def test_a_byte_order_mark_is_not_part_of_the_text(task: Task) -> None:
    assert ids(task, "\ufeffgood film") == ids(task, "good film")
    assert ids(task, "good\ufeff") == [CLS, UNK, SEP]


@pytest.mark.row(72)
@pytest.mark.parametrize("text", [" ", "\t\n ", "\u2003", "\ufeff", "\ufeff "])
def test_a_text_without_tokens_is_unprocessable(task: Task, text: str) -> None:
    with pytest.raises(EmptyText, match="no token"):
        task.preprocess(text)


@pytest.mark.row(72)
@pytest.mark.parametrize("text", ["\x01\x7f", "\u200b\u2060", "\u0301", "a\u0301"])
def test_what_a_tokenizer_drops_is_no_token(tmp_path: Path, text: str) -> None:
    """BERT's takes out control characters, and accents once they are apart."""
    bundle = write_tokenizer(tmp_path, "a")
    tokenizer = Tokenizer.from_file(str(bundle / TOKENIZER_FILE))
    tokenizer.normalizer = normalizers.BertNormalizer(strip_accents=True)
    tokenizer.save(str(bundle / TOKENIZER_FILE))
    task = task_of(reader(), bundle)
    if text.startswith("a"):
        assert ids(task, text) == [CLS, GOOD, SEP]
    else:
        with pytest.raises(EmptyText, match="no token"):
            task.preprocess(text)


@pytest.mark.row(50)
@pytest.mark.parametrize("text", ["\0", "good\0film"])
def test_a_nul_character_is_unprocessable(task: Task, text: str) -> None:
    with pytest.raises(Unprocessable, match="NUL"):
        task.preprocess(task.read_json(orjson.dumps({"text": text})))


def test_a_token_outside_the_vocabulary_is_unprocessable(tmp_path: Path) -> None:
    task = task_of(reader(vocab_size=FILM), write_tokenizer(tmp_path, "good", "film"))
    assert ids(task, "good") == [CLS, GOOD, SEP]
    with pytest.raises(Unprocessable, match="vocabulary"):
        task.preprocess("film")


def test_an_empty_text_is_unprocessable(task: Task) -> None:
    with pytest.raises(EmptyText):
        task.read_json(b'{"text": ""}')
    with pytest.raises(EmptyText, match="empty"):
        task.read_raw(b"", {})


@pytest.mark.row(73)
@pytest.mark.parametrize("character", ["a", "ä", "😀"])
def test_length_is_counted_in_characters(task: Task, character: str) -> None:
    longest = character * MAX_CHARS
    assert task.read_json(orjson.dumps({"text": longest})) == longest
    assert task.read_raw(longest.encode(), {}) == longest
    with pytest.raises(TooLarge):
        task.read_json(orjson.dumps({"text": longest + character}))
    with pytest.raises(TooLarge, match=f"more than {MAX_CHARS} characters"):
        task.read_raw((longest + character).encode(), {})


@pytest.mark.row(73)
def test_a_text_that_is_far_too_long_is_refused_unread(task: Task) -> None:
    """Nobody sees that it is no text at all."""
    for size in (MAX_CHARS * 4 + 1, 10**7):
        with pytest.raises(TooLarge):
            task.element(b"\xff" * size)
    body = b'{"text": "%b"}' % (b"\xff" * 10**7)
    begun_s = time.thread_time()
    with pytest.raises(TooLarge):
        task.read_json(body)
    assert time.thread_time() - begun_s < 0.005


@pytest.mark.row(50)
@pytest.mark.parametrize("body", [b'{"text": "\\ud800"}', b'{"text": "\\ud83d \\ude00"}'])
def test_half_a_character_is_malformed(task: Task, body: bytes) -> None:
    with pytest.raises(RequestError):
        task.read_json(body)


@pytest.mark.row(50)
@pytest.mark.parametrize("body", [b"\xff", b"\xed\xa0\x80", b"\xc0\xaf", "good".encode("utf-16")])
def test_a_raw_text_that_is_not_utf_8_is_malformed(task: Task, body: bytes) -> None:
    with pytest.raises(RequestError, match="not UTF-8"):
        task.read_raw(body, {})


def test_a_raw_text_has_no_options(task: Task) -> None:
    with pytest.raises(Unprocessable, match="no query"):
        task.read_raw(b"good", {"top_k": "1"})


def test_the_best_label_leads_and_every_score_is_told(task: Task) -> None:
    scores = {"scores": np.array([[0.25, 0.05, 0.7]], np.float32)}
    answer = task.postprocess(None, scores)
    assert answer == {
        "label": "owl",
        "score": 0.7,
        "scores": {"cat": 0.25, "dog": 0.05, "owl": 0.7},
    }


def test_an_answer_fits_its_own_schema(task: Task) -> None:
    answer = timed(task.postprocess(None, {"scores": np.array([[1, 0, 0]], np.float32)}))
    model = task.answer.model_validate_json(orjson.dumps(answer), strict=True)
    assert model.model_dump(mode="json") == answer
    assert list(answer["scores"]) == list(LABELS)


def test_a_score_that_is_no_number_fails_the_row(task: Task) -> None:
    with pytest.raises(RequestError, match="finite"):
        task.postprocess(None, {"scores": np.array([[0.5, math.nan, 0.5]], np.float32)})


def test_the_example_is_a_request_that_the_task_takes(task: Task) -> None:
    body = orjson.dumps(task.example())
    parse_json(task.request, body)
    assert task.preprocess(task.read_json(body)).tokens > 2


def test_texts_stay_on_the_event_loop() -> None:
    assert not TextTask.decodes_off_loop
    assert TextTask.media_types == ("text/plain",)


def test_a_missing_tokenizer_fails_the_bundle(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="the tokenizer does not load") as caught:
        task_of(reader(), tmp_path)
    assert caught.value.where == str(tmp_path / TOKENIZER_FILE)


@pytest.mark.parametrize("content", [b"", b"{}", b"\xff\0", b'{"model": 1}'])
def test_a_damaged_tokenizer_fails_the_bundle(tmp_path: Path, content: bytes) -> None:
    (tmp_path / TOKENIZER_FILE).write_bytes(content)
    with pytest.raises(BundleError, match="the tokenizer does not load"):
        task_of(reader(), tmp_path)


def test_a_text_task_needs_a_text_section(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"manifest\.text"):
        TextTask(tmp_path, detector(), LimitsSettings())
