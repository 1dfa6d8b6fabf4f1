"""The batches that a graph is verified on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inferctl.errors import CheckpointError
from inferctl.export import ExportResult
from inferctl.export.samples import MORE_ROWS, example, more_samples, samples, timed_feeds

Published = dict[str, ExportResult]


def test_pictures_vary_and_repeat_between_runs(published: Published) -> None:
    loaded = published["image-detection"].loaded
    first, again = list(samples(loaded)), list(samples(loaded))
    assert [sample.rows for sample in first] == [1, 2, 5, 2]
    for left, right in zip(first, again, strict=True):
        np.testing.assert_array_equal(left.feeds["image"], right.feeds["image"])
    assert len({row.tobytes() for row in first[2].feeds["image"]}) == 5
    assert example(loaded)["image"].dtype == np.uint8


def test_texts_have_several_lengths_the_longest_and_padding(published: Published) -> None:
    loaded = published["text-classification"].loaded
    assert loaded.text is not None
    found = list(samples(loaded))
    assert {sample.tokens for sample in found} == {1, 7, 33, 40}
    for sample in found:
        ids, mask = sample.feeds["input_ids"], sample.feeds["attention_mask"]
        assert (mask.sum(axis=1)[: sample.defined_rows] >= 1).all()
        assert (ids[mask == 0] == loaded.text.pad_id).all()
        assert int(ids.max()) < loaded.text.vocab_size
    assert any((sample.feeds["attention_mask"] == 0).any() for sample in found)


def test_the_shortest_texts_have_one_length(published: Published) -> None:
    loaded = published["text-classification"].loaded
    assert loaded.text is not None
    short = replace(loaded, text=loaded.text.model_copy(update={"max_tokens": 2}))
    assert {sample.tokens for sample in samples(short)} == {1, 2}


def test_pictures_end_with_a_black_and_a_white_one(published: Published) -> None:
    edge = list(samples(published["image-detection"].loaded))[-1].feeds["image"]
    assert [set(np.unique(picture)) for picture in edge] == [{0}, {255}]


def test_texts_end_with_the_shortest_the_longest_and_an_empty_one(published: Published) -> None:
    shortest, longest, empty = list(samples(published["text-classification"].loaded))[-3:]
    assert shortest.feeds["attention_mask"].shape == (1, 1)
    assert longest.feeds["attention_mask"].sum() == 40
    assert empty.feeds["attention_mask"].sum(axis=1)[1] == 0
    assert (empty.rows, empty.defined_rows) == (2, 1)


@pytest.mark.parametrize("task", ["image-classification", "text-classification"])
def test_more_rows_are_others_for_another_seed(published: Published, task: str) -> None:
    loaded = published[task].loaded
    first, again, other = (list(more_samples(loaded, seed)) for seed in (1, 1, 2))
    assert sum(sample.rows for sample in first) == MORE_ROWS
    for left, same, right in zip(first, again, other, strict=True):
        name = next(iter(left.feeds))
        np.testing.assert_array_equal(left.feeds[name], same.feeds[name])
        assert not np.array_equal(left.feeds[name], right.feeds[name])


def test_timed_texts_are_not_padded(published: Published) -> None:
    feeds = timed_feeds(published["text-classification"].loaded, 8)
    assert feeds["attention_mask"].shape == (8, 40)
    assert feeds["attention_mask"].all()
    assert timed_feeds(published["image-detection"].loaded, 8)["image"].shape == (8, 16, 16, 3)


def test_a_text_model_without_its_tokenizer_is_refused(published: Published) -> None:
    loaded = replace(published["text-classification"].loaded, tokenizer=None)
    with pytest.raises(CheckpointError, match="needs its tokenizer"):
        list(samples(loaded))
