"""What travels on the channels, besides a stock's trades."""

from __future__ import annotations

import json

import pytest

from main.alpaca_broker import AlpacaBroker
from main.alpaca_sim import LocalAlpaca
from main.utils.redis.config import RedisConfig
from main.utils.redis.messages import GapMessage, PriceMessage
from main.utils.redis.subscriber import RedisSubscriber
from tests.conftest import wait_for
from tests.integration.alpaca_broker.bench import Bus
from tests.integration.alpaca_broker.conftest import StartBroker

pytestmark = pytest.mark.integration


def test_a_price_says_whether_it_may_set_the_last_price(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus
) -> None:
    bus.listen("TICKER_UPDATES_AAPL")
    bus.register("AAPL")
    sim.trade("AAPL", 100.25, 100, conditions=("@",))
    sim.trade("AAPL", 100.75, 3, conditions=("@", "I"))
    prices = bus.wait_for_trades("AAPL", 2)
    assert [m["last_eligible"] for m in prices] == [True, False]
    assert [m["conditions"] for m in prices] == [["@"], ["@", "I"]]
    assert {(m["feed"], m["backfilled"]) for m in prices} == {("iex", False)}


def test_a_trades_timestamp_keeps_its_nanoseconds(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus
) -> None:
    bus.listen("TICKER_UPDATES_AAPL")
    bus.register("AAPL")
    sim.trade("AAPL", 100.25, timestamp_ns=1_795_276_805_123_456_789)
    (price,) = bus.wait_for_trades("AAPL", 1)
    assert price["timestamp"] == "2026-11-21T16:00:05.123456789Z"


def test_the_crypto_stream_is_opened_with_the_first_pair(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus
) -> None:
    bus.listen("TICKER_UPDATES_BTC/USD")
    assert {c.endpoint for c in sim.connections()} == {"iex", "trading"}
    assert bus.register("btc/usd")["status"] == "accepted"
    sim.trade("BTC/USD", 67_000.5, 0.125)
    (price,) = bus.wait_for_trades("BTC/USD", 1)
    assert (price["price"], price["volume"]) == (67_000.5, 0.125)
    assert (price["feed"], price["last_eligible"]) == ("crypto", True)
    bus.register("ETH/USD")
    assert sorted(c.endpoint for c in sim.connections()) == ["crypto", "iex", "trading"]


def test_quotes_and_bars_come_on_their_own_channels_only_while_registered_for(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus
) -> None:
    bus.listen("TICKER_UPDATES_AAPL", "TICKER_QUOTES_AAPL")
    bus.register("AAPL", "prices-only")
    sim.quote("AAPL", 100.0, 100.1)
    assert bus.register("AAPL", "quotes-too", data=["trades", "quotes"])["status"] == "accepted"
    sim.quote("AAPL", 100.2, 100.3)
    quote = bus.next("TICKER_QUOTES_AAPL")
    assert (quote["bid_price"], quote["ask_price"], quote["seq"]) == (100.2, 100.3, 1)
    bus.unregister("AAPL", "quotes-too")
    assert broker.following() == {"AAPL": {"trades"}}
    sim.quote("AAPL", 100.4, 100.5)
    sim.trade("AAPL", 100.45)
    bus.wait_for_trades("AAPL", 1)
    assert [m["bid_price"] for m in bus.heard["TICKER_QUOTES_AAPL"]] == [100.2]
    assert not bus.updates("AAPL", "quote"), "price readers never pay for quotes"


def test_bars_alone_may_be_registered_for(sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus) -> None:
    assert bus.register("AAPL", data=["bars"])["status"] == "accepted"
    (stocks,) = [c for c in sim.connections() if c.endpoint == "iex"]
    assert stocks.subscriptions["bars"] == ["AAPL"]
    assert not stocks.subscriptions.get("trades")


def test_halts_and_resumes_of_a_followed_stock_arrive(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus
) -> None:
    bus.listen("TICKER_UPDATES_AAPL")
    bus.register("AAPL")
    sim.halt("AAPL")
    sim.resume("AAPL")
    statuses = wait_for(lambda: found if len(found := bus.updates("AAPL", "status")) >= 2 else None)
    assert statuses[0]["code"] == "H"
    assert statuses[-1]["code"] == "T"
    assert all(status["message"] for status in statuses)


def test_corrections_and_cancellations_arrive(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus
) -> None:
    bus.listen("TICKER_UPDATES_AAPL")
    bus.register("AAPL")
    wrong, void = sim.trade("AAPL", 100.5), sim.trade("AAPL", 999.0)
    sim.correct("AAPL", wrong, 100.4)
    sim.cancel_trade("AAPL", void)
    corrected, cancelled = wait_for(
        lambda: found if len(found := bus.updates("AAPL", "correction")) == 2 else None
    )
    assert corrected["original"]["price"] == 100.5
    assert corrected["corrected"]["price"] == 100.4
    assert (cancelled["original"]["price"], cancelled["corrected"]) == (999.0, None)


@pytest.mark.parametrize("what", ["garbage", "unknown_type", "null", "nan", "huge", "empty"])
def test_a_malformed_frame_costs_no_good_one(
    what: str, sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus
) -> None:
    """U11: told apart from the good ones, counted, and the connection lives on."""
    bus.listen("TICKER_UPDATES_AAPL")
    bus.register("AAPL")
    sim.trade("AAPL", 100.25)
    sim.faults.malformed("iex", what=what)
    sim.faults.malformed("trading", what=what)
    sim.trade("AAPL", 100.5)
    prices = bus.wait_for_trades("AAPL", 2)
    assert [m["price"] for m in prices if m["price"] in (100.25, 100.5)] == [100.25, 100.5]
    status = bus.status()
    assert status["state"] == "RUNNING"
    assert status["counters"].get("stocks_disconnects", 0) == 0
    assert bus.updates("AAPL", "gap") == []


@pytest.mark.parametrize("how", ["reset", "close"])
def test_an_upstream_cut_is_told_as_a_gap_and_the_stream_resumes(
    how: str, sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus
) -> None:
    bus.listen("TICKER_UPDATES_AAPL", "TICKER_UPDATES_MSFT")
    for ticker in ("AAPL", "MSFT"):
        bus.register(ticker)
        sim.trade(ticker, 100.25)
        bus.wait_for_trades(ticker, 1)
    sim.faults.cut("iex", how=how)
    for ticker in ("AAPL", "MSFT"):
        gap = bus.next(f"TICKER_UPDATES_{ticker}", lambda m: m["type"] == "gap")
        assert gap["cause"] == "upstream_disconnected"
        assert gap["from"] < gap["to"]
        sim.trade(ticker, 100.5)
        bus.next(f"TICKER_UPDATES_{ticker}", lambda m: m.get("price") == 100.5)
        numbers = [m["seq"] for m in bus.updates(ticker)]
        assert numbers == list(range(1, len(numbers) + 1))
    bus.status(lambda s: s["state"] == "RUNNING")


def test_every_trade_of_an_outage_is_refilled_or_told(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus
) -> None:
    """Silent loss is the one thing that must not be."""
    bus.listen("TICKER_UPDATES_AAPL")
    bus.register("AAPL")
    sim.burst("AAPL", 50)
    bus.wait_for_trades("AAPL", 50)
    sim.faults.refuse_handshake("iex", status=502, for_s=0.5)
    sim.faults.cut("iex")
    sim.burst("AAPL", 20)
    gap = bus.next("TICKER_UPDATES_AAPL", lambda m: m["type"] == "gap", timeout_s=20)
    serial = sim.burst("AAPL", 30)[-1]
    last = next(t for t in sim.oracle.trades("AAPL") if t.serial == serial)
    bus.next("TICKER_UPDATES_AAPL", lambda m: m.get("trade_id") == last.trade_id)
    happened = [t.trade_id for t in sim.oracle.trades("AAPL")]
    seen = [m["trade_id"] for m in bus.updates("AAPL", "price")]
    assert len(seen) == len(set(seen)), "no trade twice"
    assert seen == sorted(seen)
    if gap["backfilled"]:
        assert seen == happened
    else:
        assert len(happened) - len(seen) <= 20


def test_the_library_and_a_plain_reader_see_the_same(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus, redis_config: RedisConfig
) -> None:
    bus.listen("TICKER_UPDATES_AAPL")
    seen: list[PriceMessage | GapMessage] = []
    with RedisSubscriber(redis_config) as subscriber:
        subscriber.subscribe("TICKER_UPDATES_AAPL", seen.append)
        subscriber.start_listening()
        bus.register("AAPL")
        sim.burst("AAPL", 500)
        plain = bus.wait_for_trades("AAPL", 500)
        wait_for(lambda: len(seen) == 500)
    assert [(m.seq, m.trade_id) for m in seen] == [  # type: ignore[union-attr]
        (m["seq"], m["trade_id"]) for m in plain
    ]


def test_a_burst_beyond_one_batch_arrives_whole_and_in_order(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus
) -> None:
    bus.listen("TICKER_UPDATES_AAPL")
    bus.register("AAPL")
    sim.burst("AAPL", 5_000)
    prices = bus.wait_for_trades("AAPL", 5_000)
    assert [m["seq"] for m in prices] == list(range(1, 5_001))
    assert [m["trade_id"] for m in prices] == [t.trade_id for t in sim.oracle.sent_trades("AAPL")]


def test_the_journal_keeps_to_its_bound(
    sim: LocalAlpaca, start_broker: StartBroker, bus: Bus
) -> None:
    start_broker(journal_max_per_ticker=100)
    bus.listen("TICKER_UPDATES_AAPL")
    bus.register("AAPL")
    sim.burst("AAPL", 2_000)
    bus.wait_for_trades("AAPL", 2_000)
    # "~" lets Redis drop whole nodes only: a node holds 100 entries.
    assert 100 <= bus.redis.xlen("TICKER_LOG_AAPL") <= 300
    assert bus.status()["journal"]["max_per_ticker"] == 100
    newest = bus.redis.xrevrange("TICKER_LOG_AAPL", count=1)[0][1][b"m"]
    assert json.loads(newest)["seq"] == 2_000


def test_a_cut_is_told_on_the_quotes_channel_too(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus
) -> None:
    bus.listen("TICKER_UPDATES_AAPL", "TICKER_QUOTES_AAPL")
    bus.register("AAPL", data=["trades", "quotes"])
    sim.quote("AAPL", 100.0, 100.1)
    bus.next("TICKER_QUOTES_AAPL")
    sim.faults.cut("iex", how="close")
    gap = bus.next("TICKER_QUOTES_AAPL", lambda m: m["type"] == "gap")
    assert (gap["cause"], gap["backfilled"]) == ("upstream_disconnected", False)
    sim.quote("AAPL", 100.2, 100.3)
    bus.next("TICKER_QUOTES_AAPL", lambda m: m.get("bid_price") == 100.2)
    assert [m["seq"] for m in bus.heard["TICKER_QUOTES_AAPL"]] == [1, 2, 3]
    bus.next("TICKER_UPDATES_AAPL", lambda m: m["type"] == "gap")
