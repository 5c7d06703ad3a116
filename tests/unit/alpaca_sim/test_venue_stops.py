"""Stops, stop limits and trailing stops against the quotes that trigger them."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.unit.alpaca_sim.venue_driver import VenueDriver


@pytest.fixture
def venue() -> VenueDriver:
    driver = VenueDriver()
    driver.quote("AAPL", "99.95", "100.00")
    driver.own(10)
    return driver


def test_a_sell_stop_becomes_a_market_order_when_the_bid_reaches_it(venue: VenueDriver) -> None:
    order = venue.submit(side="sell", qty="10", type="stop", stop_price="98", time_in_force="gtc")
    venue.settle()
    venue.quote("AAPL", "98.01", "98.05")
    assert venue.order(order["id"])["status"] == "new"
    venue.quote("AAPL", "97.50", "97.55")
    filled = venue.order(order["id"])
    assert (filled["status"], filled["filled_avg_price"], filled["type"]) == (
        "filled",
        "97.5",
        "stop",
    )


@pytest.mark.parametrize(
    ("stop", "runaway", "within"), [("110", "113", "112.75"), ("40", "41.70", "41.59")]
)
def test_a_buy_stop_has_a_collar_above_its_stop(stop: str, runaway: str, within: str) -> None:
    venue = VenueDriver()
    start = Decimal(stop) - 1
    venue.quote("AAPL", start, start)
    order = venue.submit(qty="1", type="stop", stop_price=stop, time_in_force="gtc")
    venue.settle()
    venue.quote("AAPL", runaway, runaway)
    assert venue.order(order["id"])["status"] == "new"
    venue.quote("AAPL", within, within)
    assert venue.order(order["id"])["filled_avg_price"] == within


def test_a_stop_limit_waits_at_its_limit_once_triggered(venue: VenueDriver) -> None:
    order = venue.submit(
        side="sell", qty="10", type="stop_limit", stop_price="98", limit_price="97.90"
    )
    venue.settle()
    venue.quote("AAPL", "97", "97.05")
    assert venue.order(order["id"])["status"] == "new"
    venue.quote("AAPL", "97.95", "98.00")
    assert venue.order(order["id"])["filled_avg_price"] == "97.95"


def test_a_trailing_stop_follows_the_high_water_mark(venue: VenueDriver) -> None:
    order = venue.submit(
        side="sell", qty="10", type="trailing_stop", trail_price="2", time_in_force="gtc"
    )
    venue.settle()
    shown = venue.order(order["id"])
    assert (shown["hwm"], shown["stop_price"], shown["trail_price"]) == ("99.95", "97.95", "2")
    venue.quote("AAPL", "105.00", "105.05")
    shown = venue.order(order["id"])
    assert (shown["hwm"], shown["stop_price"]) == ("105", "103")
    venue.quote("AAPL", "104.00", "104.05")
    assert venue.order(order["id"])["hwm"] == "105"
    venue.quote("AAPL", "102.90", "102.95")
    assert venue.order(order["id"])["filled_avg_price"] == "102.9"


def test_a_percentage_trails_in_proportion(venue: VenueDriver) -> None:
    order = venue.submit(side="sell", qty="10", type="trailing_stop", trail_percent="10")
    venue.settle()
    venue.quote("AAPL", "200", "200.05")
    assert venue.order(order["id"])["stop_price"] == "180"


def test_a_buying_trailing_stop_follows_the_low_water_mark() -> None:
    venue = VenueDriver()
    venue.quote("AAPL", "99.95", "100.00")
    order = venue.submit(qty="1", type="trailing_stop", trail_price="1")
    venue.settle()
    venue.quote("AAPL", "94.95", "95.00")
    assert venue.order(order["id"])["stop_price"] == "96"
    venue.quote("AAPL", "95.95", "96.00")
    assert venue.order(order["id"])["status"] == "filled"


def test_a_trail_can_be_replaced(venue: VenueDriver) -> None:
    order = venue.submit(
        side="sell", qty="10", type="trailing_stop", trail_price="2", time_in_force="gtc"
    )
    venue.settle()
    reply = venue.call("PATCH", f"/v2/orders/{order['id']}", None, trail="1")
    assert reply.status == 200, reply
    venue.settle()
    new = venue.order(reply.body["id"])  # type: ignore[index]
    assert (new["trail_price"], new["stop_price"]) == ("1", "98.95")
