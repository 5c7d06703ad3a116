"""A thousand orders a second, sustained, with right books. The rates are printed, not asserted."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from main.alpaca_sim import LocalAlpaca, MarketRules, SimConfig
from main.alpaca_sim.venue_config import VenueConfig
from tests.unit.alpaca_sim.venue_driver import VenueDriver

from .trading_http import BareHttp
from .trading_load_client import SYMBOLS, orders

pytestmark = [pytest.mark.integration, pytest.mark.slow]
ORDERS = 5_000
ROOT = Path(__file__).resolve().parents[3]


def books_of(events: list[dict[str, Any]]) -> tuple[Decimal, dict[str, Decimal]]:
    """Cash and positions by the executions alone."""
    cash, held = Decimal(10**7), dict.fromkeys(SYMBOLS, Decimal(0))
    for event in events:
        if event["event"] in {"fill", "partial_fill"}:
            sign = 1 if event["order"]["side"] == "buy" else -1
            qty = sign * Decimal(event["qty"])
            held[event["order"]["symbol"]] += qty
            cash -= qty * Decimal(event["price"])
    return cash, held


CONFIG: dict[str, Any] = {
    "starting_cash": Decimal(10**7),
    "wash_trade_protection": False,
    "acknowledge_delay_ns": 0,
    "fill_delay_ns": 0,
    "partial_fill_pause_ns": 0,
    "partial_fill_rate": 0.1,
}


def test_the_venue_alone_keeps_up(capsys: pytest.CaptureFixture[str]) -> None:
    venue = VenueDriver(**CONFIG)
    for symbol in SYMBOLS:
        venue.quote(symbol, "100.00", "100.01")
    bodies = [json.dumps(fields).encode() for fields in orders(ORDERS)]
    start = time.perf_counter()
    for body in bodies:
        reply = venue.venue.request("POST", "/v2/orders", {}, body, venue.now_ns)
        assert reply.status == 200, reply
        venue.events += venue.venue.take_events()
        venue.now_ns += 1_000_000
    took = time.perf_counter() - start
    with capsys.disabled():
        print(
            f"\n{ORDERS} orders and {len(venue.events)} events through the venue alone: "
            f"{ORDERS / took:,.0f} orders/s"
        )
    cash, held = books_of(venue.events)
    assert venue.venue.ledger.cash == cash
    assert {symbol: venue.venue.ledger.qty(symbol) for symbol in SYMBOLS} == held


def test_a_deep_book_does_not_slow_the_venue(capsys: pytest.CaptureFixture[str]) -> None:
    """Ten thousand orders rest while others trade and quotes come."""
    venue = VenueDriver(**CONFIG, multiplier=4)
    venue.quote("AAPL", "100.00", "100.01")
    for number in range(10_000):
        price = str(Decimal(50) + Decimal(number % 4_000) / 100)
        body = {"symbol": "AAPL", "qty": "1", "side": "buy", "type": "limit"}
        fields = {**body, "time_in_force": "gtc", "limit_price": price}
        assert venue.try_submit(**fields).status == 200
    start = time.perf_counter()
    for number in range(2_000):
        venue.quote("AAPL", "100.00", Decimal("100.01") + Decimal(number % 5) / 100)
    quotes_took = time.perf_counter() - start
    start = time.perf_counter()
    for _ in range(200):
        venue.own(1)
    orders_took = time.perf_counter() - start
    with capsys.disabled():
        print(
            f"\nwith 10,000 resting orders: {2_000 / quotes_took:,.0f} quotes/s, "
            f"{200 / orders_took:,.0f} orders/s"
        )
    assert len(venue.venue.store.open_orders("AAPL")) == 10_000


def test_a_thousand_orders_a_second_over_http(capsys: pytest.CaptureFixture[str]) -> None:
    """Client and listener are a process of their own, as a user's program is."""
    config = SimConfig(
        market=MarketRules(default_rate=0.0),
        trading_rest_limit=0,
        venue=VenueConfig(**CONFIG),
    )
    with LocalAlpaca(config) as sim:
        for symbol in SYMBOLS:
            sim.quote(symbol, 100.00, 100.01)
        command = [sys.executable, "-m", "tests.integration.alpaca_sim.trading_load_client"]
        done = subprocess.run(
            [*command, str(sim.address.port), str(ORDERS)],
            capture_output=True,
            check=False,
            timeout=100,
            cwd=ROOT,
        )
        assert done.returncode == 0, done.stderr.decode()
        report = json.loads(done.stdout)
        with BareHttp(sim.address.port) as http:
            _, account = http.call("GET", "/v2/account")
            _, positions = http.call("GET", "/v2/positions")
    with capsys.disabled():
        print(
            f"\n{ORDERS} orders over HTTP on two connections, all events read on the stream: "
            f"{report['orders_per_s']:,.0f} orders/s"
        )
    assert report["accepted"] == ORDERS
    assert sum(event["event"] == "fill" for event in report["events"]) == ORDERS
    cash, held = books_of(report["events"])
    assert Decimal(account["cash"]) == cash
    shown = {position["symbol"]: Decimal(position["qty"]) for position in positions}
    assert shown == {symbol: qty for symbol, qty in held.items() if qty}
