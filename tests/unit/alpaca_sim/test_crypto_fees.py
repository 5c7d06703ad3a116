"""What a pair's executions cost: taken from what is received, told later, right to the unit."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.unit.alpaca_sim.venue_driver import SECOND, VenueDriver


def fees(venue: VenueDriver) -> list[dict[str, Any]]:
    found = venue.get("/v2/account/activities/CFEE", direction="asc")
    assert isinstance(found, list)
    return found


def buy(venue: VenueDriver, qty: str, **fields: Any) -> dict[str, Any]:
    return venue.submit("BTC/USD", qty=qty, time_in_force="gtc", **fields)


@pytest.mark.parametrize(
    ("filled", "fee"),
    [
        # Executions and fees as paper accounts of 2026 list them.
        ("13.9083", "0.03477075"),
        ("2.75634854", "0.006890872"),
        ("6.04178279", "0.015104457"),
        ("0.00016", "0.0000004"),
    ],
)
def test_a_taker_buys_a_quarter_of_a_percent_less_than_was_filled(filled: str, fee: str) -> None:
    venue = VenueDriver(min_crypto_cost_basis=Decimal(0))
    venue.quote("BTC/USD", "105.2", "105.35")
    order = buy(venue, filled)
    venue.settle()
    assert venue.order(order["id"])["filled_qty"] == filled, "orders tell nothing of it"
    assert venue.position_qty("BTCUSD") == Decimal(filled) - Decimal(fee)
    assert venue.events[-1]["qty"] == filled
    assert Decimal(venue.events[-1]["position_qty"]) == Decimal(filled) - Decimal(fee)
    assert venue.account("cash") == 100_000 - Decimal(filled) * Decimal("105.35")


@pytest.mark.parametrize(
    ("rests", "qty", "paid"),
    # Sales of 880.43, 653.69 and 166.62 dollars; Alpaca charged so many cents.
    [(False, "8.8043", "2.21"), (False, "6.5369", "1.64"), (True, "1.6662", "0.25")],
)
def test_a_sale_costs_dollars_rounded_up_to_the_cent(rests: bool, qty: str, paid: str) -> None:
    venue = VenueDriver()
    venue.quote("BTC/USD", "100", "100")
    buy(venue, "10")
    venue.settle()
    before = venue.account("cash")
    if rests:
        venue.quote("BTC/USD", "99", "99.5")
    buy(venue, qty, side="sell", type="limit", limit_price="100")
    venue.settle()
    venue.quote("BTC/USD", "100", "100.5")
    venue.settle()
    assert venue.account("cash") == before + Decimal(qty) * 100 - Decimal(paid)
    assert fees(venue)[-1]["net_amount"] == f"-{paid}"


def test_an_order_that_waited_in_the_book_pays_the_makers_rate() -> None:
    venue = VenueDriver()
    venue.quote("BTC/USD", "100", "101")
    buy(venue, "463.56819833", type="limit", limit_price="100")
    venue.settle()
    venue.quote("BTC/USD", "99.9", "100")
    venue.settle()
    assert venue.position_qty("BTCUSD") == Decimal("463.56819833") - Decimal("0.695352298")


def test_the_fee_of_each_execution_is_listed_later_as_an_activity_of_its_own() -> None:
    venue = VenueDriver(crypto_fee_posted_after_ns=60 * SECOND)
    venue.quote("BTC/USD", "1884", "1884.5")
    buy(venue, "0.078")
    while venue.position_qty("BTCUSD") == 0:
        venue.step()
    assert fees(venue) == []
    venue.settle()
    [listed] = fees(venue)
    activity_id, created_at = listed.pop("id"), listed.pop("created_at")
    assert activity_id.startswith("20260609000000000::")
    assert created_at.startswith("2026-06-09T15:01:00")
    assert listed == {
        "activity_type": "CFEE",
        "date": "2026-06-09",
        "net_amount": "0",
        "currency": "USD",
        "description": "Coin Pair Transaction Fee (Non USD)",
        "symbol": "BTCUSD",
        "qty": "-0.000195",
        "price": "1884.5",
        "status": "executed",
    }


def test_a_dollar_fee_names_no_symbol() -> None:
    venue = VenueDriver()
    venue.quote("BTC/USD", "100", "100")
    buy(venue, "2")
    venue.settle()
    buy(venue, "1", side="sell")
    venue.settle()
    assert fees(venue)[-1]["description"] == "Coin Pair Transaction Fee (USD)"
    assert "symbol" not in fees(venue)[-1]


def test_all_that_was_bought_can_be_sold_but_not_what_was_filled() -> None:
    venue = VenueDriver()
    venue.quote("BTC/USD", "100", "100")
    buy(venue, "2")
    venue.settle()
    refused = venue.try_submit("BTC/USD", qty="2", side="sell", time_in_force="gtc")
    assert refused.status == 403
    buy(venue, "1.995", side="sell")
    venue.settle()
    assert venue.get("/v2/positions") == []


def test_stocks_cost_nothing_and_coins_bought_cost_what_they_cost() -> None:
    venue = VenueDriver()
    venue.quote("AAPL", "100", "100")
    venue.quote("BTC/USD", "200", "200")
    venue.own(10)
    buy(venue, "10")
    venue.settle()
    assert venue.account("cash") == 100_000 - 1_000 - 2_000
    position = venue.get("/v2/positions/BTCUSD")
    assert (position["qty"], position["avg_entry_price"]) == ("9.975", "200")
    assert position["unrealized_intraday_pl"] == "-5"
