"""No trade is published twice within half a minute, and the memory of them is small."""

from __future__ import annotations

import tracemalloc

import pytest

from main.alpaca_broker import recent_trades
from main.alpaca_broker.recent_trades import KEPT_S, LEAST, RecentTrades
from main.utils.redis.messages import PriceMessage


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


def trade(number: int, symbol: str = "AAPL", **more: object) -> PriceMessage:
    fields = {"trade_id": number, "exchange": "V", "tape": "C"} | more
    return PriceMessage(
        symbol=symbol,
        timestamp=str(fields.pop("timestamp", "2026-11-21T15:00:00.000000000Z")),
        price=1.0,
        volume=1,
        feed="iex",
        last_eligible=True,
        backfilled=False,
        **fields,  # type: ignore[arg-type]
    )


def test_the_same_trade_is_a_repeat_and_another_is_not() -> None:
    recent = RecentTrades(Clock())
    assert not recent.is_repeat(trade(1))
    assert recent.is_repeat(trade(1))
    others = [
        trade(2),
        trade(1, "MSFT"),
        trade(1, exchange="N"),
        trade(1, tape="A"),
        trade(1, timestamp="2026-11-22T15:00:00.000000000Z"),
    ]
    assert not any(recent.is_repeat(other) for other in others)


def test_trades_without_an_id_are_never_taken_for_each_other() -> None:
    recent = RecentTrades(Clock())
    plain = PriceMessage(
        symbol="BTC/USD",
        timestamp="2026-11-21T15:00:00Z",
        price=1.0,
        volume=1,
        feed="crypto",
        last_eligible=True,
        backfilled=False,
    )
    assert [recent.is_repeat(plain) for _ in range(3)] == [False] * 3
    assert len(recent) == 0


def test_what_came_within_half_a_minute_is_remembered_whatever_came_since() -> None:
    """A refill reaches back behind a long interruption, and Redis may have lost its journals."""
    clock = Clock()
    recent = RecentTrades(clock)
    for number in range(10 * LEAST):
        recent.is_repeat(trade(number))
        clock.now_s += KEPT_S / (10 * LEAST + 1)
    assert all(recent.is_repeat(trade(number)) for number in range(10 * LEAST))


def test_a_quiet_market_is_remembered_for_longer() -> None:
    clock = Clock()
    recent = RecentTrades(clock)
    for number in range(LEAST - 1):
        recent.is_repeat(trade(number))
        clock.now_s += 60
    assert recent.is_repeat(trade(0))


def test_its_memory_is_bounded_however_much_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    most = 2 * LEAST
    monkeypatch.setattr(recent_trades, "MOST", most)
    recent = RecentTrades(Clock())
    tracemalloc.start()
    for number in range(3 * most):
        recent.is_repeat(trade(number))
    size, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert most <= len(recent) <= 2 * most
    assert size < 110 * 2 * most, "bytes for each that is remembered, at the most"
    assert recent.is_repeat(trade(3 * most - 1))
