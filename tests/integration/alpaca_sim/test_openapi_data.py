"""Every market-data, clock, calendar and asset answer against Alpaca's own descriptions."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from main.alpaca_sim import LocalAlpaca, MarketRules, SimConfig, StreamRules
from main.alpaca_sim.messages import rfc3339

from .openapi import DATA, FOLDER, TRADING, description, errors, needs_descriptions, parameters

pytestmark = [pytest.mark.integration, needs_descriptions]

DATA_PATHS = [
    "/v2/stocks/bars",
    "/v2/stocks/trades",
    "/v2/stocks/quotes",
    "/v2/stocks/bars/latest",
    "/v2/stocks/trades/latest",
    "/v2/stocks/quotes/latest",
    "/v2/stocks/snapshots",
    "/v2/stocks/{symbol}/bars",
    "/v2/stocks/{symbol}/trades",
    "/v2/stocks/{symbol}/quotes",
    "/v2/stocks/{symbol}/bars/latest",
    "/v2/stocks/{symbol}/trades/latest",
    "/v2/stocks/{symbol}/quotes/latest",
    "/v2/stocks/{symbol}/snapshot",
    "/v2/stocks/meta/exchanges",
    "/v2/stocks/meta/conditions/{ticktype}",
    "/v1beta3/crypto/{loc}/bars",
    "/v1beta3/crypto/{loc}/trades",
    "/v1beta3/crypto/{loc}/quotes",
    "/v1beta3/crypto/{loc}/latest/bars",
    "/v1beta3/crypto/{loc}/latest/trades",
    "/v1beta3/crypto/{loc}/latest/quotes",
    "/v1beta3/crypto/{loc}/latest/orderbooks",
    "/v1beta3/crypto/{loc}/snapshots",
]
TRADING_PATHS = ["/v2/clock", "/v2/calendar", "/v2/assets", "/v2/assets/{symbol_or_asset_id}"]
EVERY = [(DATA, path) for path in DATA_PATHS] + [(TRADING, path) for path in TRADING_PATHS]
# Paths of the trading description that belong to the venue; its own tests hold them.
VENUE = ("/v2/account", "/v2/orders", "/v2/positions")
FILLED_IN = {
    "symbol": "AAPL",
    "loc": "us",
    "ticktype": "trade",
    "symbol_or_asset_id": "AAPL",
}


@dataclass(frozen=True)
class Api:
    """The local Alpaca, and a session that is signed in."""

    sim: LocalAlpaca
    http: requests.Session

    def get(self, path: str, query: dict[str, str] | None = None) -> requests.Response:
        for name, value in FILLED_IN.items():
            path = path.replace("{" + name + "}", value)
        return self.http.get(self.sim.url + path, params=query, timeout=10)


@pytest.fixture(scope="module")
def api() -> Iterator[Api]:
    config = SimConfig(
        market=MarketRules(default_rate=0.0),
        streams=StreamRules(zombie_slot_s=0.0),
        data_rest_limit=0,
        trading_rest_limit=0,
    )
    with LocalAlpaca(config) as sim, requests.Session() as http:
        http.headers.update({"APCA-API-KEY-ID": "local", "APCA-API-SECRET-KEY": "local-secret"})
        now_ns = sim.call(lambda script: script.server.now_ns())
        for symbol in ("AAPL", "MSFT", "BTC/USD", "ETH/USD"):
            sim.trade(symbol, 99.0, 100, timestamp_ns=now_ns - 86_400_000_000_000)
            sim.burst(symbol, 120)
            sim.quote(symbol, 100.0, 100.02)
        sim.correct("AAPL", 2, 99.0)
        sim.cancel_trade("AAPL", 3)
        yield Api(sim, http)


def good_query(name: str, path: str) -> dict[str, str]:
    """A request that must succeed: what is required, and a start before everything."""
    query = {}
    symbols = "BTC/USD,ETH/USD" if "crypto" in path else "AAPL,MSFT"
    values = {"symbols": symbols, "timeframe": "1Min", "tape": "A", "start": "2020-01-01"}
    for parameter in parameters(name, path):
        if parameter["in"] == "query" and parameter["name"] in values:
            query[parameter["name"]] = values[parameter["name"]]
    if path == "/v2/calendar":
        query = {"start": "2026-11-20", "end": "2026-12-31"}
    return query


@pytest.mark.parametrize(("name", "path"), EVERY)
def test_a_good_answer_is_as_described(api: Api, name: str, path: str) -> None:
    reply = api.get(path, good_query(name, path))
    assert reply.status_code == 200, reply.text
    assert errors(name, path, reply.json()) == []
    assert _size(reply.json()) > 0


@pytest.mark.parametrize(("name", "path"), EVERY)
def test_the_real_calendar_and_a_start_of_the_clock_change_nothing_about_it(
    api: Api, name: str, path: str
) -> None:
    if path not in ("/v2/clock", "/v2/calendar"):
        return
    config = SimConfig(market=MarketRules(session="calendar", clock_start="2026-11-27T18:30:00Z"))
    with LocalAlpaca(config) as sim:
        real = Api(sim, api.http)
        body = real.get(path, good_query(name, path)).json()
    assert errors(name, path, body) == []
    if path == "/v2/clock":
        assert body["is_open"] is False
        assert body["next_open"] == "2026-11-30T09:30:00-05:00"
    else:
        half_days = {day["date"]: day["close"] for day in body if day["close"] != "16:00"}
        assert half_days == {"2026-11-27": "13:00", "2026-12-24": "13:00"}
        assert "2026-11-26" not in {day["date"] for day in body}


VALUES = {
    "symbols": ["AAPL", "AAPL,MSFT", "BTC/USD", "AAPL,aapl", "", "NOPE", ",,", "A B", "*", "Ä"],
    "timeframe": ["1Min", "5T", "1H", "1Day", "1Week", "3Month", "0Min", "60Min", "x", "", "Min"],
    "start": ["2020-01-01", "2020-01-01T00:00:00Z", "2020-01-01T00:00:00.123456789-05:00", "soon"],
    "end": ["2020-01-01", "2999-01-01T00:00:00+00:00", "", "99999-01-01", "2026-13-01"],
    "limit": ["1", "7", "10000", "0", "-1", "10001", "many", "1.5", "", "٣"],
    "page_token": ["", "abc", "QUFQTHxub3BlfDE=", "QUFQTHwyMDI2LTExLTIxVDAwOjAwOjAwWnww"],
    "sort": ["asc", "desc", "up", ""],
    "feed": ["sip", "iex", "delayed_sip", "boats", "otc", "moon", ""],
    "adjustment": ["raw", "split", "all", "none"],
    "currency": ["USD", "EUR"],
    "asof": ["2026-01-01", "-", "never"],
    "tape": ["A", "B", "C", "D", ""],
    "status": ["active", "inactive", "all", "odd"],
    "asset_class": ["us_equity", "crypto", "us_option", "x"],
    "exchange": ["NASDAQ", "NYSE", "x"],
    "attributes": ["fractional_eh_enabled", "ipo", "x", ""],
    "date_type": ["TRADING", "SETTLEMENT", "x"],
}


@pytest.mark.parametrize(("name", "path"), EVERY)
def test_any_parameters_get_a_described_answer_or_a_refusal_in_words(
    api: Api, name: str, path: str
) -> None:
    wanted = {p["name"] for p in parameters(name, path) if p["in"] == "query"}
    choices = {
        key: st.sampled_from(VALUES.get(key, [])) | st.text(max_size=6) for key in sorted(wanted)
    }

    @settings(
        max_examples=8 if path == "/v2/calendar" else 40,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.fixed_dictionaries({}, optional=choices))
    def check(query: dict[str, str]) -> None:
        reply = api.get(path, query)
        body = reply.json()
        if reply.status_code == 200:
            assert errors(name, path, body) == []
        else:
            assert reply.status_code in (400, 404, 422, 501), (reply.status_code, query)
            assert set(body) <= {"code", "message"}
            assert body["message"]

    check()


@pytest.mark.parametrize("limit", [1, 50, 119])
def test_pages_over_the_wire_bring_every_trade_once(api: Api, limit: int) -> None:
    query = {"symbols": "AAPL,MSFT", "start": "2020-01-01", "limit": str(limit)}
    ids: list[tuple[str, int]] = []
    while True:
        body = api.get("/v2/stocks/trades", query).json()
        assert errors(DATA, "/v2/stocks/trades", body) == []
        ids += [(symbol, t["i"]) for symbol, rows in body["trades"].items() for t in rows]
        if body["next_page_token"] is None:
            break
        query["page_token"] = body["next_page_token"]
    assert len(ids) == len(set(ids)) == 121 + 121 + 1  # the corrected one stands beside its wrong


def test_what_was_streamed_is_what_history_tells(api: Api) -> None:
    body = api.get("/v2/stocks/MSFT/trades", {"start": "2020-01-01"}).json()
    told = [(t["i"], t["t"], t["p"], t["s"]) for t in body["trades"]]
    happened = [
        (t.trade_id, rfc3339(t.timestamp_ns), t.price, t.size)
        for t in api.sim.oracle.trades("MSFT")
    ]
    assert told == happened


@pytest.mark.parametrize("name", [DATA, TRADING])
def test_every_other_path_is_404_with_alpacas_words(api: Api, name: str) -> None:
    implemented = {path for _, path in EVERY}
    for path, methods in description(name)["paths"].items():
        for method in methods:
            if method not in ("get", "post", "put", "patch", "delete"):
                continue
            if path.startswith(VENUE) or (path in implemented and method == "get"):
                continue
            url = api.sim.url + path.replace("{", "").replace("}", "")
            reply = api.http.request(method, url, timeout=10)
            assert reply.status_code in (404, 501), (method, path, reply.text)
            assert json.loads(reply.text)["message"]


def test_without_keys_stocks_are_403_trading_is_401_and_crypto_is_open(api: Api) -> None:
    def status(path: str, **headers: str) -> tuple[int, Any]:
        reply = requests.get(api.sim.url + path, headers=headers, timeout=10)
        return reply.status_code, reply.json()

    assert status("/v2/stocks/AAPL/trades/latest") == (403, {"message": "forbidden."})
    assert status("/v2/clock") == (401, {"message": "unauthorized."})
    crypto = "/v1beta3/crypto/us/latest/trades?symbols=BTC/USD"
    assert status(crypto)[0] == 200
    wrong = {"APCA-API-KEY-ID": "a", "APCA-API-SECRET-KEY": "b"}
    assert status(crypto, **wrong)[0] == 403
    basic = {"Authorization": "Basic bG9jYWw6bG9jYWwtc2VjcmV0"}
    assert status("/v2/clock", **basic)[0] == 200


def test_limits_are_told_in_headers_and_end_in_429(api: Api) -> None:
    config = SimConfig(data_rest_limit=2, trading_rest_limit=1)
    with LocalAlpaca(config) as sim:
        limited = Api(sim, api.http)
        first = limited.get("/v2/stocks/meta/exchanges")
        assert first.headers["X-RateLimit-Limit"] == "2"
        assert first.headers["X-RateLimit-Remaining"] == "1"
        assert int(first.headers["X-RateLimit-Reset"]) > 1_700_000_000
        limited.get("/v2/stocks/meta/exchanges")
        refused = limited.get("/v2/stocks/meta/exchanges")
        assert (refused.status_code, refused.json()) == (429, {"message": "too many requests."})
        limited.get("/v2/clock")
        refused = limited.get("/v2/clock")
        assert refused.status_code == 429
        assert refused.json() == {"code": 42910000, "message": "rate limit exceeded"}


def _size(body: Any) -> int:
    if isinstance(body, dict):
        return sum(_size(value) if isinstance(value, dict | list) else 1 for value in body.values())
    return len(body)


def test_the_descriptions_are_where_they_are_expected() -> None:
    assert (FOLDER / DATA).is_file()
    assert (FOLDER / TRADING).is_file()
