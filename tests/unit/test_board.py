"""What the demo's table and its verdict are made of."""

from __future__ import annotations

import io
from typing import Any

import pytest
from rich.console import Console

from main.board import Board
from main.table import Heading, broker_state, draw, format_age, format_volume, trend_line
from main.utils.redis.messages import (
    BrokerStatus,
    GapMessage,
    OrderMessage,
    OrderStreamStatus,
    PriceMessage,
    PriceStreamStatus,
    UpstreamStatus,
)

AT = "2026-11-21T14:30:05Z"


def _price(price: float, symbol: str = "AAPL", **fields: Any) -> PriceMessage:
    known: dict[str, Any] = {
        "symbol": symbol,
        "timestamp": AT,
        "price": price,
        "volume": 100,
        "feed": "iex",
        "last_eligible": True,
        "backfilled": False,
    }
    return PriceMessage(**(known | fields))


def _order(event: str, client_order_id: str) -> OrderMessage:
    return OrderMessage(
        symbol="AAPL",
        timestamp=AT,
        event=event,
        order_data={"side": "buy", "qty": "10", "client_order_id": client_order_id},
        update={},
        account_id="a",
        paper=True,
        source="stream",
    )


def _status(state: str = "RUNNING") -> BrokerStatus:
    return BrokerStatus(
        epoch=1,
        state=state,
        account_id="a",
        paper=True,
        timestamp=AT,
        started_at=AT,
        version="0",
        upstream=UpstreamStatus(
            prices=PriceStreamStatus(state="LIVE", since=AT),
            orders=OrderStreamStatus(state="LIVE", since=AT),
        ),
        counters={},
        journal={},
    )


def test_the_last_price_and_its_direction_follow_eligible_trades_only() -> None:
    board = Board(["AAPL"])
    row = board.rows["AAPL"]
    board.apply(_price(100.0), 1.0)
    assert (row.last, row.tick) == (100.0, 0)
    board.apply(_price(99.0), 2.0)
    assert (row.last, row.tick) == (99.0, -1)
    board.apply(_price(105.0, last_eligible=False), 3.0)
    assert (row.last, row.tick, row.prices, row.volume) == (99.0, -1, 3, 300)
    board.apply(_price(99.0), 4.0)
    assert row.tick == -1, "an unchanged price keeps the direction of the last change"


def test_a_ticker_without_a_price_is_silent_even_if_its_orders_come() -> None:
    board = Board(["AAPL", "MSFT"])
    board.apply(_price(1.0, "MSFT"), 1.0)
    board.apply(_order("new", "scale-t:1"), 1.0)
    assert board.silent_tickers() == ["AAPL"]


def test_order_events_count_by_whose_order_it_is() -> None:
    board = Board(["AAPL"])
    board.apply(_order("new", "scale-t:1"), 1.0)
    board.apply(_order("fill", "scale-t:1"), 1.0)
    board.apply(_order("fill", "by hand"), 1.0)
    assert board.order_events["scale-t", "fill"] == 1
    assert board.order_events["scale-t", "new"] == 1
    assert board.rows["AAPL"].order_event == "fill"


def test_a_foreign_ticker_changes_nothing() -> None:
    board = Board(["AAPL"])
    board.apply(_price(1.0, "MSFT"), 1.0)
    assert board.messages == 0


def test_gaps_are_counted() -> None:
    board = Board(["AAPL"])
    gap = GapMessage(
        symbol="AAPL", timestamp=AT, from_=AT, to=AT, cause="overload", backfilled=False, lost=None
    )
    board.apply(gap, 1.0)
    assert board.rows["AAPL"].gaps == 1


def test_the_rate_is_of_the_last_seconds() -> None:
    board = Board(["AAPL"])
    assert board.rate(0.0) == 0
    for _ in range(100):
        board.apply(_price(1.0), 0.5)
    assert board.rate(1.0) == 100
    for second in range(2, 8):
        assert board.rate(float(second)) <= 100
    assert board.rate(8.0) == 0


def test_a_broker_that_is_not_heard_for_three_seconds_is_silent() -> None:
    board = Board([])
    assert broker_state(board, 0.0) == "SILENT"
    board.apply(_status(), 10.0)
    assert broker_state(board, 12.9) == "RUNNING"
    assert broker_state(board, 13.1) == "SILENT"


def test_the_table_shows_every_ticker_with_what_is_known_of_it() -> None:
    board = Board(["AAPL", "BTC/USD"])
    board.apply(_price(189.2), 10.0)
    board.apply(_price(190.0), 10.0)
    board.apply(_order("fill", "scale-t:1"), 10.0)
    board.apply(_status(), 10.0)
    heading = Heading(account="…SIM1", paper=True, redis="127.0.0.1:6379", redis_answers=True)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(draw(board, heading, 10.5, 12.0, width=130))
    text = console.export_text()
    for words in (
        "PAPER",
        "…SIM1",
        "RUNNING",
        "190.00 ▲",
        "+0.42%",
        "fill buy 10",
        "0.5 s",
        "BTC/USD",
    ):
        assert words in text


def test_the_trend_spans_lowest_to_highest() -> None:
    assert trend_line([1, 2, 3], 16) == "▁▅█"
    assert trend_line([], 16) == ""
    assert len(trend_line([5.0] * 30, 16)) == 16


def test_volumes_and_ages_are_for_reading() -> None:
    assert format_volume(1234567.0) == "1,234,567"
    assert format_volume(0.12345) == "0.123"
    assert format_age(0.04) == "0.0 s"
    assert format_age(180) == "3 min"
    assert format_age(None) == "-"


@pytest.mark.parametrize("width", [60, 70, 79, 80, 100, 110, 124])
def test_the_table_fits_the_terminal(width: int) -> None:
    board = Board(["AAPL", "BTC/USD"])
    board.apply(_price(94_964.02, "BTC/USD"), 10.0)
    board.apply(_order("partial_fill", "scale-t:1"), 10.0)
    board.apply(_status(), 10.0)
    heading = Heading(
        account="…SIM1 (local)", paper=True, redis="127.0.0.1:6379", redis_answers=True
    )
    console = Console(width=200, record=True, file=io.StringIO())
    console.print(draw(board, heading, 10.5, 12.0, width))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= width
    assert "94,964.02" in "".join(lines)
    assert "partial_fill" in "".join(lines), "the orders are half of the story"


def test_a_change_that_rounds_to_nothing_has_no_minus() -> None:
    board = Board(["AAPL"])
    board.apply(_price(100.0), 1.0)
    board.apply(_price(99.9999), 1.0)
    heading = Heading(account="…SIM1", paper=True, redis="r", redis_answers=True)
    console = Console(width=120, record=True, file=io.StringIO())
    console.print(draw(board, heading, 1.0, 0.0, 120))
    assert "+0.00%" in console.export_text()
