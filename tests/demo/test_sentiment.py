"""The committed sentiment model loads offline and is right about held-out structures."""

import json
import random
from pathlib import Path

import pytest
from tokenizers import Tokenizer
from transformers import BertForSequenceClassification

from inferctl.demo.evaluate import HELD_OUT_SEED, accuracy
from inferctl.demo.grammar import sentences
from inferctl.demo.samples import NEGATIVE, POSITIVE
from inferctl.demo.sentiment import PADDING_ID, SPECIAL_TOKENS, classify, load_sentiment, pad
from inferctl.demo.train_sentiment import save, train
from inferctl.demo.weights import SENTIMENT_DIRECTORY

Loaded = tuple[BertForSequenceClassification, Tokenizer]


@pytest.fixture(scope="module")
def loaded() -> Loaded:
    """Load once: every test only reads."""
    return load_sentiment()


def test_committed_weights_are_small() -> None:
    """The file stays small enough to commit."""
    assert (SENTIMENT_DIRECTORY / "model.safetensors").stat().st_size < 2_000_000


def test_every_weight_comes_from_the_checkpoint() -> None:
    """No tensor is missing, left over or of another size."""
    _, report = BertForSequenceClassification.from_pretrained(
        SENTIMENT_DIRECTORY, local_files_only=True, output_loading_info=True
    )
    assert not any(report.values())


def test_the_configuration_names_the_labels() -> None:
    """A server reads the label names from the directory alone."""
    config = json.loads((SENTIMENT_DIRECTORY / "config.json").read_text(encoding="utf-8"))
    assert config["id2label"] == {"0": "negative", "1": "positive"}
    assert config["architectures"] == ["BertForSequenceClassification"]


def test_the_tokenizer_is_plain_and_adds_start_and_end(loaded: Loaded) -> None:
    """Cutting and padding are the caller's business."""
    _, tokenizer = loaded
    assert tokenizer.truncation is None
    assert tokenizer.padding is None
    assert [tokenizer.token_to_id(token) for token in SPECIAL_TOKENS] == [0, 1, 2, 3]
    tokens = tokenizer.encode("The FILM was good.").tokens
    assert (tokens[0], tokens[-1]) == ("[CLS]", "[SEP]")
    assert tokenizer.encode("the film was good.").tokens == tokens


def test_padding_is_masked() -> None:
    """The mask is 1 where there is a token."""
    ids, mask = pad([[2, 9, 3], [2, 3]])
    assert ids.tolist() == [[2, 9, 3], [2, 3, PADDING_ID]]
    assert mask.tolist() == [[1, 1, 1], [1, 1, 0]]


def test_held_out_structures_get_their_labels(loaded: Loaded) -> None:
    """Random weights get about half of them."""
    texts, labels = zip(*sentences(random.Random(HELD_OUT_SEED), 300, "test"), strict=True)
    assert accuracy(classify(*loaded, list(texts)), labels) >= 0.85


def test_the_two_sample_sentences_get_their_labels(loaded: Loaded) -> None:
    """The demo opens with these."""
    assert classify(*loaded, [POSITIVE, NEGATIVE]) == ["positive", "negative"]


def test_a_trained_classifier_can_be_saved_and_loaded(tmp_path: Path) -> None:
    """A short run leaves a directory that answers the same, beside an untouched card."""
    card = tmp_path / "model" / "README.md"
    card.parent.mkdir()
    card.write_text("a card", encoding="utf-8")
    model, tokenizer = train(steps=3, count=600)
    save(model, tokenizer, card.parent)
    texts = [POSITIVE, NEGATIVE]
    assert classify(*load_sentiment(card.parent), texts) == classify(model, tokenizer, texts)
    assert card.read_text(encoding="utf-8") == "a card"
    assert [folder.name for folder in tmp_path.iterdir()] == ["model"]
