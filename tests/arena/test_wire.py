"""The wire: records cut anywhere are whole again; control messages carry descriptors."""

from __future__ import annotations

import os
import socket
import struct
import threading
from collections.abc import Iterator
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from inferctl.arena.wire import (
    RECEIVE_BYTES,
    RECORD,
    Control,
    Record,
    RecordStream,
    Verdict,
    encode_records,
)

RECORDS = st.tuples(
    st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1), st.sampled_from(list(Verdict))
)


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    one, other = socket.socketpair()
    for end in (one, other):
        end.settimeout(10)
    with one, other:
        yield one, other


def test_a_record_is_eight_little_endian_bytes() -> None:
    assert encode_records([(1, 2, Verdict.FAILED)]) == b"\x01\0\0\0\x02\0\x02\0"


@given(records=st.lists(RECORDS, max_size=30), data=st.data())
def test_records_survive_any_splitting(records: list[Record], data: st.DataObject) -> None:
    stream, sent = RecordStream(), encode_records(records)
    cuts = data.draw(st.lists(st.integers(0, len(sent))))
    received: list[Record] = []
    for start, end in pairwise([0, *sorted(cuts), len(sent)]):
        received += stream.feed(sent[start:end])
        assert received == records[: end // RECORD.size]  # each one as soon as it is whole
    assert received == records


def test_a_number_that_does_not_fit_is_not_sent() -> None:
    with pytest.raises(struct.error):
        encode_records([(2**32, 0, 0)])


def test_messages_arrive_in_order(ends: tuple[socket.socket, socket.socket]) -> None:
    sender, receiver = map(Control, ends)
    for number in range(3):
        assert sender.send({"number": number})
    assert not receiver.pending
    assert receiver.receive() == {"number": 0}
    assert receiver.pending  # all three came in one read
    assert [receiver.receive(), receiver.receive()] == [{"number": 1}, {"number": 2}]
    assert not receiver.pending


def test_both_ends_talk(ends: tuple[socket.socket, socket.socket]) -> None:
    one, other = map(Control, ends)
    one.send({"text": "line\nbreak, “quotes”"})
    assert other.receive() == {"text": "line\nbreak, “quotes”"}
    other.send({})
    assert one.receive() == {}
    assert one.fileno() == ends[0].fileno()


def test_a_descriptor_arrives_as_the_receivers_own(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    sender, receiver = map(Control, ends)
    read, write = os.pipe()
    sender.send({"worker": 1}, write)
    os.close(write)
    message = receiver.receive()
    assert message is not None
    assert message["worker"] == 1
    os.write(message["fd"], b"through")
    os.close(message["fd"])
    assert os.read(read, 100) == b"through"
    os.close(read)


def test_each_descriptor_goes_with_its_own_message(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    sender, receiver = map(Control, ends)
    pipes = [os.pipe() for _ in range(3)]
    sender.send({"plain": True})
    for number, (_, write) in enumerate(pipes):
        sender.send({"pipe": number}, write)
        os.close(write)
        sender.send({"plain": True})
    messages = [receiver.receive() for _ in range(7)]
    assert [message == {"plain": True} for message in messages if message] == [
        True, False, True, False, True, False, True,
    ]  # fmt: skip
    for message in messages:
        if message and "fd" in message:
            os.write(message["fd"], b"%d" % message["pipe"])
            os.close(message["fd"])
    for number, (read, _) in enumerate(pipes):
        assert os.read(read, 100) == b"%d" % number
        os.close(read)


def test_a_message_larger_than_the_sockets_buffer_is_whole(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    sender, receiver = map(Control, ends)
    ends[0].setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    text = "x" * (3 * RECEIVE_BYTES)
    read, write = os.pipe()
    sending = threading.Thread(target=sender.send, args=({"text": text}, write))
    sending.start()
    message = receiver.receive()
    sending.join()
    assert message is not None
    assert message["text"] == text
    sender.send({"after": 1})
    assert receiver.receive() == {"after": 1}
    for descriptor in (read, write, message["fd"]):
        os.close(descriptor)


def test_a_message_cut_between_two_reads_is_whole(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    raw, receiver = ends[0], Control(ends[1])
    raw.sendall(b'{"has_fd": false, "n": 1}\n{"has_fd": fal')
    assert receiver.receive() == {"n": 1}
    raw.sendall(b'se, "n": 2}\n')
    assert receiver.receive() == {"n": 2}


def test_a_dead_peer_says_nothing_and_takes_nothing(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    control, peer = map(Control, ends)
    peer.close()
    assert control.receive() is None
    assert control.send({"anyone": "there"}) is False


def test_what_a_peer_said_before_it_died_is_still_heard(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    control, peer = map(Control, ends)
    peer.send({"last": "words"})
    peer.close()
    assert control.receive() == {"last": "words"}
    assert control.receive() is None


def test_a_peer_that_died_with_unread_messages_is_dead(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    """The kernel reports this as a reset, not as an end."""
    control, peer = map(Control, ends)
    control.send({"unread": 1})
    peer.close()
    assert control.receive() is None


def test_hanging_up_is_heard_as_death_and_the_other_side_is_still_heard(
    ends: tuple[socket.socket, socket.socket],
) -> None:
    one, other = map(Control, ends)
    one.hang_up()
    assert other.receive() is None
    assert other.send({"still": "here"})
    assert one.receive() == {"still": "here"}


def test_hanging_up_on_the_dead_is_nothing(ends: tuple[socket.socket, socket.socket]) -> None:
    one, other = map(Control, ends)
    other.close()
    one.hang_up()
    one.close()
    one.hang_up()


def test_an_answer_names_its_question(ends: tuple[socket.socket, socket.socket]) -> None:
    asked, asking = (Control(end) for end in ends)
    asked.answer(7)
    asked.answer(8, "no room")
    assert asking.receive() == {"event": "answer", "to": 7, "error": None}
    assert asking.receive() == {"event": "answer", "to": 8, "error": "no room"}
