"""What waits between a connection and the producer: in order, bounded, and told when it folds."""

from __future__ import annotations

import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from main.alpaca_broker.frame_buffer import Break, Folded, Frame, FrameBuffer, Item
from main.utils.redis.publisher import MAX_BATCH_MESSAGES
from tests.conftest import wait_for
from tests.unit.alpaca_broker.wire import packed, trade


class Clock:
    def __init__(self) -> None:
        self.now_ns = 1_000_000_000

    def __call__(self) -> int:
        return self.now_ns


def ids(items: list[Item]) -> list[bytes | str]:
    return [item.payload for item in items if isinstance(item, Frame)]


def folded(items: list[Item]) -> Folded:
    (found,) = [item for item in items if isinstance(item, Folded)]
    return found


def test_frames_of_all_connections_come_out_in_the_order_of_arrival() -> None:
    buffer = FrameBuffer()
    buffer.put("iex", b"1")
    buffer.put("crypto", "2")
    buffer.put("iex", b"3")
    items = buffer.take(0)
    assert ids(items) == [b"1", "2", b"3"]
    assert [item.feed for item in items if isinstance(item, Frame)] == ["iex", "crypto", "iex"]
    assert buffer.take(0) == []


def test_a_break_keeps_its_place_among_the_frames() -> None:
    buffer = FrameBuffer()
    pause = Break(symbols=("AAPL",), from_ns=1, to_ns=2)
    buffer.put("iex", b"1")
    buffer.put_note(pause)
    buffer.put("iex", b"2")
    assert buffer.take(0)[1] is pause


def test_a_frame_knows_when_it_came() -> None:
    clock = Clock()
    buffer = FrameBuffer(clock_ns=clock)
    buffer.put("iex", b"1")
    (frame,) = buffer.take(0)
    assert isinstance(frame, Frame)
    assert abs(frame.received_ns - clock.now_ns) < 1_000_000_000


@pytest.mark.parametrize("step_s", [3_600, -3_600])
def test_a_clock_that_is_set_while_frames_wait_neither_folds_nor_keeps_them(step_s: int) -> None:
    wall, steady = Clock(), Clock()
    wall.now_ns = 1_795_000_000_000_000_000
    buffer = FrameBuffer(max_age_s=30.0, clock_ns=wall, steady_ns=steady)
    buffer.put("iex", packed(trade(i=1)))
    wall.now_ns += step_s * 1_000_000_000
    steady.now_ns += 30_000_000_000
    buffer.put("iex", packed(trade(i=2)))
    assert buffer.waiting()[1] == 30.0
    steady.now_ns += 1
    buffer.put("iex", packed(trade(i=3)))
    assert folded(buffer.take(0)).lost == {"AAPL": 2}
    buffer.put("iex", packed(trade(i=4)))
    (frame,) = buffer.take(0)
    assert isinstance(frame, Frame)
    assert frame.received_ns == wall.now_ns, "from the next one on the new time holds"


def test_over_its_bytes_it_keeps_the_last_trade_of_each_ticker_and_counts_the_rest() -> None:
    frame = packed(trade(S="AAPL", i=0))
    buffer = FrameBuffer(max_bytes=len(frame) * 9)
    for number in range(10):
        buffer.put("iex", packed(trade(S="AAPL" if number % 2 else "MSFT", i=number)))
    found = folded(buffer.take(0))
    assert {(m.S, m.i) for m in found.kept} == {("MSFT", 8), ("AAPL", 9)}  # type: ignore[union-attr]
    assert found.lost == {"AAPL": 4, "MSFT": 4}
    assert buffer.counters.folded_messages == 8
    assert buffer.waiting()[0] == 0


def test_what_was_folded_waits_since_its_first_message_and_a_note_reaches_further_back() -> None:
    clock = Clock()
    buffer = FrameBuffer(max_bytes=1, clock_ns=clock, steady_ns=clock)
    assert (buffer.waiting()[1], buffer.behind_s()) == (0.0, 0.0)
    buffer.put("iex", packed(trade(i=1)))
    clock.now_ns += 2_000_000_000
    buffer.put("iex", packed(trade(i=2)))
    clock.now_ns += 1_000_000_000
    assert (buffer.waiting()[1], buffer.behind_s()) == (3.0, 3.0)
    buffer.put_note(Break(symbols=("AAPL",), from_ns=clock.now_ns - 10**10, to_ns=clock.now_ns))
    assert (buffer.waiting()[1], buffer.behind_s()) == (3.0, 10.0)


@pytest.mark.parametrize("per_frame", [1, 10, 100])
def test_of_many_trades_it_gives_as_many_as_are_one_batch_for_redis(per_frame: int) -> None:
    """One message more, and the producer waits in the middle for what Redis does of the rest."""
    buffer, frame = FrameBuffer(), packed(*[trade()] * per_frame)
    for _ in range(3_000 // per_frame):
        buffer.put("sip", frame)
    taken = len(buffer.take(0)) * per_frame
    assert MAX_BATCH_MESSAGES / 4 < taken <= MAX_BATCH_MESSAGES


def test_at_its_bound_nothing_is_folded() -> None:
    frame = packed(trade())
    buffer = FrameBuffer(max_bytes=len(frame) * 10)
    for _ in range(10):
        buffer.put("iex", frame)
    assert len(ids(buffer.take(0))) == 10


def test_what_waited_too_long_is_folded_too() -> None:
    clock = Clock()
    buffer = FrameBuffer(max_age_s=30.0, clock_ns=clock, steady_ns=clock)
    buffer.put("iex", packed(trade(i=1)))
    clock.now_ns += 30_000_000_000
    buffer.put("iex", packed(trade(i=2)))
    assert buffer.waiting() == (2 * len(packed(trade(i=1))), 30.0)
    clock.now_ns += 1
    buffer.put("iex", packed(trade(i=3)))
    found = folded(buffer.take(0))
    assert (found.lost, found.from_ns, found.to_ns) == (
        {"AAPL": 2},
        1_000_000_000,
        31_000_000_001,
    )


def test_a_fold_keeps_the_last_of_each_kind_and_every_break() -> None:
    """A halt and a bar are no trades: they are neither lost with them, nor kept without end."""
    codes = ("H", "T")
    statuses = [{"T": "s", "S": "AAPL", "sc": c, "t": "2026-11-21T16:00:05Z"} for c in codes]
    prices = {"o": 1, "h": 1, "l": 1, "c": 1, "v": 1}
    bars = [{"T": "b", "S": "AAPL", "t": f"2026-11-21T16:0{n}:00Z", **prices} for n in range(3)]
    buffer = FrameBuffer(max_bytes=100)
    pause = Break(symbols=("AAPL",), from_ns=1, to_ns=2)
    buffer.put("iex", packed(*statuses, *bars))
    buffer.put_note(pause)
    buffer.put("iex", packed(trade(i=1), {"T": "?"}, trade(i=2)))
    items = buffer.take(0)
    assert pause in items
    parts = [item for item in items if isinstance(item, Folded)]
    kept = [message for part in parts for message in part.kept]
    assert [type(m).__name__ for m in kept] == ["TradingStatus", "MinuteBar", "Trade"]
    assert kept[0].sc == "T"  # type: ignore[union-attr]
    whole = [(part.lost, part.lost_bars, part.malformed) for part in parts]
    assert whole == [({"AAPL": 1}, {"AAPL": 2}, 0), ({"AAPL": 1}, {}, 1)]
    assert parts[0].tickers == {"AAPL"}


def test_each_feed_folds_for_itself() -> None:
    buffer = FrameBuffer(max_bytes=1)
    buffer.max_bytes = 10_000
    buffer.put("iex", packed(trade(i=1)))
    buffer.put("crypto", packed(trade(S="BTC/USD", i=2)))
    buffer.max_bytes = 1
    buffer.put("iex", packed(trade(i=3)))
    found = [item for item in buffer.take(0) if isinstance(item, Folded)]
    assert [(f.feed, f.lost) for f in found] == [("iex", {"AAPL": 1}), ("crypto", {})]


@given(st.lists(st.tuples(st.sampled_from(["A", "B", "C"]), st.integers(1, 5)), min_size=1))
def test_folding_loses_nothing_without_counting_it(frames: list[tuple[str, int]]) -> None:
    buffer = FrameBuffer(max_bytes=200)
    sent: dict[str, int] = {}
    for symbol, count in frames:
        buffer.put("iex", packed(*[trade(S=symbol)] * count))
        sent[symbol] = sent.get(symbol, 0) + count
    told: dict[str, int] = {}
    for item in buffer.take(0):
        kept = [trade(S="?")] if isinstance(item, Break) else []
        assert not kept
        if isinstance(item, Folded):
            for message in item.kept:
                told[message.S] = told.get(message.S, 0) + 1
            for symbol, lost in item.lost.items():
                told[symbol] = told.get(symbol, 0) + lost
        elif isinstance(item, Frame):
            assert isinstance(item.payload, bytes)
            for symbol in sent:
                marker = b"\xa1S" + bytes([0xA0 + len(symbol)]) + symbol.encode()
                told[symbol] = told.get(symbol, 0) + item.payload.count(marker)
    assert {symbol: n for symbol, n in told.items() if n} == sent


# -- waking


@pytest.mark.parametrize("how", ["wake", "put", "put_note"])
def test_who_waits_is_woken(how: str) -> None:
    buffer = FrameBuffer()
    taken: list[list[Item]] = []
    taker = threading.Thread(target=lambda: taken.append(buffer.take(30)))
    taker.start()
    wait_for(lambda: buffer._asleep, what="the taker waits")
    began = time.monotonic()
    if how == "wake":
        buffer.wake()
    elif how == "put":
        buffer.put("iex", b"1")
    else:
        buffer.put_note(Break(symbols=(), from_ns=0, to_ns=0))
    taker.join(5)
    assert len(taken) == 1
    assert time.monotonic() - began < 5, "it slept through the call"


def test_a_wake_up_before_the_wait_is_not_lost() -> None:
    """Otherwise a stop that comes between two takes would last until the next frame."""
    buffer = FrameBuffer()
    buffer.wake()
    began = time.monotonic()
    assert buffer.take(30) == []
    assert time.monotonic() - began < 5
    began = time.monotonic()
    assert buffer.take(0.05) == []
    assert time.monotonic() - began >= 0.04, "one wake-up wakes once"


def test_between_many_putters_and_one_taker_nothing_is_lost_or_swapped() -> None:
    buffer = FrameBuffer()
    putters = [
        threading.Thread(
            target=lambda name=name: [buffer.put(name, f"{number}") for number in range(2_000)]
        )
        for name in ("a", "b")
    ]
    for putter in putters:
        putter.start()
    got: dict[str, list[int]] = {"a": [], "b": []}
    deadline = time.monotonic() + 20
    while sum(map(len, got.values())) < 4_000 and time.monotonic() < deadline:
        for item in buffer.take(0.5):
            assert isinstance(item, Frame)
            got[item.feed].append(int(item.payload))
    for putter in putters:
        putter.join(5)
    assert got == {"a": list(range(2_000)), "b": list(range(2_000))}


def test_two_folds_of_one_outage_are_one_item_that_counts_both() -> None:
    clock = [0]
    buffer = FrameBuffer(max_bytes=1, clock_ns=lambda: clock[0], steady_ns=lambda: clock[0])
    for number in range(6):
        clock[0] += 1
        buffer.put("iex", packed(trade(S="AAPL", i=number), trade(S="MSFT", i=number)))
    (folded,) = buffer.take(0)
    assert isinstance(folded, Folded)
    assert folded.lost == {"AAPL": 5, "MSFT": 5}
    assert (folded.from_ns, folded.to_ns) == (1, 6)
    assert len(folded.kept) == 2
    assert buffer.counters.folded_messages == 10


def test_two_feeds_that_fold_in_turns_stay_two_items() -> None:
    buffer = FrameBuffer(max_bytes=1)
    for number in range(6):
        buffer.put("iex", packed(trade(S="AAPL", i=number)))
        buffer.put("crypto", packed(trade(S="BTC/USD", i=number)))
    items = buffer.take(0)
    found = {item.feed: item.lost for item in items if isinstance(item, Folded)}
    assert found == {"iex": {"AAPL": 5}, "crypto": {"BTC/USD": 5}}
    assert len(items) == 2
