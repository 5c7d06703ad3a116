"""Splits and new names overnight: positions, open orders and activities follow."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.unit.alpaca_sim.venue_driver import VenueDriver


@pytest.fixture
def venue() -> VenueDriver:
    driver = VenueDriver()
    driver.quote("AAPL", "399.95", "400.00")
    driver.own(10)
    return driver


def test_a_split_multiplies_shares_and_keeps_their_cost(venue: VenueDriver) -> None:
    equity = venue.account("equity")
    venue.venue.split("AAPL", Decimal(4), venue.now_ns)
    position = venue.get("/v2/positions/AAPL")
    assert (position["qty"], position["avg_entry_price"]) == ("40", "100")
    assert position["cost_basis"] == "4000"
    assert venue.account("equity") == equity
    (activity,) = venue.get("/v2/account/activities/SPLIT")
    assert (activity["symbol"], activity["qty"]) == ("AAPL", "30")


def test_open_orders_are_restated_and_fill_at_the_new_price(venue: VenueDriver) -> None:
    order = venue.submit(
        side="sell", qty="10", type="limit", limit_price="440", time_in_force="gtc"
    )
    venue.settle()
    venue.venue.split("AAPL", Decimal(4), venue.now_ns)
    venue.settle()
    assert venue.told(order["id"])[-1] == "restated"
    shown = venue.order(order["id"])
    assert (shown["qty"], shown["limit_price"], shown["status"]) == ("40", "110", "new")
    venue.quote("AAPL", "110.10", "110.15")
    assert venue.order(order["id"])["filled_qty"] == "40"
    assert venue.position_qty() == 0


def test_a_reverse_split_cancels_orders_that_keep_no_share(venue: VenueDriver) -> None:
    order = venue.submit(qty="5", type="limit", limit_price="300", time_in_force="gtc")
    venue.settle()
    venue.venue.split("AAPL", Decimal("0.1"), venue.now_ns)
    venue.settle()
    assert venue.order(order["id"])["status"] == "canceled"
    assert venue.position_qty() == 1


def test_a_new_name_takes_the_position_along_and_cancels_orders(venue: VenueDriver) -> None:
    order = venue.submit(qty="1", type="limit", limit_price="300", time_in_force="gtc")
    venue.settle()
    venue.venue.rename("AAPL", "APPL", venue.now_ns)
    venue.settle()
    assert venue.order(order["id"])["status"] == "canceled"
    assert venue.get("/v2/positions/APPL")["qty"] == "10"
    assert venue.call("GET", "/v2/positions/AAPL").status == 404
    assert venue.try_submit("AAPL", qty="1").status == 422
    venue.quote("APPL", "410", "410.05")
    sale = venue.submit("APPL", side="sell", qty="10")
    venue.settle()
    assert venue.order(sale["id"])["status"] == "filled"
