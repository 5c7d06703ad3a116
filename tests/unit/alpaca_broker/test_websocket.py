"""What a server sends, parted: whole messages for us, the rest for the library."""

from __future__ import annotations

import threading
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode

from main.alpaca_broker.websocket import Inbox, Message, MessageSplitter
from tests.conftest import wait_for

HEAD = b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\n\r\n"
LONGEST = 70_000


def frame(kind: Opcode, payload: bytes, *, fin: bool = True) -> bytes:
    """As the library itself writes it, for a server."""
    return Frame(kind, payload, fin=fin).serialize(mask=False)


def split(chunks: list[bytes]) -> tuple[list[Message], bytes]:
    splitter = MessageSplitter(LONGEST)
    messages: list[Message] = []
    rest = b""
    for chunk in chunks:
        found, left = splitter.split(chunk)
        messages += found
        rest += left
    return messages, rest


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    edges = [0, *sorted({at % len(data) for at in cuts} - {0}), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


payloads = st.one_of(
    st.binary(max_size=200), st.sampled_from([126, 65_535, 65_536]).map(lambda size: b"x" * size)
)
elements = st.one_of(
    st.tuples(st.just("binary"), payloads),
    st.tuples(st.just("text"), st.text(max_size=50)),
    st.tuples(st.just("ping"), st.binary(max_size=20)),
    st.tuples(st.just("fragments"), st.lists(st.binary(max_size=30), min_size=2, max_size=4)),
)


@given(st.lists(elements, max_size=6), st.lists(st.integers(0, 300_000), max_size=8))
def test_however_it_is_cut_every_message_comes_once_and_the_rest_is_the_librarys(
    sent: list[tuple[str, object]], cuts: list[int]
) -> None:
    stream, wanted, others = HEAD, list[Message](), HEAD
    for kind, content in sent:
        match kind, content:
            case "binary", bytes(payload):
                stream += frame(Opcode.BINARY, payload)
                wanted.append(payload)
            case "text", str(text):
                stream += frame(Opcode.TEXT, text.encode())
                wanted.append(text)
            case "ping", bytes(payload):
                stream += frame(Opcode.PING, payload)
                others += frame(Opcode.PING, payload)
            case "fragments", list(parts):
                stream += frame(Opcode.BINARY, parts[0], fin=False)
                stream += frame(Opcode.PING, b"between")
                others += frame(Opcode.PING, b"between")
                for part in parts[1:-1]:
                    stream += frame(Opcode.CONT, part, fin=False)
                stream += frame(Opcode.CONT, parts[-1])
                wanted.append(b"".join(parts))
    assert split(cut(stream, cuts)) == (wanted, others)


@pytest.mark.parametrize(
    "refused",
    [
        frame(Opcode.BINARY, b"x" * (LONGEST + 1)),
        Frame(Opcode.BINARY, b"masked").serialize(mask=True),
        frame(Opcode.CLOSE, b"\x03\xe8"),
        b"\xc2\x03abc",  # compressed
        b"\x83\x03abc",  # no such opcode
    ],
    ids=["too long", "masked", "close", "compressed", "unknown"],
)
def test_what_the_library_has_to_judge_it_gets_as_it_came(refused: bytes) -> None:
    before = frame(Opcode.BINARY, b"before")
    assert split([HEAD, before + refused]) == ([b"before"], HEAD + refused)


def test_an_answer_that_opens_nothing_is_the_librarys() -> None:
    refusal = b"HTTP/1.1 429 Too Many Requests\r\nContent-Length: 3\r\n\r\n"
    assert split([refusal, b"\x82\x01a"]) == ([], refusal + b"\x82\x01a")


def test_fragments_have_the_bound_of_a_message() -> None:
    part = frame(Opcode.CONT, b"x" * (LONGEST // 2), fin=False)
    with pytest.raises(ValueError, match="more than"):
        split([HEAD, frame(Opcode.BINARY, b"x", fin=False), part, part])


@pytest.mark.parametrize(
    "frames",
    [
        [frame(Opcode.CONT, b"x")],
        [frame(Opcode.CONT, b"x", fin=False)],
        [frame(Opcode.BINARY, b"x", fin=False), frame(Opcode.BINARY, b"y")],
        [frame(Opcode.BINARY, b"x", fin=False), frame(Opcode.TEXT, b"y")],
        [frame(Opcode.TEXT, b"", fin=False), frame(Opcode.TEXT, b"y", fin=False)],
        [
            frame(Opcode.BINARY, b"x", fin=False),
            frame(Opcode.CONT, b"y"),
            frame(Opcode.CONT, b"z"),
        ],
    ],
    ids=["last of none", "more of none", "whole", "whole text", "begun again", "after its end"],
)
def test_fragments_in_an_order_that_is_none_are_refused(frames: list[bytes]) -> None:
    with pytest.raises(ValueError, match="fragment"):
        split([HEAD, *frames])


def test_empty_fragments_take_no_room() -> None:
    splitter = MessageSplitter(LONGEST)
    splitter.split(HEAD + frame(Opcode.TEXT, b"", fin=False))
    empty = frame(Opcode.CONT, b"", fin=False) * 1_000
    splitter.split(empty)
    tracemalloc.start()
    for _ in range(20):
        splitter.split(empty)
    grown, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert grown < 10_000
    assert splitter.split(frame(Opcode.CONT, b"end")) == (["end"], b"")


def test_a_message_in_fragments_may_be_as_long_as_any() -> None:
    half = b"x" * (LONGEST // 2)
    whole = [frame(Opcode.BINARY, half, fin=False), frame(Opcode.CONT, half)]
    assert split([HEAD, *whole, *whole]) == ([half * 2] * 2, HEAD)


def test_a_large_message_in_many_reads_is_joined_once() -> None:
    payload = bytes(range(256)) * 250
    data = HEAD + frame(Opcode.BINARY, payload)
    assert split([data[at : at + 100] for at in range(0, len(data), 100)]) == ([payload], HEAD)


def test_the_shortcut_is_closed_while_anything_waits() -> None:
    taken: list[Message] = []

    def take_data(messages: list[Message]) -> bool:
        if b"control" in messages:
            return False
        taken.extend(messages)
        return True

    inbox = Inbox(take_data)
    inbox.put([b"1"])
    inbox.put([b"2", b"control"])
    inbox.put([b"3"])
    assert taken == [b"1"]
    for expected in (b"2", b"control", b"3"):
        assert inbox.first(0) == expected
        inbox.put([b"later"])
        assert taken == [b"1"], "what is being read still waits"
        inbox.drop_first()
    for _ in range(3):
        assert inbox.first(0) == b"later"
        inbox.drop_first()
    inbox.put([b"4"])
    assert taken == [b"1", b"4"]


def test_a_reader_waits_for_a_message_and_learns_of_the_end() -> None:
    inbox, read = Inbox(lambda _: False), list[Message | None]()
    with pytest.raises(TimeoutError):
        inbox.first(0)

    def read_all() -> None:
        while (message := inbox.first(10)) is not None:
            read.append(message)
            inbox.drop_first()
        read.append(None)

    reader = threading.Thread(target=read_all)
    reader.start()
    inbox.put([b"1", "2"])
    wait_for(lambda: len(read) == 2)
    inbox.end()
    reader.join(10)
    assert read == [b"1", "2", None]
