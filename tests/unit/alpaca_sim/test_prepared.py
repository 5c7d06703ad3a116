"""Prepared frames."""

from __future__ import annotations

import json
from typing import Any

import msgpack
import pytest

from main.alpaca_sim.assets import AssetBook
from main.alpaca_sim.encoding import JSON, MSGPACK, Encoding
from main.alpaca_sim.messages import rfc3339
from main.alpaca_sim.prepared import Order, prepare, websocket_frame
from main.alpaca_sim.walk import Walk

START = 1_772_463_600_000_000_000


def walks(*symbols: str) -> list[Walk]:
    book = AssetBook.built_in()
    return [Walk(asset, 1) for symbol in symbols if (asset := book.find(symbol))]


def messages(data: bytes) -> list[dict[str, Any]]:
    found = []
    while data:
        first, length = data[0], data[1]
        head = 2
        if length == 126:
            length, head = int.from_bytes(data[2:4], "big"), 4
        elif length == 127:
            length, head = int.from_bytes(data[2:10], "big"), 10
        payload, data = data[head : head + length], data[head + length :]
        found += msgpack.unpackb(payload) if first == 0x82 else json.loads(payload)
    return found


@pytest.mark.parametrize("encoding", [JSON, MSGPACK], ids=lambda e: e.name)
@pytest.mark.parametrize("per_frame", [1, 7, 100])
def test_every_message_is_whole_in_turn_and_due_at_its_time(
    encoding: Encoding, per_frame: int
) -> None:
    order = Order(
        walks=walks("AAPL", "MSFT", "BTC/USD"),
        first_ids=[10, 20, 30],
        count=250,
        per_frame=per_frame,
        per_s=1_000.0,
        start_ns=START,
    )
    made = prepare(order, encoding)
    got = [message for chunk in made.chunks for message in messages(chunk.data)]
    assert len(got) == made.messages == sum(chunk.messages for chunk in made.chunks) == 250
    assert [m["S"] for m in got[:4]] == ["AAPL", "MSFT", "BTC/USD", "AAPL"]
    assert [m["i"] for m in got if m["S"] == "AAPL"] == list(range(10, 94))
    assert [(s.symbol, s.first_id, s.count) for s in made.series] == [
        ("AAPL", 10, 84),
        ("MSFT", 20, 83),
        ("BTC/USD", 30, 83),
    ]
    due = START + 3_000_000
    expected = rfc3339(due) if encoding is JSON else msgpack.Timestamp.from_unix_nano(due)
    assert got[3]["t"] == expected
    assert next(iter(got[0])) == "T"


def test_chunks_are_spread_over_the_time() -> None:
    order = Order(
        walks=walks("AAPL"), first_ids=[1], count=500, per_frame=10, per_s=5_000.0, start_ns=0
    )
    made = prepare(order, MSGPACK)
    assert [chunk.after_ns for chunk in made.chunks[:3]] == [0, 2_000_000, 4_000_000]


@pytest.mark.parametrize("length", [0, 125, 126, 65_535, 65_536])
def test_frames_of_every_length_have_the_right_header(length: int) -> None:
    frame = websocket_frame(b"\x90" + b"x" * length, binary=True)
    assert frame[0] == 0x82
    assert frame.endswith(b"x" * min(length, 8))
