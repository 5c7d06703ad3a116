"""Market and limit orders of the local Alpaca, from request to fill, with the right books."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.unit.alpaca_sim.venue_driver import VenueDriver


@pytest.fixture
def venue() -> VenueDriver:
    driver = VenueDriver()
    driver.quote("AAPL", "190.00", "190.10")
    return driver


def test_a_market_order_is_pending_then_new_then_filled_at_the_ask(venue: VenueDriver) -> None:
    order = venue.submit(qty="10")
    assert order["status"] == "pending_new"
    assert order["filled_avg_price"] is None
    venue.settle()
    assert venue.told(order["id"]) == ["pending_new", "new", "fill"]
    filled = venue.order(order["id"])
    assert (filled["status"], filled["filled_qty"], filled["filled_avg_price"]) == (
        "filled",
        "10",
        "190.1",
    )
    assert filled["filled_at"].endswith("Z")


def test_a_fill_event_tells_of_this_execution_alone(venue: VenueDriver) -> None:
    venue.own(3)
    order = venue.submit(qty="4")
    venue.settle()
    fill = venue.events[-1]
    assert fill["event"] == "fill"
    assert (fill["price"], fill["qty"], fill["position_qty"]) == ("190.1", "4", "7")
    assert fill["execution_id"]
    assert fill["timestamp"] == fill["at"]
    assert len(fill["event_id"]) == 26
    assert fill["order"]["id"] == order["id"]


def test_event_ids_rise_within_a_millisecond_and_beyond(venue: VenueDriver) -> None:
    for _ in range(20):
        venue.submit(qty="1")
    venue.settle()
    ids = [event["event_id"] for event in venue.events]
    assert ids == sorted(set(ids))


def test_a_sale_gets_the_bid(venue: VenueDriver) -> None:
    venue.own(5)
    order = venue.submit(side="sell", qty="5")
    venue.settle()
    assert venue.order(order["id"])["filled_avg_price"] == "190"
    assert venue.account("cash") == Decimal("100000") - 5 * Decimal("0.10")


def test_a_marketable_limit_gets_the_better_quote(venue: VenueDriver) -> None:
    order = venue.submit(qty="1", type="limit", limit_price="195")
    venue.settle()
    assert venue.order(order["id"])["filled_avg_price"] == "190.1"


def test_a_limit_away_from_the_market_rests_until_the_quote_comes(venue: VenueDriver) -> None:
    order = venue.submit(qty="1", type="limit", limit_price="189.5")
    venue.settle()
    assert venue.order(order["id"])["status"] == "new"
    venue.quote("AAPL", "189.45", "189.51")
    assert venue.order(order["id"])["status"] == "new"
    venue.quote("AAPL", "189.30", "189.40")
    filled = venue.order(order["id"])
    assert (filled["status"], filled["filled_avg_price"]) == ("filled", "189.4")


def test_a_market_order_without_a_quote_waits_for_one() -> None:
    venue = VenueDriver()
    order = venue.submit("MSFT", qty="1")
    venue.settle()
    assert venue.order(order["id"])["status"] == "new"
    venue.quote("MSFT", "400", "400.05")
    assert venue.order(order["id"])["status"] == "filled"


def test_an_order_before_any_quote_is_rejected_when_it_proves_too_dear() -> None:
    venue = VenueDriver()
    order = venue.submit("MSFT", qty="1000")
    venue.settle()
    venue.quote("MSFT", "400", "400.05")
    assert venue.told(order["id"])[-1] == "rejected"
    assert venue.account("cash") == 100_000


def test_orders_without_a_quote_can_be_refused_by_setting() -> None:
    reply = VenueDriver(order_without_quote="refuse").try_submit(qty="1")
    assert reply.status == 422


def test_the_book_side_that_is_missing_does_not_fill(venue: VenueDriver) -> None:
    venue.quote("AAPL", "190", "0")
    order = venue.submit(qty="1", type="limit", limit_price="195")
    venue.settle()
    assert venue.order(order["id"])["status"] == "new"


def test_partial_fills_add_up(venue: VenueDriver) -> None:
    venue = VenueDriver(partial_fill_rate=1.0)
    venue.quote("AAPL", "190.00", "190.10")
    order = venue.submit(qty="1000", client_order_id="mine")
    venue.settle()
    executions = [e for e in venue.events if e["event"] in {"partial_fill", "fill"}]
    assert [e["event"] for e in executions][-1] == "fill"
    assert len(executions) > 1
    assert sum(Decimal(e["qty"]) for e in executions) == 1000
    done = [Decimal(e["order"]["filled_qty"]) for e in executions]
    assert done == sorted(done)
    assert done[-1] == 1000
    assert all(Decimal(e["qty"]) % 1 == 0 for e in executions)
    assert venue.order(order["id"])["status"] == "filled"


def test_about_a_tenth_of_the_executions_is_partial_by_default() -> None:
    venue = VenueDriver(partial_fill_rate=0.10, starting_cash=Decimal(10**9))
    venue.quote("AAPL", "10", "10.01")
    for _ in range(500):
        venue.submit(qty="100")
    venue.settle()
    assert 25 < venue.told().count("partial_fill") < 100


def test_fractional_and_notional_orders_fill_to_nine_decimals(venue: VenueDriver) -> None:
    venue.own("0.5")
    order = venue.submit(notional="1000")
    assert (order["qty"], order["notional"]) == (None, "1000")
    venue.settle()
    filled = venue.order(order["id"])
    assert filled["filled_qty"] == "5.260389268"
    spent = Decimal("5.260389268") * Decimal("190.1")
    assert venue.account("cash") == 100_000 - Decimal("0.5") * Decimal("190.1") - spent


def test_ioc_takes_what_it_gets_and_cancels_the_rest() -> None:
    venue = VenueDriver(partial_fill_rate=1.0)
    venue.quote("AAPL", "190.00", "190.10")
    order = venue.submit(qty="100", time_in_force="ioc")
    venue.settle()
    assert venue.told(order["id"]) == ["pending_new", "new", "partial_fill", "canceled"]
    assert 0 < Decimal(venue.order(order["id"])["filled_qty"]) < 100


@pytest.mark.parametrize("time_in_force", ["ioc", "fok"])
def test_ioc_and_fok_away_from_the_market_are_canceled(
    venue: VenueDriver, time_in_force: str
) -> None:
    order = venue.submit(qty="1", type="limit", limit_price="150", time_in_force=time_in_force)
    venue.settle()
    assert venue.told(order["id"]) == ["pending_new", "new", "canceled"]


def test_fok_is_never_partial() -> None:
    venue = VenueDriver(partial_fill_rate=1.0)
    venue.quote("AAPL", "190.00", "190.10")
    order = venue.submit(qty="100", time_in_force="fok")
    venue.settle()
    assert venue.told(order["id"]) == ["pending_new", "new", "fill"]


def test_cancel_is_a_request_that_the_venue_answers(venue: VenueDriver) -> None:
    order = venue.submit(qty="1", type="limit", limit_price="150")
    venue.settle()
    reply = venue.cancel(order["id"])
    assert (reply.status, reply.body) == (204, None)
    assert venue.order(order["id"])["status"] == "pending_cancel"
    assert venue.order(order["id"])["cancel_requested_at"] is not None
    venue.settle()
    assert venue.told(order["id"])[-2:] == ["pending_cancel", "canceled"]
    assert venue.account("buying_power") == 200_000


def test_without_delays_everything_happens_within_the_call() -> None:
    venue = VenueDriver(acknowledge_delay_ns=0, fill_delay_ns=0)
    venue.quote("AAPL", "190.00", "190.10")
    order = venue.submit(qty="1")
    assert order["status"] == "pending_new"
    assert venue.told() == ["pending_new", "new", "fill"]
    assert venue.venue.next_due_ns() is None


def test_pending_new_need_not_be_told() -> None:
    venue = VenueDriver(tells_pending_new=False)
    venue.quote("AAPL", "190.00", "190.10")
    venue.own(1)
    assert venue.told() == ["new", "fill"]


def test_slippage_worsens_market_orders_only() -> None:
    venue = VenueDriver(slippage=Decimal("0.01"))
    venue.quote("AAPL", "100", "100")
    first = venue.submit(qty="1")
    second = venue.submit(qty="1", type="limit", limit_price="100.50")
    venue.settle()
    assert venue.order(first["id"])["filled_avg_price"] == "101"
    assert venue.order(second["id"])["filled_avg_price"] == "100"


def test_every_event_carries_the_whole_order(venue: VenueDriver) -> None:
    venue.own(1)
    keys = set(venue.events[0]["order"])
    assert all(set(event["order"]) == keys for event in venue.events)
    assert {"cancel_requested_at", "expires_at", "hwm", "legs", "position_intent"} <= keys


def test_the_same_seed_repeats_everything_and_another_does_not() -> None:
    def run(seed: int) -> list[dict[str, Any]]:
        venue = VenueDriver(seed=seed, partial_fill_rate=0.5)
        venue.quote("AAPL", "190.00", "190.10")
        for _ in range(10):
            venue.own(10)
        return venue.events

    assert run(7) == run(7)
    assert run(7) != run(8)


def test_crypto_trades_in_fractions_around_the_clock() -> None:
    venue = VenueDriver(crypto_taker_fee=Decimal(0))
    venue.phase("closed")
    venue.quote("BTC/USD", "60000", "60010.5")
    order = venue.submit("BTCUSD", qty="0.123456789", time_in_force="gtc")
    assert order["symbol"] == "BTC/USD"
    venue.settle()
    assert venue.order(order["id"])["status"] == "filled"
    position = venue.get("/v2/positions/BTC%2FUSD")
    assert (position["symbol"], position["qty"]) == ("BTCUSD", "0.123456789")
    sale = venue.submit("BTC/USD", side="sell", qty="0.123456789", time_in_force="ioc")
    venue.settle()
    assert venue.order(sale["id"])["status"] == "filled"
    assert venue.get("/v2/positions") == []
