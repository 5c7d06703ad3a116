"""The phases of the day: waiting, opening, auctions, expiry, the next day."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tests.unit.alpaca_sim.venue_driver import HOUR, VenueDriver


@pytest.fixture
def night() -> VenueDriver:
    """Four in the morning in New York, the market is closed."""
    driver = VenueDriver(initial_phase="closed")
    driver.now_ns -= 7 * HOUR
    driver.quote("AAPL", "99.95", "100.00")
    return driver


def test_an_order_outside_the_session_waits_as_accepted(night: VenueDriver) -> None:
    order = night.submit(qty="1")
    assert order["status"] == "accepted"
    night.settle()
    assert night.told() == ["accepted"]
    night.phase("pre")
    night.settle()
    assert night.told() == ["accepted"]
    night.phase("regular")
    night.settle()
    assert night.told() == ["accepted", "new", "fill"]


def test_an_extended_hours_limit_trades_before_the_open(night: VenueDriver) -> None:
    order = night.submit(qty="1", type="limit", limit_price="101", extended_hours=True)
    night.settle()
    assert night.order(order["id"])["status"] == "accepted"
    night.phase("pre")
    night.settle()
    assert night.order(order["id"])["status"] == "filled"


def test_a_regular_order_does_not_trade_after_the_close(night: VenueDriver) -> None:
    night.phase("regular")
    order = night.submit(qty="1", type="limit", limit_price="90", time_in_force="gtc")
    night.settle()
    night.phase("post")
    night.quote("AAPL", "80", "80.05")
    night.settle()
    assert night.order(order["id"])["status"] == "new"
    night.phase("closed")
    night.phase("regular")
    night.quote("AAPL", "85", "85.05")
    assert night.order(order["id"])["filled_avg_price"] == "85.05"


def test_day_orders_expire_at_the_close_and_extended_ones_at_the_late_close(
    night: VenueDriver,
) -> None:
    night.phase("regular")
    day = night.submit(qty="1", type="limit", limit_price="50")
    late = night.submit(qty="1", type="limit", limit_price="50", extended_hours=True)
    gtc = night.submit(qty="1", type="limit", limit_price="50", time_in_force="gtc")
    night.settle()
    assert day["expires_at"] == "2026-06-09T20:00:00Z"
    assert late["expires_at"] == "2026-06-10T00:00:00Z"
    night.phase("post")
    assert night.order(day["id"])["status"] == "expired"
    assert night.order(day["id"])["expired_at"] is not None
    assert night.order(late["id"])["status"] == "new"
    night.phase("closed")
    assert night.order(late["id"])["status"] == "expired"
    assert night.order(gtc["id"])["status"] == "new"


def test_a_day_order_after_the_close_is_for_the_next_day(night: VenueDriver) -> None:
    night.phase("regular")
    night.phase("post")
    order = night.submit(qty="1")
    night.phase("closed")
    assert night.order(order["id"])["status"] == "accepted"
    night.phase("pre")
    night.phase("regular")
    night.settle()
    assert night.order(order["id"])["status"] == "filled"


def test_opg_orders_trade_once_at_the_first_quote_of_the_session(night: VenueDriver) -> None:
    market = night.submit(qty="1", time_in_force="opg")
    limit = night.submit(qty="1", type="limit", limit_price="90", time_in_force="opg")
    night.phase("regular")
    night.settle()
    assert night.told(market["id"]) == ["accepted", "new"]
    night.quote("AAPL", "101", "101.05")
    assert night.order(market["id"])["filled_avg_price"] == "101.05"
    assert night.told(limit["id"]) == ["accepted", "new", "canceled"]


def test_cls_orders_trade_once_at_the_close(night: VenueDriver) -> None:
    night.phase("regular")
    market = night.submit(qty="1", time_in_force="cls")
    limit = night.submit(qty="1", type="limit", limit_price="90", time_in_force="cls")
    night.settle()
    assert night.order(market["id"])["status"] == "new"
    night.quote("AAPL", "102", "102.05")
    night.phase("post")
    assert night.order(market["id"])["filled_avg_price"] == "102.05"
    assert night.order(limit["id"])["status"] == "canceled"


@pytest.mark.parametrize(("time_in_force", "after_ns"), [("opg", 6 * HOUR), ("cls", 12 * HOUR)])
def test_orders_after_the_cutoff_of_their_auction_are_rejected(
    night: VenueDriver, time_in_force: str, after_ns: int
) -> None:
    night.phase("regular", after_ns=after_ns)
    order = night.submit(qty="1", time_in_force=time_in_force)
    night.settle()
    assert night.told(order["id"]) == ["accepted", "rejected"]
    assert night.order(order["id"])["failed_at"] is not None


def test_gtc_orders_grow_old(night: VenueDriver) -> None:
    order = night.submit("AAPL", qty="1", type="limit", limit_price="50", time_in_force="gtc")
    night.phase("regular")
    night.phase("closed", after_ns=89 * 24 * HOUR)
    assert night.order(order["id"])["status"] == "new"
    night.phase("regular")
    night.phase("closed", after_ns=2 * 24 * HOUR)
    assert night.order(order["id"])["status"] == "expired"


def test_the_day_before_is_what_the_figures_of_the_day_start_from(night: VenueDriver) -> None:
    night.phase("regular")
    night.own(10)
    night.quote("AAPL", "109.95", "110.05")
    night.phase("post")
    night.phase("closed")
    night.phase("pre")
    night.quote("AAPL", "111.95", "112.05")
    position = night.get("/v2/positions/AAPL")
    assert (position["lastday_price"], position["unrealized_intraday_pl"]) == ("110", "20")
    assert position["unrealized_pl"] == "120"
    assert position["change_today"] == "0.01818182"
    assert night.account("last_equity") == Decimal("100100")
    assert night.account("equity") == Decimal("100120")


def test_a_halt_keeps_orders_from_trading(night: VenueDriver) -> None:
    night.phase("regular")
    night.venue.set_halted("AAPL", True, night.now_ns)
    order = night.submit(qty="1")
    night.settle()
    night.quote("AAPL", "99", "99.05")
    assert night.order(order["id"])["status"] == "new"
    night.venue.set_halted("AAPL", False, night.now_ns)
    night.settle()
    assert night.order(order["id"])["filled_avg_price"] == "99.05"
