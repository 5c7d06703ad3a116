"""Every REST path behind one door: sign-in, rate limits, routing, Alpaca's errors. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import TYPE_CHECKING

from .assets import Asset
from .data_rest import DataRest
from .data_session import keys_of_headers
from .errors import rest_error
from .limits import RateVerdict, RateWindow
from .trading_hours import clock_wire
from .venue_config import Reply

if TYPE_CHECKING:
    from .simulator import Simulator

Query = Mapping[str, str]
NOT_FOUND = Reply(status=404, body=rest_error(40410000, "endpoint not found."))
_DATA_PREFIXES = ("/v2/stocks/", "/v1beta")
_PUBLIC_PREFIX = "/v1beta3/crypto/"  # OpenAPI: no sign-in needed
_CALENDAR_FIRST, _CALENDAR_LAST = date(1970, 1, 1), date(2029, 12, 31)


class RestApi:
    """Answers one request at a time."""

    def __init__(self, sim: Simulator) -> None:
        self._sim = sim
        self._data = DataRest(sim.history, sim.config.streams, sim.activate)
        self._data_rate = RateWindow(sim.config.data_rest_limit)
        self._trading_rate = RateWindow(sim.config.trading_rest_limit)

    def shift(self, by_ns: int) -> None:
        """The clock was stepped."""
        self._data_rate.shift(by_ns)
        self._trading_rate.shift(by_ns)

    def request(
        self,
        method: str,
        path: str,
        query: Query,
        headers: Mapping[str, str],
        body: bytes,
        now_ns: int,
    ) -> Reply:
        """The answer, with Alpaca's rate-limit headers."""
        is_data = path.startswith(_DATA_PREFIXES)
        self._sim.note_time(now_ns)
        fault = self._sim.board.find_for_path(path)
        if fault is not None:
            return _fault(fault.value, is_data=is_data)
        if not self._signed_in(path, headers):
            # The data API says 403 for missing and for wrong keys (D6), the trading API 401.
            status, word = (403, "forbidden.") if is_data else (401, "unauthorized.")
            return Reply(status=status, body={"message": word})
        verdict = (self._data_rate if is_data else self._trading_rate).take(now_ns)
        if not verdict.allowed:
            return _too_many(verdict, is_data=is_data)
        reply = self._route(method, path, query, body, now_ns, is_data=is_data)
        limits = verdict.headers()
        return Reply(status=reply.status, body=reply.body, headers=reply.headers | limits)

    def _signed_in(self, path: str, headers: Mapping[str, str]) -> bool:
        keys = keys_of_headers(headers)
        if keys is None:
            return path.startswith(_PUBLIC_PREFIX)
        return self._sim.config.credentials.matches(*keys)

    def _route(
        self, method: str, path: str, query: Query, body: bytes, now_ns: int, *, is_data: bool
    ) -> Reply:
        if is_data:
            found = self._data.request(path, query, now_ns) if method == "GET" else None
            return found or NOT_FOUND
        parts = path.strip("/").split("/", 2)
        match (method, parts):
            case ("GET", ["v2", "clock"]):
                return Reply(status=200, body=self._clock(now_ns))
            case ("GET", ["v2", "calendar"]):
                return self._calendar(query)
            case ("GET", ["v2", "assets"]):
                return self._assets(query)
            case ("GET", ["v2", "assets", name]) if not name.startswith("fixed_income/"):
                return self._asset(name)
            case (_, ["v2", "orders" | "positions" | "account", *_]):
                return self._sim.trading_request(method, path, query, body, now_ns)
            case (_, ["v2", "orders:by_client_order_id"]):
                return self._sim.trading_request(method, path, query, body, now_ns)
            case _:
                return NOT_FOUND

    def _clock(self, now_ns: int) -> dict[str, object]:
        wire = clock_wire(self._sim.hours, now_ns)
        return wire | {"is_open": self._sim.market.phase == "regular"}

    def _calendar(self, query: Query) -> Reply:
        try:
            start = date.fromisoformat(query.get("start", "")[:10] or _CALENDAR_FIRST.isoformat())
            end = date.fromisoformat(query.get("end", "")[:10] or _CALENDAR_LAST.isoformat())
        except ValueError:
            return Reply(status=422, body=rest_error(42210000, "invalid date format"))
        start, end = max(start, _CALENDAR_FIRST), min(end, _CALENDAR_LAST)
        return Reply(status=200, body=[d.to_wire() for d in self._sim.hours.days(start, end)])

    def _assets(self, query: Query) -> Reply:
        wanted = [asset for asset in self._sim.assets.all() if _matches(asset, query)]
        return Reply(status=200, body=[asset.to_wire() for asset in wanted])

    def _asset(self, name: str) -> Reply:
        asset = self._sim.assets.find(name)
        if asset is None:
            return Reply(status=404, body=rest_error(40410000, f"asset not found for {name}"))
        return Reply(status=200, body=asset.to_wire())


def _matches(asset: Asset, query: Query) -> bool:
    attributes = asset.to_wire()["attributes"]
    wanted = [name for name in query.get("attributes", "").split(",") if name]
    return (
        query.get("status", asset.status) in (asset.status, "all")
        and query.get("asset_class", "us_equity") == asset.asset_class
        and query.get("exchange", asset.exchange) == asset.exchange
        and (not wanted or any(name in attributes for name in wanted))  # type: ignore[operator]
    )


def _fault(status: int, *, is_data: bool) -> Reply:
    if status == 429:
        return _too_many(RateVerdict(False, 0, 0, 0), is_data=is_data)
    return Reply(status=status, body={"message": "internal server error occurred"})


def _too_many(verdict: RateVerdict, *, is_data: bool) -> Reply:
    if is_data:
        return Reply(status=429, body={"message": "too many requests."}, headers=verdict.headers())
    body = rest_error(42910000, "rate limit exceeded")
    return Reply(status=429, body=body, headers=verdict.headers())
