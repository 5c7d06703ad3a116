"""Every answer of the trading paths against Alpaca's own description, bad inputs included."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from main.alpaca_sim.venue import Reply
from tests.unit.alpaca_sim.venue_actions import Action, Player, all_actions
from tests.unit.alpaca_sim.venue_driver import SECOND, VenueDriver

from .openapi import TRADING, needs_descriptions, resolve
from .trading_openapi import faults, operations, template_of

pytestmark = [pytest.mark.integration, needs_descriptions]

some = settings(
    max_examples=30,
    deadline=None,
    derandomize=True,
    phases=[Phase.explicit, Phase.generate],
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
READS = [
    ("/v2/account", {}),
    ("/v2/account/configurations", {}),
    ("/v2/account/activities", {}),
    ("/v2/account/activities/FILL", {"direction": "asc"}),
    ("/v2/account/activities/CFEE", {}),
    ("/v2/account/portfolio/history", {"period": "1D", "timeframe": "5Min"}),
    ("/v2/account/portfolio/history", {}),
    ("/v2/orders", {"status": "all", "limit": "500"}),
    ("/v2/orders", {"status": "all", "limit": "500", "nested": "true"}),
    ("/v2/positions", {}),
]


class CheckedDriver(VenueDriver):
    """Holds every reply against the description."""

    def __init__(self, **changes: Any) -> None:
        super().__init__(**changes)
        self.seen: set[tuple[str, str, int]] = set()

    def call(
        self, method: str, path: str, query: Mapping[str, str] | None = None, **fields: Any
    ) -> Reply:
        reply = super().call(method, path, query, **fields)
        wrong = faults(method, path, reply.status, reply.body)
        assert wrong == [], (method, path, query, fields, reply.body)
        self.seen.add((method, template_of(path) or path, reply.status))
        return reply


@some
@given(all_actions)
def test_whatever_happens_every_answer_is_as_described(actions: list[Action]) -> None:
    player = Player()
    events = player.driver.events
    player.driver = CheckedDriver(partial_fill_rate=0.3, crypto_fee_posted_after_ns=0)
    player.driver.events = events
    for symbol in ("AAPL", "MSFT", "BTC/USD"):
        player.driver.quote(symbol, "100", "100.05")
    for action in actions:
        player.play(action)
    for path, query in READS:
        assert player.driver.call("GET", path, query).status == 200
    for order in player.driver.get("/v2/orders", status="all")[:5]:
        player.driver.get(f"/v2/orders/{order['id']}", nested="true")
    for position in player.driver.get("/v2/positions"):
        player.driver.get(f"/v2/positions/{position['symbol']}")


def test_every_operation_of_the_trading_paths_is_answered_as_described() -> None:
    """One straight walk through all of them, so that none is left out."""
    venue = CheckedDriver()
    venue.quote("AAPL", "100", "100.05")
    venue.own(10)
    order = venue.submit(
        qty="2",
        type="limit",
        limit_price="90",
        time_in_force="gtc",
        client_order_id="mine",
        order_class="bracket",
        take_profit={"limit_price": "120"},
        stop_loss={"stop_price": "80"},
    )
    venue.settle()
    for path, query in READS:
        venue.call("GET", path, query)
    venue.order(order["id"])
    venue.get("/v2/orders:by_client_order_id", client_order_id="mine")
    venue.call("PATCH", f"/v2/orders/{order['id']}", None, limit_price="91")
    venue.settle()
    venue.get("/v2/positions/AAPL")
    venue.call("DELETE", "/v2/positions/AAPL", {"qty": "1"})
    venue.settle()
    second = venue.submit(qty="1", type="limit", limit_price="80", time_in_force="gtc")
    venue.settle()
    venue.cancel(second["id"])
    venue.call("DELETE", "/v2/orders")
    venue.call("PATCH", "/v2/account/configurations", None, suspend_trade=False)
    venue.call("DELETE", "/v2/positions", {"cancel_orders": "true"})
    answered = {(method, path) for method, path, status in venue.seen if status < 400}
    assert answered == {(method, path) for method, path, _ in operations()}


# ---- bad inputs ----

rubbish = st.one_of(
    st.text(max_size=20),
    st.sampled_from(["", "0", "-1", "1e9", "NaN", "null", "true", "9" * 30, "%00", "\u0000", "'"]),
    st.integers().map(str),
    st.floats().map(str),
)
json_rubbish = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=10)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=5,
)


def filled_in(path: str, venue: VenueDriver) -> str:
    order_id = next(iter(venue.venue.store)).id
    return (
        path.replace("{order_id}", order_id)
        .replace("{symbol_or_asset_id}", "AAPL")
        .replace("{activity_type}", "FILL")
    )


def busy_venue() -> VenueDriver:
    venue = CheckedDriver()
    venue.quote("AAPL", "100", "100.05")
    venue.submit(qty="1", type="limit", limit_price="90", time_in_force="gtc")
    venue.own(5)
    venue.now_ns += SECOND
    return venue


OPERATIONS = {f"{method} {path}": (method, path, found) for method, path, found in operations()}


@pytest.mark.parametrize("name", OPERATIONS)
@some
@given(data=st.data())
def test_rubbish_gets_an_error_as_described(name: str, data: st.DataObject) -> None:
    method, path, found = OPERATIONS[name]
    venue = busy_venue()
    names = [resolve(TRADING, raw)["name"] for raw in found.get("parameters", [])]
    query = {parameter: data.draw(rubbish) for parameter in names if data.draw(st.booleans())}
    fields: dict[str, Any] = {}
    if method in {"POST", "PATCH"}:
        known = _properties(found)
        fields = {key: data.draw(json_rubbish) for key in known if data.draw(st.booleans())}
        if method == "POST":
            sensible = {"symbol": "AAPL", "side": "buy", "type": "market", "qty": "1"}
            fields = {**sensible, "time_in_force": "day", **fields}
    cash = venue.venue.ledger.cash
    _call_with_any_body(venue, method, filled_in(path, venue), query, fields)
    if method in {"GET", "PATCH"}:
        assert venue.venue.ledger.cash == cash


def _properties(found: dict[str, Any]) -> list[str]:
    body = found["requestBody"]["content"]["application/json"]["schema"]
    return list(resolve(TRADING, body)["properties"])


def _call_with_any_body(
    venue: VenueDriver, method: str, path: str, query: dict[str, str], fields: dict[str, Any]
) -> None:
    body = json.dumps(fields).encode() if fields else b""
    reply = venue.venue.request(method, path, query, body, venue.now_ns)
    assert faults(method, path, reply.status, reply.body) == [], (path, query, fields, reply)
    json.dumps(reply.body)
    venue.settle()


@some
@given(body=st.one_of(st.binary(max_size=40), json_rubbish.map(lambda v: json.dumps(v).encode())))
def test_any_body_is_answered(body: bytes) -> None:
    venue = busy_venue()
    for method, path in (
        ("POST", "/v2/orders"),
        ("PATCH", filled_in("/v2/orders/{order_id}", venue)),
        ("PATCH", "/v2/account/configurations"),
    ):
        reply = venue.venue.request(method, path, {}, body, venue.now_ns)
        assert faults(method, path, reply.status, reply.body) == [], (path, body, reply)


@some
@given(tail=st.text(max_size=30))
def test_any_path_is_answered(tail: str) -> None:
    venue = busy_venue()
    for method in ("GET", "DELETE", "PATCH", "POST", "PUT", "OPTIONS"):
        for prefix in ("/v2/orders/", "/v2/positions/", "/v2/account/activities/", "/v2/"):
            path = prefix + tail + str(uuid4())
            reply = venue.venue.request(method, path, {}, b"{}", venue.now_ns)
            assert reply.status in {200, 404, 422}, (method, path, reply)
