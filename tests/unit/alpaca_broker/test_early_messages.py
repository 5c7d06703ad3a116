"""What comes before the producers follow its ticker waits; what has no room is told."""

from __future__ import annotations

import pytest

from main.alpaca_broker import early_messages
from main.alpaca_broker.early_messages import EarlyMessages
from main.utils.redis.messages import (
    BarMessage,
    BarsGap,
    GapMessage,
    PriceMessage,
    QuoteMessage,
    QuotesGap,
)


@pytest.fixture(autouse=True)
def room_for_three(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early_messages, "MOST", 3)


def at(second: int) -> str:
    return f"2026-11-21T15:00:{second:02}.000000000Z"


def price(second: int, symbol: str = "AAPL") -> PriceMessage:
    return PriceMessage(
        symbol=symbol,
        timestamp=at(second),
        price=1.0,
        volume=1,
        feed="iex",
        last_eligible=True,
        backfilled=False,
    )


def quote(second: int) -> QuoteMessage:
    sides = {"bid_price": 1.0, "bid_size": 1, "ask_price": 1.0, "ask_size": 1}
    return QuoteMessage(symbol="AAPL", timestamp=at(second), feed="iex", **sides)  # type: ignore[arg-type]


def bar(second: int) -> BarMessage:
    prices = dict.fromkeys(("open", "high", "low", "close"), 1.0)
    return BarMessage(
        symbol="AAPL", timestamp=at(second), volume=1, interval="minute", feed="iex", **prices
    )


def test_what_came_early_is_taken_in_its_order_once() -> None:
    early = EarlyMessages()
    assert all(early.keep(price(second)) for second in (1, 2, 3))
    assert early.take({"AAPL"}) == ([price(1), price(2), price(3)], 0)
    assert early.take({"AAPL"}) == ([], 0)


def test_what_has_no_room_is_told_as_a_gap_of_its_ticker_and_channel() -> None:
    early = EarlyMessages()
    for second in (1, 2, 3):
        early.keep(price(second))
    assert not early.keep(price(6))
    assert not early.keep(price(5))
    assert not early.keep(price(7, "MSFT"))
    assert not early.keep(quote(8))
    assert not early.keep(bar(9))
    taken, left = early.take({"AAPL", "MSFT"})
    gaps = [m for m in taken if isinstance(m, GapMessage)]
    told = [(type(gap), gap.symbol, gap.from_, gap.to, gap.lost) for gap in gaps]
    assert told == [
        (GapMessage, "AAPL", at(5), at(6), 2),
        (GapMessage, "MSFT", at(7), at(7), 1),
        (QuotesGap, "AAPL", at(8), at(8), 1),
        (BarsGap, "AAPL", at(9), at(9), 1),
    ]
    assert {(gap.cause, gap.backfilled) for gap in gaps} == {("overload", False)}
    assert (taken[:3], left) == ([price(1), price(2), price(3)], 0)


def test_what_came_of_a_ticker_that_was_left_is_counted_and_not_told() -> None:
    early = EarlyMessages()
    for second in range(5):
        early.keep(price(second))
    assert early.take({"MSFT"}) == ([], 5)
