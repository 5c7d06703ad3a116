"""The few REST calls of the broker: account and assets.

Not through alpaca-py: importing it takes 0.6 s and 86 MB, on the way to the first price.
"""

from __future__ import annotations

import http.client
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from datetime import date
from typing import Any, Final, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from ..account import is_local
from ..utils.order_pages import PAGE, moments_ns
from ..utils.redis.messages import rfc3339
from .codec import HistoricalTrade

T = TypeVar("T")

_TIMEOUT_S: Final = 3.0


class RestUnavailable(Exception):
    """No answer, or one that says to try again later."""


class RestUnknown(RestUnavailable):
    """Alpaca does not know what was asked for."""


class RestRefused(Exception):
    """The keys are not accepted."""


@dataclass(frozen=True, kw_only=True)
class Account:
    """Whose orders these are. `number` is what people know; `id` what messages carry."""

    id: str
    number: str
    paper: bool
    local: bool = False  # of the local Alpaca: nobody's money

    @property
    def label(self) -> str:
        """For people: PAPER or LIVE, and the account's last four characters."""
        return f"{'PAPER' if self.paper else 'LIVE'} …{self.number[-4:]}"


class Asset(msgspec.Struct, frozen=True):
    """What the broker needs of an asset."""

    symbol: str
    asset_class: str = msgspec.field(name="class")
    status: str
    tradable: bool = True


@dataclass(frozen=True, kw_only=True)
class Rest:
    """One of Alpaca's two REST hosts. Any thread may call it.

    Every method raises RestUnavailable or RestRefused.
    """

    url: str
    key: str = field(repr=False)
    secret: str = field(repr=False)

    def _json(self, path: str, shape: type[T], timeout_s: float = _TIMEOUT_S) -> T:
        """GET, decoded as `shape`.

        Raises:
            RestUnknown: 404; a kind of RestUnavailable.
        """
        request = urllib.request.Request(
            self.url + path,
            headers={"APCA-API-KEY-ID": self.key, "APCA-API-SECRET-KEY": self.secret},
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as response:
                return msgspec.json.decode(_read(response, timeout_s), type=shape)
        except urllib.error.HTTPError as error:
            with error:
                raise self._explained(error.code, path) from None
        except (OSError, ValueError, http.client.HTTPException, msgspec.DecodeError) as error:
            raise RestUnavailable(f"{self.url}: {error}") from error

    def _explained(self, status: int, path: str) -> RestRefused | RestUnavailable | RestUnknown:
        what = f"HTTP {status} from {self.url}{path}"
        if status == 404:
            return RestUnknown(what)
        return RestRefused(what) if status in (401, 403) else RestUnavailable(what)


def _read(response: Any, timeout_s: float) -> bytes:
    """The whole body within one deadline: urllib's own holds for each piece of it only."""
    deadline = time.monotonic() + timeout_s
    pieces = []
    while piece := response.read1(65_536):
        pieces.append(piece)
        if time.monotonic() > deadline:
            raise TimeoutError(f"the answer took longer than {timeout_s:.1f} s")
    return b"".join(pieces)


class TradesPage(msgspec.Struct, frozen=True):
    """One page of historical trades, sorted by symbol and time."""

    trades: dict[str, list[HistoricalTrade]]
    next_page_token: str | None = None


@dataclass(frozen=True, kw_only=True)
class MarketDataRest(Rest):
    """REST of the market-data side."""

    def trades(
        self,
        symbols: list[str],
        crypto: bool,
        feed: str,
        since: str,
        page_token: str | None,
        timeout_s: float,
    ) -> TradesPage:
        """Trades from `since` (RFC 3339) until now."""
        query: dict[str, Any] = {"symbols": ",".join(symbols), "start": since, "limit": 10_000}
        if not crypto:
            query["feed"] = feed
        if page_token:
            query["page_token"] = page_token
        path = "/v1beta3/crypto/us/trades" if crypto else "/v2/stocks/trades"
        return self._json(f"{path}?{urlencode(query)}", TradesPage, timeout_s)


@dataclass(frozen=True, kw_only=True)
class TradingRest(Rest):
    """REST of the trading side."""

    paper: bool = True

    def account(self) -> Account:
        fields = self._json("/v2/account", dict[str, Any])
        return Account(
            id=str(fields["id"]),
            number=str(fields["account_number"]),
            paper=self.paper,
            local=is_local(self.url),
        )

    def clock(self) -> dict[str, Any]:
        """`timestamp`, `is_open`, `next_open`, `next_close`."""
        return self._json("/v2/clock", dict[str, Any])

    def calendar(self, start: date, end: date) -> list[dict[str, Any]]:
        """Sessions with `date`, and `open` and `close` in New York's time."""
        path = f"/v2/calendar?start={start.isoformat()}&end={end.isoformat()}"
        return self._json(path, list[dict[str, Any]])

    def asset(self, symbol: str, timeout_s: float = _TIMEOUT_S) -> Asset | None:
        """One asset, or None if Alpaca does not know it."""
        try:
            return self._json(f"/v2/assets/{quote(symbol, safe='')}", Asset, timeout_s)
        except RestUnknown:
            return None

    def assets(self, asset_class: str, timeout_s: float = _TIMEOUT_S) -> list[Asset]:
        """All active assets of `us_equity` (some 11,000) or `crypto` (some 60)."""
        query = {"status": "active", "asset_class": asset_class}
        return self._json(f"/v2/assets?{urlencode(query)}", list[Asset], timeout_s)

    def orders(self, after: str | None, status: str = "all") -> list[dict[str, Any]]:
        """The orders that were submitted after that moment (RFC 3339), oldest first, all pages."""
        found: dict[str, dict[str, Any]] = {}
        while True:
            query: dict[str, Any] = {"status": status, "direction": "asc", "limit": PAGE}
            if after:
                query["after"] = after
            page = self._json(f"/v2/orders?{urlencode(query)}", list[dict[str, Any]])
            new = {str(order["id"]): order for order in page} if page else {}
            moments = [*moments_ns(page)]
            if len(page) < PAGE or new.keys() <= found.keys() or not moments:
                return list((found | new).values())
            found |= new
            # `after` is exclusive, and two orders may share a moment: begin just before the last.
            after = rfc3339(moments[-1] - 1)

    def order(self, order_id: str) -> dict[str, Any] | None:
        """One order, or None if Alpaca does not know it."""
        try:
            return self._json(f"/v2/orders/{quote(order_id, safe='')}", dict[str, Any])
        except RestUnknown:
            return None

    def fills(self, after: str) -> list[dict[str, Any]]:
        """The executions after that moment (RFC 3339), oldest first, all pages."""
        found: list[dict[str, Any]] = []
        query: dict[str, Any] = {"after": after, "direction": "asc", "page_size": 100}
        while True:
            path = f"/v2/account/activities/FILL?{urlencode(query)}"
            page = self._json(path, list[dict[str, Any]])
            found += page
            if len(page) < 100:
                return found
            query["page_token"] = page[-1]["id"]
