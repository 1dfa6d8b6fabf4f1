"""The batches that a graph is verified on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from inferctl.errors import CheckpointError
from inferctl.export import ExportResult
from inferctl.export.samples import example, samples

Published = dict[str, ExportResult]


def test_pictures_vary_and_repeat_between_runs(published: Published) -> None:
    loaded = published["image-detection"].loaded
    first, again = list(samples(loaded)), list(samples(loaded))
    assert [sample.rows for sample in first] == [1, 2, 5]
    for left, right in zip(first, again, strict=True):
        np.testing.assert_array_equal(left.feeds["image"], right.feeds["image"])
    assert len({row.tobytes() for row in first[-1].feeds["image"]}) == 5
    assert example(loaded)["image"].dtype == np.uint8


def test_texts_have_several_lengths_the_longest_and_padding(published: Published) -> None:
    loaded = published["text-classification"].loaded
    assert loaded.text is not None
    found = list(samples(loaded))
    assert {sample.tokens for sample in found} == {7, 33, 40}
    for sample in found:
        ids, mask = sample.feeds["input_ids"], sample.feeds["attention_mask"]
        assert (mask.sum(axis=1) >= 1).all()
        assert (ids[mask == 0] == loaded.text.pad_id).all()
        assert int(ids.max()) < loaded.text.vocab_size
    assert any((sample.feeds["attention_mask"] == 0).any() for sample in found)


def test_the_shortest_texts_have_one_length(published: Published) -> None:
    loaded = published["text-classification"].loaded
    assert loaded.text is not None
    short = replace(loaded, text=loaded.text.model_copy(update={"max_tokens": 2}))
    assert {sample.tokens for sample in samples(short)} == {2}


def test_a_text_model_without_its_tokenizer_is_refused(published: Published) -> None:
    loaded = replace(published["text-classification"].loaded, tokenizer=None)
    with pytest.raises(CheckpointError, match="needs its tokenizer"):
        list(samples(loaded))
