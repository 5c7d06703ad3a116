"""An unmodified alpaca-py 0.44 against the local Alpaca: every method whose path is there."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from alpaca.common.exceptions import APIError
from alpaca.data import models as data_models
from alpaca.data import requests as data_requests
from alpaca.data.enums import DataFeed
from alpaca.data.historical import CryptoHistoricalDataClient, StockHistoricalDataClient
from alpaca.data.live import CryptoDataStream, StockDataStream
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from alpaca.trading import models as trading_models
from alpaca.trading import requests as trading_requests
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import AssetClass, OrderSide, TimeInForce
from alpaca.trading.stream import TradingStream

from main.alpaca_sim import LocalAlpaca

from .conftest import MakeSim
from .stream_client import DEADLINE_S, eventually

pytestmark = pytest.mark.integration
KEYS = ("local", "local-secret")
SINCE = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def market() -> Iterator[LocalAlpaca]:
    """A moving market with some history, for the clients that only read."""
    from main.alpaca_sim import MarketRules, SimConfig, StreamRules  # noqa: PLC0415

    config = SimConfig(
        market=MarketRules(rates={"AAPL": 50.0, "MSFT": 50.0, "BTC/USD": 50.0}),
        streams=StreamRules(zombie_slot_s=0.0, handshake_limit=0),
        trading_rest_limit=0,
        data_rest_limit=0,
    )
    with LocalAlpaca(config) as sim:
        for symbol in ("AAPL", "MSFT", "BTC/USD"):
            sim.burst(symbol, 300)
        yield sim


STOCK_CALLS: list[tuple[str, Any, type]] = [
    (
        "get_stock_bars",
        data_requests.StockBarsRequest(
            symbol_or_symbols=["AAPL", "MSFT"], timeframe=TimeFrame.Minute, start=SINCE
        ),
        data_models.BarSet,
    ),
    (
        "get_stock_bars",
        data_requests.StockBarsRequest(
            symbol_or_symbols="AAPL",
            timeframe=TimeFrame(5, TimeFrameUnit.Minute),
            start=SINCE,
            feed=DataFeed.IEX,
        ),
        data_models.BarSet,
    ),
    (
        "get_stock_trades",
        data_requests.StockTradesRequest(symbol_or_symbols=["AAPL", "MSFT"], start=SINCE),
        data_models.TradeSet,
    ),
    (
        "get_stock_quotes",
        data_requests.StockQuotesRequest(symbol_or_symbols="AAPL", start=SINCE),
        data_models.QuoteSet,
    ),
    (
        "get_stock_latest_trade",
        data_requests.StockLatestTradeRequest(symbol_or_symbols="AAPL"),
        data_models.Trade,
    ),
    (
        "get_stock_latest_quote",
        data_requests.StockLatestQuoteRequest(symbol_or_symbols=["AAPL", "TSLA"]),
        data_models.Quote,
    ),
    (
        "get_stock_latest_bar",
        data_requests.StockLatestBarRequest(symbol_or_symbols="AAPL"),
        data_models.Bar,
    ),
    (
        "get_stock_snapshot",
        data_requests.StockSnapshotRequest(symbol_or_symbols=["AAPL", "MSFT"]),
        data_models.Snapshot,
    ),
]
PAIR = {"symbol_or_symbols": "BTC/USD"}
CRYPTO_CALLS: list[tuple[str, Any, type]] = [
    (
        "get_crypto_bars",
        data_requests.CryptoBarsRequest(**PAIR, timeframe=TimeFrame.Day, start=SINCE),
        data_models.BarSet,
    ),
    (
        "get_crypto_trades",
        data_requests.CryptoTradesRequest(**PAIR, start=SINCE),
        data_models.TradeSet,
    ),
    (
        "get_crypto_quotes",
        data_requests.CryptoQuoteRequest(**PAIR, start=SINCE),
        data_models.QuoteSet,
    ),
    (
        "get_crypto_latest_trade",
        data_requests.CryptoLatestTradeRequest(**PAIR),
        data_models.Trade,
    ),
    (
        "get_crypto_latest_quote",
        data_requests.CryptoLatestQuoteRequest(**PAIR),
        data_models.Quote,
    ),
    ("get_crypto_latest_bar", data_requests.CryptoLatestBarRequest(**PAIR), data_models.Bar),
    (
        "get_crypto_latest_orderbook",
        data_requests.CryptoLatestOrderbookRequest(**PAIR),
        data_models.Orderbook,
    ),
    ("get_crypto_snapshot", data_requests.CryptoSnapshotRequest(**PAIR), data_models.Snapshot),
]


def check_parsed(answer: Any, kind: type) -> None:
    if isinstance(answer, dict):
        assert answer
        assert all(isinstance(value, kind) for value in answer.values())
    else:
        assert isinstance(answer, kind)
        assert all(len(rows) > 0 for rows in answer.data.values())  # type: ignore[attr-defined]
        assert answer.data  # type: ignore[attr-defined]


@pytest.mark.parametrize(("name", "request_", "kind"), STOCK_CALLS, ids=lambda v: str(v)[:24])
def test_every_method_of_the_stock_client_returns_its_model(
    market: LocalAlpaca, name: str, request_: Any, kind: type
) -> None:
    client = StockHistoricalDataClient(*KEYS, url_override=market.rest_url)
    check_parsed(getattr(client, name)(request_), kind)


@pytest.mark.parametrize(("name", "request_", "kind"), CRYPTO_CALLS, ids=lambda v: str(v)[:24])
def test_every_method_of_the_crypto_client_returns_its_model(
    market: LocalAlpaca, name: str, request_: Any, kind: type
) -> None:
    client = CryptoHistoricalDataClient(*KEYS, url_override=market.rest_url)
    check_parsed(getattr(client, name)(request_), kind)


def test_no_method_of_the_data_clients_is_left_out() -> None:
    for client, calls in (
        (StockHistoricalDataClient, STOCK_CALLS),
        (CryptoHistoricalDataClient, CRYPTO_CALLS),
    ):
        named = {name for name in vars(client) if name.startswith("get_")}
        assert named == {name for name, _, _ in calls}


def test_the_client_follows_pages_to_the_end(market: LocalAlpaca) -> None:
    client = StockHistoricalDataClient(*KEYS, url_override=market.rest_url)
    end = datetime.now(UTC)
    request = data_requests.StockTradesRequest(
        symbol_or_symbols=["AAPL", "MSFT"], start=end - timedelta(days=1), end=end
    )
    ids = [trade.id for trade in client.get_stock_trades(request)["AAPL"]]
    kept = [trade.trade_id for trade in market.oracle.trades("AAPL")]
    assert ids == kept[: len(ids)]
    assert len(ids) >= 300


def test_the_trading_client_reads_clock_calendar_and_assets(market: LocalAlpaca) -> None:
    client = TradingClient(*KEYS, url_override=market.rest_url)
    assert client.get_clock().is_open is True
    days = client.get_calendar(
        trading_requests.GetCalendarRequest(start=date(2026, 3, 2), end=date(2026, 3, 6))
    )
    assert len(days) == 5
    assert isinstance(days[0], trading_models.Calendar)
    pairs = client.get_all_assets(trading_requests.GetAssetsRequest(asset_class=AssetClass.CRYPTO))
    assert len(pairs) >= 20
    asset = client.get_asset("BTC/USD")
    assert client.get_asset(asset.id) == asset
    with pytest.raises(APIError, match="asset not found for NOPE"):
        client.get_asset("NOPE")


@contextmanager
def running(stream: Any, wake: Callable[[], object]) -> Iterator[None]:
    """Runs a stream in its thread; `wake` makes a message, without which stop takes 5 s."""
    thread = threading.Thread(target=stream.run, name="alpaca-py")
    thread.start()
    eventually(lambda: stream._running, "the sign-in")
    try:
        yield
    finally:
        stopper = threading.Thread(target=stream.stop)
        stopper.start()
        eventually(lambda: not stream._should_run, "the stop")
        wake()
        stopper.join(DEADLINE_S)
        thread.join(DEADLINE_S)
        assert not thread.is_alive()


class Seen:
    """Collects what handlers get."""

    def __init__(self) -> None:
        self.by_name: dict[str, list[Any]] = {}

    def handler(self, name: str) -> Callable[[Any], Any]:
        async def handle(message: Any) -> None:
            self.by_name.setdefault(name, []).append(message)
            await asyncio.sleep(0)

        return handle

    def has(self, *names: str) -> bool:
        return set(names) <= set(self.by_name)


def test_every_channel_of_the_stock_stream_is_parsed(make_sim: MakeSim) -> None:
    sim = make_sim(market={"clock_start": "2026-03-02T15:00:05Z"})
    stream, seen = StockDataStream(*KEYS, url_override=sim.data_stream_url), Seen()
    stream.subscribe_trades(seen.handler("trade"), "AAPL")
    stream.subscribe_quotes(seen.handler("quote"), "AAPL")
    stream.subscribe_bars(seen.handler("bar"), "AAPL")
    stream.subscribe_updated_bars(seen.handler("updated"), "AAPL")
    stream.subscribe_daily_bars(seen.handler("daily"), "AAPL")
    stream.subscribe_trading_statuses(seen.handler("status"), "AAPL")
    stream.register_trade_corrections(seen.handler("correction"))
    stream.register_trade_cancels(seen.handler("cancel"))
    with running(stream, lambda: sim.trade("AAPL", 1.0)):
        eventually(lambda: sim.connections()[0].subscriptions.get("trades"), "the subscription")
        serial = sim.trade("AAPL", 101.0)
        late_ns = sim.oracle.trades("AAPL")[0].timestamp_ns + 1
        sim.quote("AAPL", 100.9, 101.1)
        sim.halt("AAPL")
        sim.correct("AAPL", serial, 100.5)
        sim.cancel_trade("AAPL", sim.trade("AAPL", 101.0))
        sim.faults.step_clock(60.0)
        eventually(lambda: seen.has("bar", "daily"), "the bars")
        sim.trade("AAPL", 105.0, timestamp_ns=late_ns)
        sim.faults.step_clock(30.0)
        names = ("trade", "quote", "bar", "updated", "daily", "status", "correction", "cancel")
        eventually(lambda: seen.has(*names), f"all of {names}")
    kinds = {
        "trade": data_models.Trade,
        "quote": data_models.Quote,
        "bar": data_models.Bar,
        "updated": data_models.Bar,
        "daily": data_models.Bar,
        "status": data_models.TradingStatus,
        "correction": data_models.TradeCorrection,
        "cancel": data_models.TradeCancel,
    }
    assert {name: type(messages[0]) for name, messages in seen.by_name.items()} == kinds
    assert seen.by_name["updated"][-1].high == 105.0


def test_every_unsubscribe_of_the_stock_stream_works(sim: LocalAlpaca) -> None:
    stream, seen = StockDataStream(*KEYS, url_override=sim.data_stream_url), Seen()
    names = ("trades", "quotes", "bars", "updated_bars", "daily_bars", "trading_statuses")
    for name in names:
        getattr(stream, f"subscribe_{name}")(seen.handler(name), "AAPL", "MSFT")
    with running(stream, lambda: sim.trade("MSFT", 1.0)):
        eventually(lambda: len(sim.connections()[0].subscriptions) == 8, "the subscriptions")
        for name in names:
            getattr(stream, f"unsubscribe_{name}")("AAPL")
        eventually(
            lambda: all(s == ["MSFT"] for s in sim.connections()[0].subscriptions.values()),
            "the end of AAPL",
        )


def test_every_channel_of_the_crypto_stream_is_parsed(make_sim: MakeSim) -> None:
    sim = make_sim(market={"clock_start": "2026-03-02T15:00:05Z"})
    stream, seen = CryptoDataStream(*KEYS, url_override=sim.crypto_stream_url), Seen()
    names = ("trades", "quotes", "bars", "updated_bars", "daily_bars", "orderbooks")
    for name in names:
        getattr(stream, f"subscribe_{name}")(seen.handler(name), "BTC/USD")
    with running(stream, lambda: sim.trade("BTC/USD", 1.0, 0.1)):
        eventually(lambda: len(sim.connections()[0].subscriptions) == 6, "the subscriptions")
        sim.quote("BTC/USD", 95_000.0, 95_001.0, bid_size=0.5, ask_size=0.25)
        sim.trade("BTC/USD", 95_000.5, 0.001)
        sim.faults.step_clock(60.0)
        expected = ("trades", "quotes", "bars", "daily_bars", "orderbooks")
        eventually(lambda: seen.has(*expected), f"all of {expected}")
        for name in names[1:]:
            getattr(stream, f"unsubscribe_{name}")("BTC/USD")
        eventually(lambda: list(sim.connections()[0].subscriptions) == ["trades"])
    assert seen.by_name["quotes"][0].ask_size == 0.25
    book = seen.by_name["orderbooks"][0]
    assert isinstance(book, data_models.Orderbook)
    assert (book.bids[0].price, book.asks[0].size) == (95_000.0, 0.25)


def test_the_trading_stream_parses_an_orders_life(sim: LocalAlpaca) -> None:
    sim.quote("AAPL", 100.0, 100.02)
    client = TradingClient(*KEYS, url_override=sim.rest_url)
    stream, seen = TradingStream(*KEYS, url_override=sim.trading_stream_url), Seen()
    stream.subscribe_trade_updates(seen.handler("update"))

    def buy() -> trading_models.Order:
        return client.submit_order(
            trading_requests.MarketOrderRequest(
                symbol="AAPL", qty=1, side=OrderSide.BUY, time_in_force=TimeInForce.DAY
            )
        )

    with running(stream, buy):
        order = buy()
        eventually(
            lambda: any(u.event == "fill" for u in seen.by_name.get("update", [])), "the fill"
        )
    updates = seen.by_name["update"]
    assert {type(update) for update in updates} == {trading_models.TradeUpdate}
    assert updates[0].order.id == order.id
    assert client.get_open_position("AAPL").qty_available is not None


def test_wrong_keys_are_told_as_alpaca_tells_them(sim: LocalAlpaca) -> None:
    with pytest.raises(APIError, match=r"unauthorized\.") as refused:
        TradingClient("local", "wrong", url_override=sim.rest_url).get_clock()
    assert refused.value.status_code == 401
    with pytest.raises(APIError) as forbidden:
        StockHistoricalDataClient("a", "b", url_override=sim.rest_url).get_stock_latest_trade(
            data_requests.StockLatestTradeRequest(symbol_or_symbols="AAPL")
        )
    assert forbidden.value.status_code == 403


def test_what_is_not_there_is_404_and_never_an_invented_success(sim: LocalAlpaca) -> None:
    client = TradingClient(*KEYS, url_override=sim.rest_url)
    with pytest.raises(APIError) as missing:
        client.get_option_contracts(trading_requests.GetOptionContractsRequest())
    assert missing.value.status_code == 404
    assert missing.value.code == 40410000
