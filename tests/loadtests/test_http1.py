"""Answers are read whatever pieces they come in."""

from __future__ import annotations

import itertools

import pytest
from http1 import Answer
from hypothesis import given
from hypothesis import strategies as st

USUAL = b"HTTP/1.1 200 OK\r\ncontent-type: a/b\r\ncontent-length: 5\r\nx: y\r\n\r\nhello"
CHUNKED = (
    b"HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4\r\nwiki\r\nA;x=1\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n"
)
ANSWERS = {
    USUAL: (200, 5, True),
    CHUNKED: (201, 14, True),
    b"HTTP/1.1 429 Too Many\r\nCONTENT-LENGTH:  2 \r\n\r\n{}": (429, 2, True),
    b"HTTP/1.1 204 No Content\r\n\r\n": (204, 0, True),
    b"HTTP/1.1 100 Continue\r\n\r\n" + USUAL: (200, 5, True),
    b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\nx": (200, 1, False),
    b"HTTP/1.0 200 OK\r\ncontent-length: 1\r\n\r\nx": (200, 1, False),
    b"HTTP/1.0 200 OK\r\nconnection: keep-alive\r\nContent-Length: 0\r\n\r\n": (200, 0, True),
}


@given(st.sampled_from(list(ANSWERS)), st.lists(st.integers(1, 200), max_size=8))
def test_answers_in_pieces(message: bytes, cuts: list[int]) -> None:
    """It is complete with the last piece, and not before."""
    edges = [0, *sorted({cut for cut in cuts if cut < len(message)}), len(message)]
    answer = Answer()
    complete = [answer.take(message[a:b]) for a, b in itertools.pairwise(edges)]
    assert complete == [False] * (len(complete) - 1) + [True]
    assert (answer.status, answer.body_bytes, answer.keep) == ANSWERS[message]


def test_an_answer_without_a_length_ends_with_the_connection() -> None:
    """It is not kept, and only the end of the connection completes it."""
    answer = Answer()
    assert not answer.take(b"HTTP/1.1 200 OK\r\n\r\nsome")
    assert not answer.take(b"thing")
    assert answer.ended()
    assert (answer.status, answer.keep) == (200, False)


def test_one_answer_says_nothing_of_the_next() -> None:
    """A connection's answers are read by the same object."""
    answer = Answer()
    for message, (status, body_bytes, keep) in ANSWERS.items():
        answer.expect()
        assert not answer.touched
        assert answer.take(message)
        assert (answer.status, answer.body_bytes, answer.keep) == (status, body_bytes, keep)
        assert not answer.ended()


@pytest.mark.parametrize(
    "message",
    [b"SSH-2.0-x\r\n\r\n", USUAL + b"!", b"HTTP/1.1 abc\r\n\r\n", CHUNKED[:60] + b"\r\nz\r\n"],
)
def test_what_is_no_answer(message: bytes) -> None:
    """Another protocol, more than was announced, no status, no length of a chunk."""
    with pytest.raises(ValueError, match=r"."):
        Answer().take(message)
