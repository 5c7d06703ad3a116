"""A guard: what one trade costs on its way from a frame to a packed batch, counted, not timed.

Counted are lines of Python and calls into C, so the figure is the same on every machine. Whoever
makes the path dearer by a quarter finds out here; whoever makes it cheaper lowers the figure.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable
from typing import Any

import msgspec
import pytest

from main.alpaca_broker.frame_buffer import FrameBuffer
from main.alpaca_broker.price_desk import PriceDesk
from main.alpaca_broker.translate import MarketTranslator
from main.utils.redis.batch import JournalBounds, Packer
from main.utils.redis.constants import BusNames

TICKERS = [f"T{number}" for number in range(10)]
MESSAGES = 1_000
TOLERATED = 1.25
# messages a frame -> (lines of Python, calls into C) for each message
KNOWN = {1: (100.4, 22.4), 10: (55.4, 11.6), 100: (50.9, 10.5)}


def _frames(first: int, per_frame: int) -> list[bytes]:
    def trade(number: int) -> dict[str, Any]:
        moment = struct.pack(">Q", (number * 1_000) << 34 | 1_790_000_000)
        return {
            "T": "t",
            "S": TICKERS[number % len(TICKERS)],
            "i": number,
            "x": "V",
            "p": 187.25,
            "s": 100,
            "c": ["@", "I"],
            "t": msgspec.msgpack.Ext(-1, moment),
            "z": "C",
        }

    numbers = range(first, first + MESSAGES)
    return [
        msgspec.msgpack.encode([trade(n) for n in numbers[start : start + per_frame]])
        for start in range(0, MESSAGES, per_frame)
    ]


class Road:
    """From the buffer to the bytes for Redis, as the price producer walks it."""

    def __init__(self) -> None:
        self._buffer = FrameBuffer(clock_ns=lambda: 1_790_000_000_000_000_000)
        self._desk = PriceDesk(MarketTranslator(), lambda _: False, lambda: 0.0)
        self._packer = Packer(BusNames(""), 1, JournalBounds())
        self._following = dict.fromkeys(TICKERS, frozenset({"trades"}))

    def walk(self, frames: list[bytes]) -> int:
        for frame in frames:
            self._buffer.put("iex", frame)
        packed = 0
        while items := self._buffer.take(0):
            messages = self._desk.take_in(items, self._following)
            packed += self._packer.pack(messages).messages
        return packed


def count_steps(act: Callable[[], object]) -> tuple[int, int]:
    """Lines of Python and calls into C of this thread."""
    lines = calls = 0

    def on_line(_frame: Any, event: str, _argument: Any) -> Any:
        nonlocal lines
        lines += event == "line"
        return on_line

    def on_call(_frame: Any, event: str, _argument: Any) -> None:
        nonlocal calls
        calls += event == "c_call"

    tracer, profiler = sys.gettrace(), sys.getprofile()
    sys.settrace(on_line)
    sys.setprofile(on_call)
    try:
        act()
    finally:
        sys.setprofile(profiler)
        sys.settrace(tracer)
    return lines, calls


@pytest.mark.parametrize("per_frame", KNOWN)
def test_a_trade_costs_no_more_steps_than_it_did(per_frame: int) -> None:
    road = Road()
    road.walk(_frames(0, per_frame))  # names, rules and the second's text are made once
    frames, packed = _frames(MESSAGES, per_frame), []

    lines, calls = count_steps(lambda: packed.append(road.walk(frames)))

    assert packed == [MESSAGES]
    found = lines / MESSAGES, calls / MESSAGES
    for kind, steps, known in zip(("lines", "calls"), found, KNOWN[per_frame], strict=True):
        assert steps <= known * TOLERATED, f"{steps:.1f} {kind} for each message, were {known}"
        assert steps >= known / TOLERATED, f"{steps:.1f} {kind}: cheaper than {known}; lower it"


def test_the_same_road_costs_the_same_steps_again() -> None:
    found = []
    for _ in range(2):
        road = Road()
        road.walk(_frames(0, 10))
        frames = _frames(MESSAGES, 10)
        found.append(count_steps(lambda road=road, frames=frames: road.walk(frames)))

    assert found[0] == found[1]
