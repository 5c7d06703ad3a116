"""Messages of the bus, in a line of words."""

from __future__ import annotations

from typing import Any

import pytest

from main.utils.redis.messages import (
    BrokerStatus,
    CorrectionMessage,
    GapMessage,
    OrderMessage,
    OrderStreamStatus,
    PriceMessage,
    PriceStreamStatus,
    StatusMessage,
    UpstreamStatus,
)
from main.wording import describe, describe_account, describe_order, plain_number, price_text

AT = "2026-11-21T14:30:05.123456789Z"


def _price(**fields: Any) -> PriceMessage:
    known: dict[str, Any] = {
        "symbol": "AAPL",
        "timestamp": AT,
        "price": 189.21,
        "volume": 100,
        "feed": "iex",
        "last_eligible": True,
        "backfilled": False,
    }
    return PriceMessage(**(known | fields))


def _order(event: str, order: dict[str, Any], update: dict[str, Any] | None = None) -> OrderMessage:
    return OrderMessage(
        symbol="AAPL",
        timestamp=AT,
        event=event,
        order_data=order,
        update=update or {},
        account_id="a",
        paper=True,
        source="stream",
    )


def _heartbeat(**fields: Any) -> BrokerStatus:
    known: dict[str, Any] = {
        "epoch": 7,
        "state": "RUNNING",
        "account_id": "an-account-id7",
        "paper": True,
        "timestamp": AT,
        "started_at": AT,
        "version": "0.1.0",
        "upstream": UpstreamStatus(
            prices=PriceStreamStatus(state="LIVE", since=AT, symbols=1),
            orders=OrderStreamStatus(state="LIVE", since=AT, ready=True),
        ),
        "counters": {},
        "journal": {},
    }
    return BrokerStatus(**(known | fields))


def test_a_price_is_its_time_ticker_price_and_volume() -> None:
    assert describe(_price()) == "14:30:05.123  AAPL     price         189.21 x 100"


def test_a_price_says_what_is_unusual_about_it() -> None:
    words = describe(_price(last_eligible=False, backfilled=True))
    assert words.endswith("(does not set the last price, refilled)")


@pytest.mark.parametrize(
    ("price", "text"),
    [(230.0, "230.00"), (229.9, "229.90"), (0.1234, "0.1234"), (1e-07, "0.0000001"), ("5", "5.00")],
)
def test_a_price_has_its_cents_and_no_digit_less_than_it_has(price: Any, text: str) -> None:
    assert price_text(price) == text


def test_prices_stand_in_line_whatever_they_cost() -> None:
    points = {describe(_price(price=price)).index(".", 13) for price in (9.5, 230.0, 65_432.1)}
    assert len(points) == 1


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ({"account_short": "SIM1", "local": True}, "PAPER account …SIM1 at the local Alpaca"),
        ({"account_short": "1A2B", "local": False}, "PAPER account …1A2B at Alpaca"),
        ({"account_short": "1A2B", "local": False, "paper": False}, "LIVE account …1A2B at Alpaca"),
        ({}, "PAPER account id …-id7"),
        ({"account_id": None}, "PAPER account not known yet"),
    ],
)
def test_an_account_goes_by_the_end_of_its_number(told: dict[str, Any], words: str) -> None:
    """An older broker does not tell it: then the id, and named as such."""
    assert describe_account(_heartbeat(**told)) == words


def test_a_timestamp_without_a_fraction_keeps_the_columns() -> None:
    whole = describe(_price(timestamp="2026-11-21T14:30:05Z"))
    assert whole.index("AAPL") == describe(_price()).index("AAPL")


def test_a_new_order_shows_what_was_asked_and_a_fill_what_was_done() -> None:
    order = {"side": "buy", "qty": "10", "limit_price": "189.20", "client_order_id": "scale-t:1"}
    assert describe_order(_order("new", order)) == "new buy 10 @ 189.20"
    fill = _order("fill", order, {"qty": "4", "price": "189.19"})
    assert describe_order(fill) == "fill buy 4 @ 189.19"
    assert describe(fill).endswith("order      fill buy 4 @ 189.19  of scale-t")


def test_an_order_without_quantity_or_price_leaves_them_out() -> None:
    assert describe_order(_order("canceled", {"side": "sell", "qty": None})) == "canceled sell"
    assert describe_order(_order("new", {"side": "buy", "notional": "500.00"})) == "new buy 500"


def test_a_gap_says_from_when_to_when_why_and_whether_it_was_refilled() -> None:
    gap = GapMessage(
        symbol="AAPL",
        timestamp=AT,
        from_="2026-11-21T14:30:00Z",
        to=AT,
        cause="upstream_disconnected",
        backfilled=False,
        lost=None,
    )
    assert "upstream_disconnected, how much is not known" in describe(gap)


def test_a_halt_and_a_correction_are_told() -> None:
    halt = StatusMessage(
        symbol="AAPL",
        timestamp=AT,
        code="H",
        message="Trading Halt",
        reason_code="T12",
        reason_message="Information requested",
    )
    assert describe(halt).endswith("Trading Halt (Information requested)")
    gone = CorrectionMessage(symbol="AAPL", timestamp=AT, original={"price": 1}, corrected=None)
    assert describe(gone).endswith("-> cancelled")


@pytest.mark.parametrize(
    ("given", "words"),
    [("10.000", "10"), ("0.5000", "0.5"), (1000, "1000"), (None, ""), ("many", "many")],
)
def test_numbers_lose_needless_zeros_only(given: Any, words: str) -> None:
    assert plain_number(given) == words
