"""The whole simulator without sockets: bytes and times in, frames out."""

from __future__ import annotations

import json
from typing import Any

import pytest

from main.alpaca_sim.clock import parse_time
from main.alpaca_sim.config import MarketRules, SimConfig, StreamRules
from main.alpaca_sim.feeds import FEED_BY_NAME
from main.alpaca_sim.hub import Reader
from main.alpaca_sim.messages import Timestamp, Trade
from main.alpaca_sim.simulator import Simulator

SECOND = 1_000_000_000
START = parse_time("2026-03-02T15:00:05Z")
AUTH = json.dumps({"action": "auth", "key": "local", "secret": "local-secret"})


class Bench:
    """A simulator, and readers whose frames are taken instead of sent."""

    def __init__(self, *, market: dict[str, Any] | None = None, **streams: Any) -> None:
        rules = MarketRules(**({"default_rate": 0.0} | (market or {})))
        self.now = START
        self.sim = Simulator(SimConfig(market=rules, streams=StreamRules(**streams)), START)

    def open(self, feed: str = "iex") -> Reader:
        reader = self.sim.streams.open_reader(FEED_BY_NAME[feed], {}, lambda: None, self.now)
        self.say(reader, AUTH)
        return reader

    def say(self, reader: Reader, frame: str) -> None:
        self.sim.note_time(self.now)
        turn = self.sim.streams.hear(reader, frame)
        assert turn is not None
        reader.say(turn)
        if turn.subscribed:
            self.sim.streams.subscribed(reader, self.now)

    def subscribe(self, reader: Reader, **channels: list[str]) -> dict[str, Any]:
        reader.control.clear()
        self.say(reader, json.dumps({"action": "subscribe"} | channels))
        return self.control(reader)

    def control(self, reader: Reader) -> dict[str, Any]:
        [message] = json.loads(reader.control[-1])
        assert isinstance(message, dict)
        return message

    def data(self, reader: Reader) -> list[dict[str, Any]]:
        encoding = reader.session.encoding
        found = []
        while len(reader.outbox):
            frame = encoding.frame([item.encoded(encoding) for item in reader.outbox.take()])
            found += json.loads(frame)
        return found

    def trade(self, symbol: str, price: float, at_ns: int | None = None) -> None:
        walk = self.sim.market.activate(symbol, self.now)
        assert walk is not None
        made = walk.stock_trade(at_ns or self.now, price, 100, ("@",))
        self.sim.publish(made, self.now)

    def go_on(self, seconds: float) -> None:
        end = self.now + int(seconds * SECOND)
        while self.now < end:
            self.now += SECOND
            self.sim.tick(self.now)


def test_bars_come_after_each_minute_and_late_ones_at_the_half() -> None:
    bench = Bench()
    reader = bench.open()
    bench.subscribe(reader, bars=["AAPL"], updatedBars=["AAPL"], dailyBars=["AAPL"])
    bench.trade("AAPL", 100.0)
    first_minute = bench.now
    bench.go_on(54)
    assert bench.data(reader) == []
    bench.go_on(1)
    bar, day = bench.data(reader)
    assert (bar["T"], bar["t"], bar["o"]) == ("b", "2026-03-02T15:00:00Z", 100.0)
    assert (day["T"], day["t"]) == ("d", "2026-03-02T05:00:00Z")
    bench.trade("AAPL", 90.0, first_minute + 1)
    bench.go_on(30)
    [updated] = bench.data(reader)
    assert (updated["T"], updated["t"], updated["l"]) == ("u", "2026-03-02T15:00:00Z", 90.0)


def test_the_limit_can_count_a_user_over_all_endpoints() -> None:
    bench = Bench(connection_limit_key="user")
    bench.open("iex")
    assert bench.control(bench.open("sip"))["code"] == 406
    apart = Bench()
    apart.open("iex")
    assert apart.control(apart.open("sip"))["T"] == "success"


def test_a_slot_outlives_an_unclean_end_by_its_time() -> None:
    bench = Bench(zombie_slot_s=90.0)
    reader = bench.open()
    bench.sim.streams.close_reader(reader, clean=False, now_ns=bench.now)
    assert bench.control(bench.open())["code"] == 406
    bench.go_on(91)
    assert bench.control(bench.open())["T"] == "success"


def test_the_market_goes_on_while_nobody_listens() -> None:
    bench = Bench(market={"default_rate": 5.0})
    reader = bench.open()
    bench.subscribe(reader, trades=["AAPL"])
    bench.go_on(1)
    bench.sim.streams.close_reader(reader, clean=True, now_ns=bench.now)
    before = bench.sim.oracle.serial("AAPL")
    bench.go_on(10)
    assert bench.sim.oracle.serial("AAPL") > before + 30
    reply = bench.sim.rest.request(
        "GET",
        "/v2/stocks/AAPL/trades",
        {},
        {"APCA-API-KEY-ID": "local", "APCA-API-SECRET-KEY": "local-secret"},
        b"",
        bench.now,
    )
    assert isinstance(reply.body, dict)
    assert len(reply.body["trades"]) == bench.sim.oracle.serial("AAPL")


def test_subscribing_wakes_a_ticker_but_sends_no_quote_of_its_waking() -> None:
    bench = Bench()
    reader = bench.open()
    bench.subscribe(reader, quotes=["AAPL"], trades=["AAPL"])
    assert bench.data(reader) == []
    assert bench.sim.history.last_quote("AAPL") is not None


def test_the_real_calendar_closes_and_opens_the_market() -> None:
    bench = Bench(market={"session": "calendar", "default_rate": 10.0})
    bench.now = parse_time("2026-11-27T17:59:58Z")
    bench.sim = Simulator(bench.sim.config, bench.now)
    bench.sim.activate("AAPL", bench.now)
    assert bench.sim.market.phase == "regular"
    bench.go_on(3)
    assert bench.sim.market.phase == "post"
    bench.now = parse_time("2026-11-27T21:59:59Z")
    bench.go_on(2)
    assert bench.sim.market.phase == "closed"
    before = bench.sim.oracle.serial("AAPL")
    bench.go_on(5)
    assert bench.sim.oracle.serial("AAPL") == before


def test_a_message_that_nobody_asked_for_goes_to_nobody() -> None:
    bench = Bench()
    reader = bench.open()
    bench.subscribe(reader, trades=["MSFT"])
    trade = Trade(symbol="AAPL", trade_id=1, price=1.0, size=1, timestamp=Timestamp(START))
    assert bench.sim.publish(trade, START) == 1
    assert bench.data(reader) == []


@pytest.mark.parametrize(
    "path", ["/v2/orders:nope", "/v2/nothing", "/", "//v2//clock", "/v3/clock"]
)
def test_an_unknown_path_is_404_in_alpacas_words(path: str) -> None:
    headers = {"APCA-API-KEY-ID": "local", "APCA-API-SECRET-KEY": "local-secret"}
    reply = Bench().sim.rest.request("GET", path, {}, headers, b"", START)
    assert reply.status == 404
    assert reply.body == {"code": 40410000, "message": "endpoint not found."}


def test_only_tickers_that_concern_the_account_reach_the_venue() -> None:
    bench = Bench()
    seen: list[str] = []
    bench.sim.desk.venue.on_quote = lambda symbol, *_: seen.append(symbol)  # type: ignore[method-assign]
    bench.sim.activate("MSFT", START)
    bench.sim.show_quote("BTCUSD", START)
    bench.sim.requote("MSFT", START)
    bench.sim.requote("BTC/USD", START)
    assert seen == ["BTC/USD", "BTC/USD"]
