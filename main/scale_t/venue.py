"""Alpaca's REST as scale_t needs it: orders through `OrderCalls`, and what to check before."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final, TypeVar

import structlog

from ..utils.answers import Answer, Lost, OrderData, Refused
from ..utils.decimals import decimal_or_none
from ..utils.order_calls import CallFailed as VenueFailed
from ..utils.order_calls import OrderCalls, TooManyOrders
from ..utils.order_pages import MOST_PAGES
from ..utils.order_terms import OrderTerms, PositionIntent
from .intents import Place
from .session_check import Clock, Facts, LatestTrade

__all__ = ["Endpoints", "TooManyOrders", "UnknownTicker", "Venue", "VenueFailed"]

log: Final = structlog.get_logger("tickerbus.scale_t")

FACTS_REQUESTS: Final = 6
ACTIVITIES_PAGE: Final = 100  # Alpaca's most, and what it gives unasked
_T = TypeVar("_T")
_INTENTS: Final[dict[tuple[str, str], PositionIntent]] = {
    ("entry", "buy"): "buy_to_open",
    ("profit", "sell"): "sell_to_close",
    ("entry", "sell"): "sell_to_open",
    ("profit", "buy"): "buy_to_close",
}
# Alpaca's activity types that change what a share is.
_CORPORATE: Final = ("SPLIT", "SPIN", "NC", "MA", "REORG", "SSP", "SSO", "SC")


class UnknownTicker(Exception):
    """Alpaca has no such asset."""


@dataclass(frozen=True, kw_only=True)
class Endpoints:
    """Where Alpaca is, and the keys to it."""

    trading_url: str
    data_url: str
    key: str
    secret: str
    feed: str = "iex"

    def __repr__(self) -> str:
        return f"Endpoints({self.trading_url!r}, {self.data_url!r})"


class Venue:
    """One account's orders, and its market's facts. One thread at a time."""

    def __init__(self, endpoints: Endpoints, timeout_s: float = 3.0) -> None:
        """Connect nothing yet; importing alpaca-py takes half a second."""
        self.url = endpoints.trading_url
        self.before_request: Callable[[], object] = lambda: None  # it may raise, to break off
        self._feed = endpoints.feed
        self._calls = OrderCalls.connect(
            endpoints.trading_url,
            endpoints.key,
            endpoints.secret,
            timeout_s=timeout_s,
            budget=self._begin_request,
        )
        self._trading = _rest(endpoints, endpoints.trading_url, timeout_s)
        self._data = _rest(endpoints, endpoints.data_url, timeout_s)

    def _begin_request(self) -> None:
        self.before_request()

    def close(self) -> None:
        self._calls.close()
        for client in (self._trading, self._data):
            client._session.close()

    # -- answers as values: the ladder decides what they mean

    def place(self, place: Place) -> Answer:
        terms = OrderTerms(
            symbol=place.ticker,
            side=place.side,
            qty=place.qty,
            type="market" if place.limit_price is None else "limit",
            time_in_force=place.time_in_force,
            limit_price=place.limit_price,
            # Alpaca itself then refuses an order that would cross zero.
            position_intent=None if "/" in place.ticker else _INTENTS[place.kind, place.side],
        )
        return self._calls.submit(terms, place.client_order_id)

    def cancel(self, order_id: str) -> Answer:
        return self._calls.cancel(order_id)

    def look_up(self, client_order_id: str) -> Answer:
        return self._calls.look_up(client_order_id)

    # -- answers that are needed: all of these raise VenueFailed

    def account(self) -> OrderData:
        """Alpaca's account object."""
        return self._calls.account()

    def position(self, ticker: str) -> Decimal:
        """What the account holds of the ticker, by whomever it was bought; negative when short."""
        found = self._calls.position(ticker)
        return Decimal(0) if found is None else Decimal(str(found["qty"]))

    def open_orders(self, ticker: str) -> list[OrderData]:
        """The ticker's open orders, of everybody on the account."""
        return self._calls.open_orders(ticker)

    def all_orders(
        self,
        ticker: str,
        max_pages: int = MOST_PAGES,
        pause: Callable[[float], object] = time.sleep,
    ) -> list[OrderData]:
        """Every order of the ticker that Alpaca knows, newest first.

        Raises:
            TooManyOrders: more than is read.
        """
        return self._calls.all_orders(ticker, max_pages, pause)

    def asset(self, ticker: str) -> Mapping[str, Any]:
        """Raises:
        UnknownTicker: Alpaca has no such asset.
        """
        # A slash would end the path's part; Alpaca takes a pair by its escaped name.
        path = f"/assets/{ticker.replace('/', '%2F')}"
        found: Mapping[str, Any] | None = self._need("the asset", self._trading, path)
        if found is None:
            raise UnknownTicker(f"Alpaca does not know the ticker {ticker}")
        return found

    def clock(self, ticker: str) -> Clock:
        """The ticker's market: pairs trade around the clock, each day of UTC is a session."""
        if "/" in ticker:
            return Clock(is_open=True, session=f"{datetime.now(UTC):%Y-%m-%d}")
        found = self._need("the clock", self._trading, "/clock") or {}
        return Clock(is_open=bool(found.get("is_open")), session=str(found.get("timestamp"))[:10])

    def latest_trade(self, ticker: str) -> LatestTrade | None:
        """None where it never traded."""
        if "/" in ticker:
            path, words = "/crypto/us/latest/trades", {"symbols": ticker}
            found = self._need("the latest trade", self._data, path, words, "v1beta3") or {}
        else:
            path, words = f"/stocks/{ticker}/trades/latest", {"feed": self._feed}
            found = self._need("the latest trade", self._data, path, words) or {}
        trade = found.get("trade") or (found.get("trades") or {}).get(ticker) or {}
        price = decimal_or_none(trade.get("p"))
        return None if price is None else LatestTrade(price=price, timestamp=str(trade.get("t")))

    def charges(self, after: str, page_token: str | None = None) -> list[Mapping[str, Any]]:
        """The account's executions and the fees of its pairs from a moment on, oldest first: one
        page of the activities of the types FILL and CFEE."""
        words = {"activity_types": "FILL,CFEE", "after": after, "direction": "asc"}
        if page_token is not None:
            words["page_token"] = page_token
        found: list[Mapping[str, Any]] | None = self._need(
            "the fees", self._trading, "/account/activities", words
        )
        return found or []

    def facts(
        self, ticker: str, since: str | None, given_up: Callable[[], bool] = lambda: False
    ) -> Facts:
        """What the check before a session compares. `since`: when the ladder was last seen.
        A data API that does not answer, or does not carry the ticker, is no reason to send nothing
        all day: its prices are None then. `given_up` is looked at between the requests, of which
        there are up to `FACTS_REQUESTS`.

        Raises:
            UnknownTicker: Alpaca has no such asset.
        """

        def still(question: Callable[[], _T]) -> _T:
            if given_up():
                raise VenueFailed("the check before a session", Lost(reason="given up"))
            return question()

        asset = still(lambda: self.asset(ticker))
        clock = still(lambda: self.clock(ticker))
        latest = still(lambda: _or_none(lambda: self.latest_trade(ticker)))
        actions = still(lambda: self._corporate_actions(ticker, since))
        splits = [decimal_or_none(each.get("qty")) for each in actions if _is(each, "SPLIT")]
        return Facts(
            session=clock.session,
            account_qty=still(lambda: self.position(ticker)),
            status=str(asset.get("status")),
            tradable=bool(asset.get("tradable")),
            shortable=bool(asset.get("shortable")),
            fractionable=bool(asset.get("fractionable")),
            previous_close=still(lambda: _or_none(lambda: self._previous_close(ticker))),
            latest_price=None if latest is None else latest.price,
            split_change=sum((qty for qty in splits if qty is not None), Decimal(0)),
            corporate=tuple(dict.fromkeys(str(each.get("activity_type")) for each in actions)),
        )

    def _previous_close(self, ticker: str) -> Decimal | None:
        if "/" in ticker:
            return None  # no session ever closes
        words = {"feed": self._feed}
        found = self._need("the snapshot", self._data, f"/stocks/{ticker}/snapshot", words) or {}
        return decimal_or_none((found.get("prevDailyBar") or {}).get("c"))

    def _corporate_actions(self, ticker: str, since: str | None) -> list[Mapping[str, Any]]:
        if since is None or "/" in ticker:
            return []
        words = {"activity_types": ",".join(_CORPORATE), "after": since}
        found = self._need("the activities", self._trading, "/account/activities", words) or []
        return [each for each in found if each.get("symbol") == ticker]

    def _need(
        self,
        what: str,
        client: Any,
        path: str,
        words: Mapping[str, str] | None = None,
        version: str = "v2",
    ) -> Any:
        """The answer's JSON; None for 404."""
        return _attempt(what, lambda: client.get(path, dict(words or {}), api_version=version))


def _or_none(question: Callable[[], _T]) -> _T | None:
    try:
        return question()
    except VenueFailed as error:
        if error.rate_limited:
            raise
        log.warning("scale_t.price_not_told", reason=str(error))
        return None


def _is(activity: Mapping[str, Any], kind: str) -> bool:
    return activity.get("activity_type") == kind


def _rest(endpoints: Endpoints, url: str, timeout_s: float) -> Any:
    """alpaca-py's own REST client, which sleeps and repeats by itself: here it does neither."""
    from alpaca.common.rest import RESTClient  # noqa: PLC0415  (slow to import)

    client = RESTClient(url, endpoints.key, endpoints.secret, raw_data=True)
    client._retry = 0
    session = client._session
    session.request = functools.partial(  # type: ignore[method-assign]
        session.request, timeout=(min(2.0, timeout_s), timeout_s)
    )
    return client


def _attempt(what: str, call: Callable[[], Any]) -> Any:
    import requests  # noqa: PLC0415  (comes with alpaca-py)
    from alpaca.common.exceptions import APIError  # noqa: PLC0415

    try:
        return call()
    except APIError as error:
        if error.status_code == 404:
            return None
        status = error.status_code
        if status is None or status >= 500:
            raise VenueFailed(what, Lost(reason=f"HTTP {status}")) from error
        raise VenueFailed(what, Refused(status=status, message=str(error)[:200])) from error
    except requests.RequestException as error:
        raise VenueFailed(what, Lost(reason=f"{type(error).__name__}"[:200])) from error
