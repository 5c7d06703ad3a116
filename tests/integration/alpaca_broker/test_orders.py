"""Orders placed with Alpaca's own library, on their tickers' channels."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

import pytest

from main.alpaca_broker import AlpacaBroker
from main.alpaca_sim import LocalAlpaca
from tests.conftest import wait_for
from tests.integration.alpaca_broker.bench import Bus, Message

pytestmark = pytest.mark.integration

Buy = Callable[..., Any]


@pytest.fixture
def buy(sim: LocalAlpaca) -> Buy:
    """`buy("AAPL")` places an order through alpaca-py's TradingClient."""
    client = importlib.import_module("alpaca.trading.client")
    requests = importlib.import_module("alpaca.trading.requests")
    trading = client.TradingClient("local", "local-secret", paper=True, url_override=sim.url)

    def place(symbol: str, qty: float = 1, **fields: Any) -> Any:
        kind = "LimitOrderRequest" if "limit_price" in fields else "MarketOrderRequest"
        given = {"symbol": symbol, "qty": qty, "side": "buy", "time_in_force": "gtc"} | fields
        return trading.submit_order(getattr(requests, kind)(**given))

    return place


def events(bus: Bus, ticker: str) -> list[str]:
    return [m["event"] for m in bus.updates(ticker, "order")]


def wait_for_event(bus: Bus, ticker: str, event: str) -> Message:
    return bus.next(f"TICKER_UPDATES_{ticker}", lambda m: m.get("event") == event)


@pytest.mark.parametrize("registered", [True, False])
def test_new_and_fill_appear_on_the_tickers_channel_registered_or_not(
    registered: bool, sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus, buy: Buy
) -> None:
    bus.listen("TICKER_UPDATES_AAPL")
    if registered:
        bus.register("AAPL")
    sim.quote("AAPL", 100.0, 100.1)
    order = buy("AAPL", client_order_id="desk:1")
    fill = wait_for_event(bus, "AAPL", "fill")
    assert "new" in events(bus, "AAPL")
    assert events(bus, "AAPL").index("new") < events(bus, "AAPL").index("fill")
    assert fill["order_data"]["id"] == str(order.id)
    assert fill["order_data"]["client_order_id"] == "desk:1"
    assert fill["order_data"]["qty"] == "1"
    assert fill["update"]["execution_id"]
    assert (fill["source"], fill["paper"]) == ("stream", True)
    assert fill["account_id"] == bus.status()["account_id"]
    numbers = [m["seq"] for m in bus.updates("AAPL")]
    assert numbers == list(range(1, len(numbers) + 1))


def test_prices_and_orders_share_the_one_channel_and_its_numbers(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus, buy: Buy
) -> None:
    bus.listen("TICKER_UPDATES_AAPL")
    bus.register("AAPL")
    sim.quote("AAPL", 100.0, 100.1)
    sim.trade("AAPL", 100.05)
    buy("AAPL")
    wait_for_event(bus, "AAPL", "fill")
    sim.trade("AAPL", 100.1)
    bus.next("TICKER_UPDATES_AAPL", lambda m: m.get("price") == 100.1)
    heard = bus.updates("AAPL")
    assert {m["type"] for m in heard} == {"price", "order"}
    assert [m["seq"] for m in heard] == list(range(1, len(heard) + 1))


def test_every_order_event_is_in_the_order_journal_with_the_same_id(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus, buy: Buy
) -> None:
    bus.listen("TICKER_UPDATES_AAPL")
    bus.register("AAPL")
    sim.quote("AAPL", 100.0, 100.1)
    sim.trade("AAPL", 100.05)
    buy("AAPL")
    wait_for_event(bus, "AAPL", "fill")
    bus.wait_for_trades("AAPL", 1)
    of_orders = bus.redis.xrange("ORDER_LOG_AAPL")
    all_entries = bus.redis.xrange("TICKER_LOG_AAPL")
    assert set(dict(of_orders)) < set(dict(all_entries))
    assert len(of_orders) == len(bus.updates("AAPL", "order"))
    assert 0 < bus.redis.ttl("ORDER_LOG_AAPL") <= 7 * 86_400


def test_a_crypto_order_is_told_on_its_pairs_channel(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus, buy: Buy
) -> None:
    bus.listen("TICKER_UPDATES_BTC/USD")
    sim.quote("BTC/USD", 66_999.0, 67_000.0, bid_size=1, ask_size=1)
    buy("BTC/USD", qty=0.01)
    assert wait_for_event(bus, "BTC/USD", "fill")["symbol"] == "BTC/USD"


def test_an_order_that_rests_is_told_as_new_and_its_end_too(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus, buy: Buy
) -> None:
    bus.listen("TICKER_UPDATES_MSFT")
    sim.quote("MSFT", 100.0, 100.1)
    order = buy("MSFT", limit_price=90.0)
    wait_for_event(bus, "MSFT", "new")
    sim.inject_order_event(str(order.id), "canceled")
    wait_for_event(bus, "MSFT", "canceled")
    assert "fill" not in events(bus, "MSFT")


def test_order_events_that_happen_while_producers_restart_arrive_in_order(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus, buy: Buy
) -> None:
    """Orders are never dropped, folded or overtaken."""
    bus.listen("TICKER_UPDATES_ZZZZ")
    sim.quote("ZZZZ", 10.0, 10.1)
    for number, ticker in enumerate(("AAPL", "MSFT", "NVDA", "TSLA")):
        bus.ask({"action": "subscribe", "ticker": ticker, "client_id": "test"})
        buy("ZZZZ", client_order_id=f"desk:{number}")
    wait_for(lambda: events(bus, "ZZZZ").count("fill") == 4)
    expected = [
        (e["order"]["client_order_id"], e["event"])
        for e in map(dict, sim.oracle.order_events)
        if isinstance(e.get("order"), dict)
    ]
    heard = [(m["order_data"]["client_order_id"], m["event"]) for m in bus.updates("ZZZZ")]
    if expected:
        assert heard == expected
    assert len(heard) == len(set(heard))
