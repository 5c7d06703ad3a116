"""What the local Alpaca refuses, with Alpaca's status, code and words, and without a trace."""

from __future__ import annotations

import json
from typing import Any

import pytest

from main.alpaca_sim.venue import Reply
from tests.unit.alpaca_sim.venue_driver import VenueDriver


@pytest.fixture
def venue() -> VenueDriver:
    driver = VenueDriver()
    driver.quote("AAPL", "190.00", "190.10")
    driver.quote("PENNY", "0.51", "0.52")
    driver.quote("HARD", "20", "20.10")
    driver.quote("BTC/USD", "60000", "60010")
    return driver


def refused(reply: Reply, status: int, code: int, message: str) -> dict[str, Any]:
    assert isinstance(reply.body, dict)
    assert (reply.status, reply.body["code"], reply.body["message"]) == (status, code, message)
    return reply.body


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({}, "qty or notional is required"),
        ({"qty": "1", "notional": "5"}, "only one of qty or notional is accepted"),
        ({"qty": "0"}, "qty must be > 0"),
        ({"qty": "-1"}, "qty must be > 0"),
        ({"qty": "ten"}, "invalid qty"),
        ({"qty": "NaN"}, "invalid qty"),
        ({"qty": "1", "side": "hold"}, "invalid side"),
        ({"qty": "1", "type": "iceberg"}, "invalid order type"),
        ({"qty": "1", "time_in_force": "gtd"}, "invalid time_in_force"),
        ({"qty": "1", "type": "limit"}, "limit orders require a limit price"),
        ({"qty": "1", "type": "stop"}, "stop orders require a stop price"),
        (
            {"qty": "1", "type": "stop_limit", "stop_price": "1"},
            "stop limit orders require both stop and limit price",
        ),
        (
            {"qty": "1", "type": "trailing_stop"},
            "trailing stop orders must specify one of trail_price or trail_percent",
        ),
        (
            {"qty": "1", "type": "trailing_stop", "trail_price": "1", "trail_percent": "1"},
            "trailing stop orders must specify one of trail_price or trail_percent",
        ),
        (
            {"qty": "1", "client_order_id": "x" * 129},
            "client_order_id must be no more than 128 characters",
        ),
        (
            {"qty": "1", "type": "limit", "limit_price": "1", "stop_price": "1"},
            "limit orders must not have stop_price",
        ),
    ],
)
def test_malformed_orders(venue: VenueDriver, fields: dict[str, Any], message: str) -> None:
    refused(venue.try_submit(**fields), 422, 40010001, message)
    assert venue.events == []
    assert venue.get("/v2/orders", status="all") == []


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"symbol": "ZZZZ", "qty": "1"}, 'asset "ZZZZ" not found'),
        ({"symbol": "GONE", "qty": "1"}, 'asset "GONE" is not tradable'),
        ({"symbol": "HARD", "qty": "1", "side": "sell"}, 'asset "HARD" cannot be sold short'),
        (
            {"qty": "1", "type": "limit", "limit_price": "290.123"},
            "invalid limit_price 290.123. "
            "sub-penny increment does not fulfill minimum pricing criteria",
        ),
        (
            {"symbol": "PENNY", "qty": "1", "type": "limit", "limit_price": "0.51234"},
            "invalid limit_price 0.51234. "
            "sub-penny increment does not fulfill minimum pricing criteria",
        ),
        (
            {"qty": "1", "extended_hours": True},
            "extended hours order must be DAY or GTC limit orders",
        ),
        (
            {"qty": "1", "position_intent": "buy_to_close"},
            "position intent mismatch, inferred: buy_to_open, specified: buy_to_close",
        ),
        (
            {"qty": "1", "advanced_instructions": {"algorithm": "TWAP"}},
            "advanced_instructions is not supported",
        ),
        ({"qty": "0.5", "side": "sell"}, "fractional orders cannot be sold short"),
        ({"qty": "0.5", "time_in_force": "gtc"}, "fractional orders must be DAY orders"),
        ({"symbol": "BTC/USD", "qty": "1"}, "invalid crypto time_in_force"),
        (
            {
                "symbol": "BTC/USD",
                "qty": "1",
                "time_in_force": "gtc",
                "type": "stop",
                "stop_price": "1",
            },
            "invalid order type for crypto order",
        ),
    ],
)
def test_orders_against_a_rule(venue: VenueDriver, fields: dict[str, Any], message: str) -> None:
    refused(venue.try_submit(**fields), 422, 42210000, message)
    assert venue.events == []


def test_four_decimals_are_allowed_below_a_dollar(venue: VenueDriver) -> None:
    assert venue.submit("PENNY", qty="1", type="limit", limit_price="0.5123")


def test_insufficient_buying_power_names_the_figures(venue: VenueDriver) -> None:
    body = refused(venue.try_submit(qty="1053"), 403, 40310000, "insufficient buying power")
    assert (body["buying_power"], body["cost_basis"]) == ("200000", "200175.3")


def test_the_smallest_order_is_one_dollar(venue: VenueDriver) -> None:
    message = "cost basis must be >= minimal amount of order 1"
    refused(venue.try_submit(notional="0.99"), 403, 40310000, message)
    refused(venue.try_submit(qty="0.005"), 403, 40310000, message)


def test_a_client_order_id_is_unique_for_ever(venue: VenueDriver) -> None:
    venue.submit(qty="1", client_order_id="once")
    venue.settle()
    reply = venue.try_submit(qty="1", client_order_id="once")
    refused(reply, 422, 42210000, "client_order_id must be unique")


def test_the_code_of_a_duplicate_client_order_id_is_a_setting() -> None:
    venue = VenueDriver(duplicate_client_order_id_code=40010001)
    venue.submit(qty="1", client_order_id="once")
    reply = venue.try_submit(qty="1", client_order_id="once")
    refused(reply, 422, 40010001, "client_order_id must be unique")


def test_shares_held_for_an_order_cannot_be_sold_again(venue: VenueDriver) -> None:
    venue.own(10)
    first = venue.submit(side="sell", qty="6", type="limit", limit_price="250")
    reply = venue.try_submit(side="sell", qty="5", type="limit", limit_price="250")
    message = "insufficient qty available for order (requested: 5, available: 4)"
    body = refused(reply, 403, 40310000, message)
    assert (body["existing_qty"], body["held_for_orders"]) == ("10", "6")
    assert body["related_orders"] == [first["id"]]


def test_crypto_cannot_be_sold_short(venue: VenueDriver) -> None:
    reply = venue.try_submit("BTC/USD", side="sell", qty="1", time_in_force="gtc")
    message = "insufficient balance for BTC (requested: 1, available: 0)"
    refused(reply, 403, 40310000, message)


def test_opposite_opening_orders_are_refused(venue: VenueDriver) -> None:
    venue.submit(qty="1", type="limit", limit_price="150")
    reply = venue.try_submit(side="sell", qty="1", type="limit", limit_price="200")
    message = "cannot open a short sell while a long buy order is open"
    refused(reply, 403, 40310000, message)


@pytest.mark.parametrize(
    ("resting", "new", "reason"),
    [
        (
            {"type": "limit", "limit_price": "250"},
            {"type": "limit", "limit_price": "250"},
            "opposite side limit order exists",
        ),
        ({"type": "limit", "limit_price": "250"}, {}, "opposite side limit order exists"),
        (
            {"type": "stop", "stop_price": "150"},
            {"type": "limit", "limit_price": "100"},
            "opposite side market/stop order exists",
        ),
        (
            {"type": "stop_limit", "stop_price": "150", "limit_price": "149"},
            {"type": "limit", "limit_price": "149.5"},
            "opposite side limit order exists",
        ),
    ],
)
def test_potential_wash_trades(
    venue: VenueDriver, resting: dict[str, Any], new: dict[str, Any], reason: str
) -> None:
    venue.own(10)
    existing = venue.submit(side="sell", qty="10", **resting)
    message = "potential wash trade detected. use complex orders"
    body = refused(venue.try_submit(qty="1", **new), 403, 40310000, message)
    assert (body["existing_order_id"], body["reject_reason"]) == (existing["id"], reason)


@pytest.mark.parametrize(
    ("resting", "new"),
    [
        ({"type": "limit", "limit_price": "250"}, {"type": "limit", "limit_price": "249.99"}),
        ({"type": "trailing_stop", "trail_price": "5"}, {"type": "limit", "limit_price": "150"}),
        (
            {"type": "limit", "limit_price": "250"},
            {
                "order_class": "bracket",
                "take_profit": {"limit_price": "260"},
                "stop_loss": {"stop_price": "100"},
            },
        ),
    ],
)
def test_what_is_no_wash_trade(
    venue: VenueDriver, resting: dict[str, Any], new: dict[str, Any]
) -> None:
    venue.own(10)
    venue.submit(side="sell", qty="10", **resting)
    assert venue.try_submit("AAPL", qty="1", **new).status == 200


def test_an_ended_order_cannot_be_canceled(venue: VenueDriver) -> None:
    order = venue.submit(qty="1")
    venue.settle()
    reply = venue.cancel(order["id"])
    refused(reply, 422, 42210000, 'order is already in "filled" state')


def test_a_cancel_under_way_cannot_be_asked_for_again(venue: VenueDriver) -> None:
    order = venue.submit(qty="1", type="limit", limit_price="150")
    venue.settle()
    venue.cancel(order["id"])
    refused(venue.cancel(order["id"]), 422, 42210000, "order pending cancel")


def test_unknown_things_are_not_found(venue: VenueDriver) -> None:
    missing = "61e69015-8549-4bfd-b9c3-01e75843f47d"
    for method in ("GET", "DELETE"):
        reply = venue.call(method, f"/v2/orders/{missing}")
        refused(reply, 404, 40410000, f"order not found for {missing}")
    reply = venue.call("GET", "/v2/orders:by_client_order_id", {"client_order_id": "nobody"})
    refused(reply, 404, 40410000, "order not found for nobody")
    reply = venue.call("GET", "/v2/positions/AAPL")
    refused(reply, 404, 40410000, "position does not exist")
    reply = venue.call("DELETE", "/v2/positions/ZZZZ")
    refused(reply, 404, 40410000, "symbol not found: ZZZZ")
    for method, path in (("GET", "/v2/nothing"), ("PUT", "/v2/orders"), ("POST", "/v2/account")):
        refused(venue.call(method, path), 404, 40410000, "endpoint not found")


@pytest.mark.parametrize(
    "body", [b"", b"{", b"[]", b"null", b'{"qty": NaN}', b"\xff\xfe", b"[" * 9999]
)
def test_a_body_that_is_no_object(venue: VenueDriver, body: bytes) -> None:
    reply = venue.venue.request("POST", "/v2/orders", {}, body, venue.now_ns)
    refused(reply, 400, 40010000, "request body format is invalid")


@pytest.mark.parametrize(
    "number",
    [
        "1e400",
        "1e999999999999",
        "1e-999999999",
        "1." + "0" * 35 + "1",
        "1e-400",
        "1" * 4_000,
        "0.0000000001",
        "9" * 13,
        "1_0",
        "\u0661",
        "0x1",
    ],
)
def test_extreme_numbers_are_refused_not_computed(venue: VenueDriver, number: str) -> None:
    fields = {"symbol": "AAPL", "side": "buy", "type": "market", "time_in_force": "day"}
    for body in (
        json.dumps({**fields, "qty": number}),
        json.dumps(fields)[:-1] + f', "qty": {number}}}',
    ):
        reply = venue.venue.request("POST", "/v2/orders", {}, body.encode(), venue.now_ns)
        assert reply.status in {400, 403, 422}, body[:80]


@pytest.mark.parametrize("name", ["symbol", "client_order_id", "side", "type"])
def test_half_a_character_is_no_text(venue: VenueDriver, name: str) -> None:
    reply = venue.try_submit(**{"symbol": "AAPL", "qty": "1", name: "\ud800"})
    refused(reply, 400, 40010000, "request body format is invalid")


def test_suspended_trading_refuses_new_orders(venue: VenueDriver) -> None:
    assert venue.call("PATCH", "/v2/account/configurations", suspend_trade=True).status == 200
    reply = venue.try_submit(qty="1")
    refused(reply, 403, 40310000, "new orders are rejected by user request")
    assert venue.get("/v2/account")["trade_suspended_by_user"] is True


def test_no_shorting_refuses_short_sales(venue: VenueDriver) -> None:
    venue.call("PATCH", "/v2/account/configurations", no_shorting=True)
    reply = venue.try_submit(side="sell", qty="1")
    refused(reply, 403, 40310000, "account is not allowed to short")


def test_mleg_is_answered_with_an_error(venue: VenueDriver) -> None:
    reply = venue.call(
        "POST", "/v2/orders", None, order_class="mleg", qty="1", type="market", legs=[]
    )
    assert reply.status == 422
