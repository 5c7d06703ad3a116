"""Which symbols Alpaca knows: asked before they go upstream, because one that it does not know
can make it refuse a whole request."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Final

import structlog

from .registry import is_crypto
from .rest import Asset, RestRefused, RestUnavailable, TradingRest

log: Final = structlog.get_logger("tickerbus.assets")

_ONE_BY_ONE: Final = 5  # up to so many unknown symbols, single look-ups are quicker than the list
_ASK_AGAIN_S: Final = 60.0  # what Alpaca does not know, and an unanswered list of pairs
_PATIENCE_S: Final = 30.0  # for a list that nobody waits for
_QUOTE_CURRENCIES: Final = ("USDT", "USDC", "USD", "BTC")


class AssetList:
    """A memory of Alpaca's asset list. The registration and the order thread use it."""

    def __init__(self, rest: TradingRest, feed: str = "iex") -> None:
        self._rest = rest
        self._checks = feed != "test"  # its one symbol, FAKEPACA, is no asset
        self._known: dict[str, Asset] = {}
        self._unknown: dict[str, float] = {}
        self._wanted: set[str] = set()  # asset classes whose list could not be had in time
        self._pairs: dict[str, str] = {}
        self._pairs_asked_s = -_ASK_AGAIN_S

    def judge(self, tickers: Iterable[str], within_s: float = 2.5) -> dict[str, str]:
        """The reason, for each ticker that cannot be followed.

        Raises:
            RestUnavailable, RestRefused: the list could not be asked within the time.
        """
        if not self._checks:
            return {}
        wanted = list(tickers)
        now = time.monotonic()
        self._unknown = {t: s for t, s in self._unknown.items() if now - s < _ASK_AGAIN_S}
        new = [t for t in wanted if t not in self._known and t not in self._unknown]
        if len(new) > _ONE_BY_ONE:
            for asset_class in sorted({_class_of(ticker) for ticker in new}):
                self._list(asset_class, now + within_s)
            self._unknown.update(dict.fromkeys((t for t in new if t not in self._known), now))
        else:
            for ticker in new:
                self._look_up(ticker, now + within_s)
        return {ticker: reason for ticker in wanted if (reason := self._reason(ticker))}

    def _list(self, asset_class: str, deadline_s: float) -> None:
        """Some 11,000 stocks: where that takes too long, a chore asks again in its own time."""
        try:
            listed = self._rest.assets(asset_class, _left(deadline_s))
        except RestUnavailable:
            self._wanted.add(asset_class)
            raise
        self._known.update({asset.symbol: asset for asset in listed})
        self._wanted.discard(asset_class)

    def _look_up(self, ticker: str, deadline_s: float) -> None:
        asset = self._rest.asset(ticker, _left(deadline_s))
        if asset is not None and asset.status == "active":
            self._known[ticker] = asset
        else:
            self._unknown[ticker] = time.monotonic()

    def _reason(self, ticker: str) -> str | None:
        asset = self._known.get(ticker)
        if asset is None:
            return "unknown_ticker"
        return None if asset.asset_class == _class_of(ticker) else "unsupported_asset_class"

    def load_lists(self) -> None:
        """Ask for the lists that could not be had in time; in a thread that may wait."""
        for asset_class in sorted(self._wanted.copy()):
            try:
                self._list(asset_class, time.monotonic() + _PATIENCE_S)
                log.info("assets.listed", asset_class=asset_class)
            except (RestUnavailable, RestRefused) as error:
                log.info("assets.not_listed", asset_class=asset_class, error=str(error))

    def load_pairs(self) -> None:
        """Ask for the crypto pairs, once; not in the order thread, which must not wait for REST."""
        if self._pairs or time.monotonic() - self._pairs_asked_s < _ASK_AGAIN_S:
            return
        self._pairs_asked_s = time.monotonic()
        try:
            pairs = self._rest.assets("crypto")
            self._pairs = {asset.symbol.replace("/", ""): asset.symbol for asset in pairs}
        except (RestUnavailable, RestRefused) as error:
            log.info("assets.pairs_unknown", error=str(error))

    def meant(self, ticker: str) -> str | None:
        """The pair that somebody means who writes it without its slash; None if it is none."""
        return self._pairs.get(ticker)

    def pair(self, symbol: str) -> str:
        """`BTC/USD` for the `BTCUSD` of a crypto order; by its ending where the list is unknown."""
        if "/" in symbol:
            return symbol
        return self._pairs.get(symbol) or _split_pair(symbol)


def _class_of(ticker: str) -> str:
    return "crypto" if is_crypto(ticker) else "us_equity"


def _split_pair(symbol: str) -> str:
    for currency in _QUOTE_CURRENCIES:
        if symbol.endswith(currency) and len(symbol) > len(currency):
            return f"{symbol[: -len(currency)]}/{currency}"
    return symbol


def _left(deadline_s: float) -> float:
    """Seconds to a deadline. Raises RestUnavailable: it is over."""
    left_s = deadline_s - time.monotonic()
    if left_s <= 0:
        raise RestUnavailable("Alpaca's answers took too long")
    return left_s
