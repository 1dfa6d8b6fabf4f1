"""What is no input is refused: with the right status, in few words, and beside others' answers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.e2e.service import Answer, Service
from tests.faults.accounting import accounted
from tests.faults.bad import ANIMALS, MOOD, SUMS, V1_SUMS, V2_SUMS
from tests.faults.inputs import IMAGE, MAX_CHARS, TEXT, Bad, bad_inputs, not_finite
from tests.faults.pictures import coloured

pytestmark = pytest.mark.e2e

LONGEST_BYTES = 512
# No address, no path, no name of a class; the media types that a model takes are none.
MEDIA_TYPES = re.compile(rb"\b(?:application|image|text)/[a-z]+")
LEAKS = re.compile(rb"0x[0-9a-f]|/|\b(?:[A-Z][a-z]+){2}|Error|Exception|PIL|SECRET|passwd")
COLOURS = {"red": "cat", "lime": "dog", "blue": "owl"}


def ask(service: Service, bad: Bad) -> Answer:
    return service.request(bad.path, bad.body, {"Content-Type": bad.kind})


@pytest.mark.row(47, 48, 49, 50, 52, 53, 55, 56, 57, 64, 65, 67, 71, 72, 73, 77, 81)
def test_every_bad_input_is_refused_in_few_words(every_task: Service) -> None:
    """With its own status, or 400 where the dialect has no other; nothing of it comes back."""
    with accounted(every_task) as seen:
        for bad in bad_inputs():
            answer = ask(every_task, bad)
            seen.answered[answer.status] += 1
            what = (bad.row, bad.name, bad.path, answer)
            assert answer.status in bad.statuses, what
            assert len(answer.body) <= LONGEST_BYTES, what
            assert not LEAKS.search(MEDIA_TYPES.sub(b"", answer.body)), what
            if bad.row == 72 and bad.path == MOOD:
                assert answer.json["code"] == "empty_text", what
    assert every_task.request("/readyz").status == 200


@pytest.mark.row(73)
def test_a_text_may_be_as_long_as_the_limit(every_task: Service) -> None:
    text = b"good " * (MAX_CHARS // 5)
    answer = every_task.request(MOOD, text.ljust(MAX_CHARS, b"a"), {"Content-Type": TEXT})
    assert (answer.status, answer.json["label"]) == (200, "good")


@pytest.mark.row(75)
@pytest.mark.parametrize("words", [5, 6, 7, 500])
def test_a_text_longer_than_the_window_is_cut(every_task: Service, words: int) -> None:
    """Of 8 tokens 2 are the model's own; what is cut says nothing any more."""
    text = " ".join(["day"] * (words - 1) + ["good"])
    answer = every_task.post_json(MOOD, {"text": text})
    assert answer.status == 200
    assert (answer.json["scores"]["good"] > 0.5) is (words <= 6)


@pytest.mark.row(79)
def test_numbers_that_are_none_do_not_come_in(every_task: Service) -> None:
    body = not_finite()
    length = str(len(body) - 16)
    answer = every_task.request(V2_SUMS, body, {"Inference-Header-Content-Length": length})
    assert answer.status == 400
    assert answer.json == {"error": "input: row 0 holds a number that is not finite"}


@pytest.mark.row(79)
def test_outputs_that_are_no_numbers_are_their_row_s_alone(every_task: Service) -> None:
    """The sum of the largest numbers is infinite."""
    rows: list[Any] = [[3e38] * 4, *([number] * 4 for number in range(7))]

    def sums(row: Sequence[float]) -> Answer:
        return every_task.post_json(SUMS, {"inputs": row})

    with ThreadPoolExecutor(8) as clients:
        for infinite, *finite in [list(clients.map(sums, rows)) for _ in range(5)]:
            assert (infinite.status, infinite.json["code"]) == (500, "non_finite_output")
            assert b"NaN" not in infinite.body
            assert [one.json["outputs"]["logits"][0] for one in finite] == [
                4.0 * n for n in range(7)
            ]
    plain = every_task.post_json(V1_SUMS, {"instances": rows})
    assert (plain.status, list(plain.json)) == (500, ["error"])


@pytest.mark.row(57, 64, 65, 67)
def test_good_images_beside_bad_ones_are_answered_as_alone(every_task: Service) -> None:
    """Seven good ones with each of the bad, at the same moment."""
    images = [bad for bad in bad_inputs() if bad.kind == IMAGE and len(bad.body) < 10**6]
    good = [
        Bad(0, label, ANIMALS, coloured(colour, kind), IMAGE, (200,))
        for colour, label in COLOURS.items()
        for kind in ("PNG", "JPEG", "WEBP")
    ][:7]
    alone = [ask(every_task, one).json["predictions"] for one in good]

    with ThreadPoolExecutor(8) as clients:
        for bad in images:
            refused, *answers = clients.map(lambda one: ask(every_task, one), [bad, *good])
            assert refused.status in bad.statuses
            assert [answer.json["predictions"] for answer in answers] == alone


@pytest.mark.row(64)
def test_bytes_behind_an_image_do_no_harm(every_task: Service) -> None:
    for kind in ("PNG", "JPEG", "WEBP"):
        body = coloured("red", kind) + b"junk" * 256
        answer = every_task.request(ANIMALS, body, {"Content-Type": IMAGE})
        assert (answer.status, answer.json["label"]) == (200, "cat")
