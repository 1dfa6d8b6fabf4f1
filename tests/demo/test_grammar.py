"""The grammar keeps its test structures out of training and its labels right."""

import random

from inferctl.demo import frames
from inferctl.demo.grammar import (
    HAND_WRITTEN,
    Structure,
    draw_structure,
    render,
    sentences,
    split_of,
)


def test_the_splits_share_no_structure() -> None:
    """Thousands of draws from both splits have nothing in common."""
    rng = random.Random(1)
    train = {draw_structure(rng, "train") for _ in range(4000)}
    test = {draw_structure(rng, "test") for _ in range(4000)}
    assert not train & test


def test_a_test_only_frame_never_trains() -> None:
    """Whatever it is combined with, such a structure belongs to the test split."""
    assert all(split_of(Structure(frames.BARE, (frame,))) == "test" for frame in frames.TEST_ONLY)


def test_every_other_frame_is_trained_on_its_own() -> None:
    """Held-out combinations are of known parts."""
    known = frames.ASSERTED + frames.NEGATED + frames.FRAGMENTS
    assert all(split_of(Structure(frames.BARE, (frame,))) == "train" for frame in known)


def test_the_same_seed_gives_the_same_sentences() -> None:
    """A series depends on nothing but its generator."""
    assert sentences(random.Random(5), 20, "test") == sentences(random.Random(5), 20, "test")


def test_both_labels_are_about_as_frequent() -> None:
    """Guessing one label gets half of the sentences."""
    labels = [label for _, label in sentences(random.Random(2), 1000, "train")]
    assert 0.45 < labels.count("positive") / 1000 < 0.55


def test_negation_uses_a_word_of_the_other_polarity() -> None:
    """A positive "was not" takes a negative noun."""
    structure = Structure(frames.BARE, ("<the> <thing> was not a <verdict~>",))
    texts = {render(random.Random(seed), structure, "positive") for seed in range(40)}
    assert any("disaster" in text for text in texts)
    assert not any("masterpiece" in text for text in texts)


def test_no_slot_is_left_unfilled() -> None:
    """Nothing of the notation reaches a sentence."""
    drawn = sentences(random.Random(3), 2000, "train") + sentences(random.Random(3), 2000, "test")
    assert not any(set("<>{}~_") & set(text) for text, _ in drawn)


def test_hand_written_sentences_are_not_repeated() -> None:
    """Thirty different sentences with both labels."""
    assert len({text for text, _ in HAND_WRITTEN}) == 30
    assert {label for _, label in HAND_WRITTEN} == {"positive", "negative"}
