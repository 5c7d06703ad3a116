"""The market-data REST API, without sockets."""

from __future__ import annotations

from typing import Any

import pytest

from main.alpaca_sim.config import StreamRules
from main.alpaca_sim.data_query import PageToken
from main.alpaca_sim.data_rest import DataRest
from main.alpaca_sim.history import History
from main.alpaca_sim.messages import CancelError, Correction, Quote, Timestamp, Trade, rfc3339

NOW = 1_772_463_600_000_000_000  # 2026-03-02T15:00:00Z
SECOND = 1_000_000_000


def trade(symbol: str, number: int, at_ns: int, price: float = 10.0, *conditions: str) -> Trade:
    return Trade(
        symbol=symbol,
        trade_id=number,
        exchange="V",
        price=price,
        size=100,
        conditions=conditions or ("@",),
        timestamp=Timestamp(at_ns),
        tape="C",
    )


class Api:
    def __init__(self, **rules: Any) -> None:
        self.history = History(10_000)
        self.touched: list[str] = []
        self.rest = DataRest(
            self.history, StreamRules(**rules), lambda symbol, _: self.touched.append(symbol)
        )

    def get(self, path: str, **query: str) -> tuple[int, Any]:
        reply = self.rest.request(path, query, NOW)
        assert reply is not None, f"no such path: {path}"
        return reply.status, reply.body

    def pages(self, path: str, **query: str) -> list[Any]:
        pages, token = [], None
        while True:
            status, body = self.get(path, **query, **({"page_token": token} if token else {}))
            assert status == 200
            pages.append(body)
            token = body["next_page_token"]
            if token is None:
                return pages


@pytest.fixture
def api() -> Api:
    made = Api()
    for n in range(25):
        made.history.add_trade(trade("AAPL", n, NOW - 100 * SECOND + n * SECOND))
        made.history.add_trade(trade("MSFT", n, NOW - 100 * SECOND + (n // 5) * SECOND))
    return made


@pytest.mark.parametrize("sort", ["asc", "desc"])
@pytest.mark.parametrize("limit", ["1", "7", "25", "1000"])
def test_pages_bring_everything_once_by_symbol_then_time(api: Api, sort: str, limit: str) -> None:
    pages = api.pages("/v2/stocks/trades", symbols="MSFT,AAPL", sort=sort, limit=limit)
    assert all(sum(map(len, page["trades"].values())) <= int(limit) for page in pages)
    seen = [(s, t["i"]) for page in pages for s, trades in page["trades"].items() for t in trades]
    ids = range(25) if sort == "asc" else range(24, -1, -1)
    assert seen == [(symbol, n) for symbol in ("AAPL", "MSFT") for n in ids]


def test_a_single_symbol_answers_in_its_own_shape(api: Api) -> None:
    status, body = api.get("/v2/stocks/AAPL/trades", limit="2")
    assert status == 200
    assert body["symbol"] == "AAPL"
    assert [t["i"] for t in body["trades"]] == [0, 1]
    assert body["next_page_token"]
    assert api.get("/v2/stocks/TSLA/trades")[1]["trades"] == []


def test_start_and_end_are_inclusive_and_keep_nanoseconds(api: Api) -> None:
    first = NOW - 90 * SECOND
    start, end = rfc3339(first), rfc3339(first + 2 * SECOND)
    body = api.get("/v2/stocks/AAPL/trades", start=start, end=end)[1]
    assert [t["i"] for t in body["trades"]] == [10, 11, 12]
    body = api.get("/v2/stocks/AAPL/trades", start=rfc3339(first + 1), end=end)[1]
    assert [t["i"] for t in body["trades"]] == [11, 12]


@pytest.mark.parametrize(
    ("path", "query", "status", "message"),
    [
        ("/v2/stocks/trades", {}, 400, "symbols is required"),
        ("/v2/stocks/trades", {"symbols": "aapl"}, 400, "invalid symbol: aapl"),
        ("/v2/stocks/trades", {"symbols": "AAPL", "limit": "0"}, 400, "invalid limit: 0"),
        ("/v2/stocks/trades", {"symbols": "AAPL", "limit": "10001"}, 400, "invalid limit: 10001"),
        ("/v2/stocks/trades", {"symbols": "AAPL", "limit": "x"}, 400, "invalid limit: x"),
        ("/v2/stocks/trades", {"symbols": "AAPL", "sort": "up"}, 400, "invalid sort: up"),
        ("/v2/stocks/trades", {"symbols": "AAPL", "start": "soon"}, 400, "invalid start: soon"),
        ("/v2/stocks/trades", {"symbols": "AAPL", "feed": "moon"}, 400, "invalid feed: moon"),
        ("/v2/stocks/trades", {"symbols": "AAPL", "page_token": "?"}, 400, "invalid page token"),
        (
            "/v2/stocks/trades",
            {"symbols": "AAPL", "start": "2026-03-02", "end": "2026-03-01"},
            400,
            "end should not be before start",
        ),
        ("/v2/stocks/bars", {"symbols": "AAPL"}, 400, "timeframe is required"),
        (
            "/v2/stocks/bars",
            {"symbols": "AAPL", "timeframe": "61Min"},
            400,
            "invalid timeframe: 61Min",
        ),
        ("/v2/stocks/NOPE/trades/latest", {}, 404, "no trade found for NOPE"),
        ("/v2/stocks/NOPE/snapshot", {}, 404, "no snapshot found for NOPE"),
        ("/v2/stocks/meta/conditions/trade", {"tape": "X"}, 400, "invalid tape: X"),
        ("/v1beta3/crypto/us/trades", {"symbols": "BTCUSD"}, 400, "invalid symbol: BTCUSD"),
        (
            "/v2/stocks/trades",
            {"symbols": "AAPL", "currency": "EUR"},
            501,
            "currency conversion is not implemented",
        ),
    ],
)
def test_bad_parameters_are_refused_in_words(
    api: Api, path: str, query: dict[str, str], status: int, message: str
) -> None:
    assert api.get(path, **query) == (status, {"message": message})


def test_a_feed_beyond_the_plan_is_403() -> None:
    api = Api(refused_feeds=("sip",))
    refusal = (403, {"message": "subscription does not permit querying recent SIP data"})
    assert api.get("/v2/stocks/trades", symbols="AAPL") == refusal
    assert api.get("/v2/stocks/trades", symbols="AAPL", feed="iex")[0] == 200


def test_the_latest_trade_leaves_out_odd_lots(api: Api) -> None:
    api.history.add_trade(trade("AAPL", 99, NOW, 11.0, "@", "I"))
    assert api.get("/v2/stocks/AAPL/trades/latest")[1]["trade"]["i"] == 24


def test_delayed_sip_tells_what_was_15_minutes_ago() -> None:
    api = Api()
    for n, age_s in enumerate((2000, 1000, 901, 899, 1)):
        api.history.add_trade(trade("AAPL", n, NOW - age_s * SECOND))
    latest = api.get("/v2/stocks/AAPL/trades/latest", feed="delayed_sip")[1]
    assert latest["trade"]["i"] == 2
    assert api.get("/v2/stocks/AAPL/trades/latest", feed="sip")[1]["trade"]["i"] == 4
    young = Api()
    young.history.add_trade(trade("AAPL", 1, NOW))
    assert young.get("/v2/stocks/AAPL/trades/latest", feed="delayed_sip")[0] == 404


def test_a_pairs_day_is_utcs_and_a_stocks_new_yorks() -> None:
    api = Api()
    early = NOW - 14 * 3600 * SECOND  # 01:00 UTC, the evening before in New York
    for symbol in ("BTC/USD", "AAPL"):
        api.history.add_trade(trade(symbol, 1, early))
    pairs = api.get("/v1beta3/crypto/us/snapshots", symbols="BTC/USD")[1]["snapshots"]
    assert "dailyBar" in pairs["BTC/USD"]
    stock = api.get("/v2/stocks/AAPL/snapshot")[1]
    assert "prevDailyBar" in stock
    assert "dailyBar" not in stock


@pytest.mark.parametrize("feed", ["otc", "boats"])
def test_a_feed_that_is_not_simulated_says_so(api: Api, feed: str) -> None:
    refusal = (501, {"message": f"feed {feed} is not implemented"})
    assert api.get("/v2/stocks/trades", symbols="AAPL", feed=feed) == refusal


def test_corrections_and_cancels_mark_the_trades_they_mean(api: Api) -> None:
    api.history.add_cancel(
        CancelError(
            symbol="AAPL",
            trade_id=1,
            exchange="V",
            price=10.0,
            size=100,
            action="C",
            timestamp=Timestamp(NOW),
            tape="C",
        )
    )
    api.history.add_correction(
        Correction(
            symbol="AAPL",
            exchange="V",
            original_id=2,
            original_price=10.0,
            original_size=100,
            original_conditions=("@",),
            corrected_id=500,
            corrected_price=9.0,
            corrected_size=100,
            corrected_conditions=("@",),
            timestamp=Timestamp(NOW),
            tape="C",
        )
    )
    trades = api.get("/v2/stocks/AAPL/trades")[1]["trades"]
    updates = {t["i"]: t["u"] for t in trades if "u" in t}
    assert updates == {1: "canceled", 2: "incorrect", 500: "corrected"}


def test_a_snapshot_has_the_parts_that_exist(api: Api) -> None:
    api.history.add_quote(
        Quote(
            symbol="AAPL",
            bid_exchange="V",
            bid_price=9.99,
            bid_size=100,
            ask_exchange="V",
            ask_price=10.01,
            ask_size=200,
            conditions=("R",),
            timestamp=Timestamp(NOW),
            tape="C",
        )
    )
    body = api.get("/v2/stocks/snapshots", symbols="AAPL,MSFT,NOPE")[1]
    assert set(body["AAPL"]) == {"latestTrade", "latestQuote", "minuteBar", "dailyBar"}
    assert set(body["MSFT"]) == {"latestTrade", "minuteBar", "dailyBar"}
    assert "NOPE" not in body


@pytest.mark.parametrize("timeframe", ["1Min", "5T", "1Hour", "1Day", "1W", "3Month", "1D"])
def test_bars_of_every_timeframe_count_every_trade_once(api: Api, timeframe: str) -> None:
    body = api.get(
        "/v2/stocks/bars", symbols="AAPL", timeframe=timeframe, start="2020-01-01T00:00:00Z"
    )[1]
    assert sum(bar["n"] for bar in body["bars"]["AAPL"]) == 25


def test_asking_brings_a_ticker_to_life(api: Api) -> None:
    api.get("/v2/stocks/quotes/latest", symbols="TSLA,NVDA")
    assert api.touched == ["NVDA", "TSLA"]


def test_a_page_token_survives_its_journey() -> None:
    token = PageToken(symbol="BTC/USD", at_ns=NOW + 123_456_789, ordinal=3)
    assert PageToken.decode(token.encode()) == token


def test_other_paths_are_none_of_its_business(api: Api) -> None:
    for path in ("/v2/account", "/v2/stocks/AAPL/weather", "/v1beta1/news", "/v2/stocks/auctions"):
        assert api.rest.request(path, {}, NOW) is None
