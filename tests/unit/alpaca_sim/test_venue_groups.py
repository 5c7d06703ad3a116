"""Bracket, oco and oto: legs that wait, activate, and end each other."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from tests.unit.alpaca_sim.venue_driver import VenueDriver

BRACKET: dict[str, Any] = {
    "order_class": "bracket",
    "time_in_force": "gtc",
    "take_profit": {"limit_price": "110"},
    "stop_loss": {"stop_price": "90"},
}


@pytest.fixture
def venue() -> VenueDriver:
    driver = VenueDriver()
    driver.quote("AAPL", "99.95", "100.00")
    return driver


def legs_of(order: dict[str, Any]) -> tuple[str, str]:
    first, second = (leg["id"] for leg in order["legs"])
    return first, second


def test_the_legs_of_a_bracket_are_held_until_the_entry_is_filled(venue: VenueDriver) -> None:
    order = venue.submit(qty="10", type="limit", limit_price="99", **BRACKET)
    profit, stop = legs_of(order)
    assert [leg["status"] for leg in order["legs"]] == ["held", "held"]
    assert [(leg["type"], leg["side"]) for leg in order["legs"]] == [
        ("limit", "sell"),
        ("stop", "sell"),
    ]
    venue.settle()
    venue.quote("AAPL", "98.90", "98.95")
    venue.settle()
    assert venue.told(profit) == ["held", "new"]
    assert venue.told(stop) == ["held"]
    assert venue.get("/v2/positions/AAPL")["qty_available"] == "0"


def test_taking_the_profit_cancels_the_stop(venue: VenueDriver) -> None:
    profit, stop = legs_of(venue.submit(qty="10", **BRACKET))
    venue.settle()
    venue.quote("AAPL", "110.50", "110.55")
    venue.settle()
    assert venue.told(profit)[-1] == "fill"
    assert venue.told(stop)[-1] == "canceled"
    assert venue.position_qty() == 0


def test_reaching_the_stop_cancels_the_profit_first(venue: VenueDriver) -> None:
    profit, stop = legs_of(venue.submit(qty="10", **BRACKET))
    venue.settle()
    venue.quote("AAPL", "89.50", "89.55")
    venue.settle()
    assert venue.told(profit) == ["held", "new", "canceled"]
    assert venue.told(stop) == ["held", "new", "fill"]
    assert venue.position_qty() == 0


def test_a_partly_taken_profit_leaves_the_stop_the_rest() -> None:
    venue = VenueDriver(partial_fill_rate=1.0, seed=3)
    venue.quote("AAPL", "99.95", "100.00")
    profit, stop = legs_of(venue.submit(qty="100", **BRACKET))
    venue.settle()
    venue.quote("AAPL", "110.50", "110.55")
    first = venue.events[-1]
    assert (first["event"], first["order"]["id"]) == ("partial_fill", profit)
    left = Decimal(100) - Decimal(first["qty"])
    assert Decimal(venue.order(stop)["qty"]) == left


def test_canceling_the_entry_cancels_the_legs(venue: VenueDriver) -> None:
    order = venue.submit(qty="10", type="limit", limit_price="95", **BRACKET)
    venue.settle()
    venue.cancel(order["id"])
    venue.settle()
    assert [venue.order(leg)["status"] for leg in legs_of(order)] == ["canceled", "canceled"]
    assert venue.account("buying_power") == 200_000


def test_canceling_one_exit_cancels_the_other(venue: VenueDriver) -> None:
    profit, stop = legs_of(venue.submit(qty="10", **BRACKET))
    venue.settle()
    venue.cancel(stop)
    venue.settle()
    assert venue.order(profit)["status"] == "canceled"
    assert venue.get("/v2/positions/AAPL")["qty_available"] == "10"


def test_a_nested_list_rolls_legs_up_and_a_flat_one_does_not(venue: VenueDriver) -> None:
    order = venue.submit(qty="10", type="limit", limit_price="95", **BRACKET)
    venue.submit(qty="1", type="limit", limit_price="94")
    nested = venue.get("/v2/orders", nested="true")
    assert len(nested) == 2
    assert [leg["id"] for leg in nested[1]["legs"]] == list(legs_of(order))
    flat = venue.get("/v2/orders")
    assert len(flat) == 4
    assert all(listed["legs"] is None for listed in flat)


def test_an_oco_sells_at_the_profit_or_at_the_stop(venue: VenueDriver) -> None:
    venue.own(10)
    fields = {**BRACKET, "order_class": "oco", "type": "limit", "side": "sell"}
    order = venue.submit(qty="10", **fields)
    assert (order["type"], order["limit_price"]) == ("limit", "110")
    (stop,) = order["legs"]
    venue.settle()
    assert venue.order(stop["id"])["status"] == "held"
    assert venue.get("/v2/positions/AAPL")["qty_available"] == "0"
    venue.quote("AAPL", "88", "88.05")
    venue.settle()
    assert venue.order(order["id"])["status"] == "canceled"
    assert venue.order(stop["id"])["status"] == "filled"


def test_the_two_exits_of_an_oco_hold_the_same_shares_once(venue: VenueDriver) -> None:
    venue.own(25)
    fields = {**BRACKET, "order_class": "oco", "type": "limit", "side": "sell"}
    venue.submit(qty="10", **fields)
    venue.settle()
    assert venue.get("/v2/positions/AAPL")["qty_available"] == "15"
    assert venue.try_submit(side="sell", qty="15", type="limit", limit_price="120").status == 200


def test_an_oto_triggers_its_one_leg(venue: VenueDriver) -> None:
    order = venue.submit(
        qty="10", order_class="oto", time_in_force="gtc", stop_loss={"stop_price": "95"}
    )
    (stop,) = order["legs"]
    venue.settle()
    assert venue.order(stop["id"])["status"] == "new"
    venue.quote("AAPL", "94", "94.05")
    venue.settle()
    assert venue.order(stop["id"])["status"] == "filled"


def test_a_leg_can_be_replaced_and_stays_in_its_group(venue: VenueDriver) -> None:
    order = venue.submit(qty="10", **BRACKET)
    profit, stop = legs_of(order)
    venue.settle()
    moved = venue.call("PATCH", f"/v2/orders/{stop}", None, stop_price="97").body
    assert isinstance(moved, dict)
    venue.settle()
    assert venue.order(stop)["status"] == "replaced"
    assert venue.order(moved["id"])["status"] == "held"
    venue.quote("AAPL", "96.50", "96.55")
    venue.settle()
    assert venue.order(moved["id"])["status"] == "filled"
    assert venue.order(profit)["status"] == "canceled"


def test_a_short_bracket_exits_by_buying(venue: VenueDriver) -> None:
    order = venue.submit(
        side="sell",
        qty="10",
        order_class="bracket",
        time_in_force="gtc",
        take_profit={"limit_price": "90"},
        stop_loss={"stop_price": "110", "limit_price": "112"},
    )
    venue.settle()
    assert venue.position_qty() == -10
    venue.quote("AAPL", "89", "89.05")
    venue.settle()
    assert venue.position_qty() == 0
    assert venue.order(order["legs"][1]["id"])["status"] == "canceled"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"take_profit": None}, "bracket orders require take_profit.limit_price"),
        ({"stop_loss": None}, "bracket orders require stop_loss.stop_price"),
        ({"stop_loss": {"limit_price": "1"}}, "stop_loss.stop_price is required"),
        (
            {"take_profit": {"limit_price": "80"}},
            "take_profit.limit_price must be > stop_loss.stop_price",
        ),
        (
            {"stop_loss": {"stop_price": "100"}},
            "stop_loss.stop_price must be <= base_price - 0.01",
        ),
        ({"order_class": "oco", "type": "limit"}, "oco orders must be exit orders"),
        (
            {"order_class": "oto"},
            "oto orders require either take_profit or stop_loss",
        ),
        ({"time_in_force": "ioc"}, "bracket orders must be DAY or GTC orders"),
        ({"order_class": "simple"}, "simple orders must not have take_profit or stop_loss"),
    ],
)
def test_malformed_groups(venue: VenueDriver, changes: dict[str, Any], message: str) -> None:
    reply = venue.try_submit(qty="10", **{**BRACKET, **changes})
    assert reply.status == 422
    assert reply.body["message"] == message  # type: ignore[index]
