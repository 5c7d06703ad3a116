"""Which symbols Alpaca knows: asked before they go upstream, because one that it does not know
can make it refuse a whole request."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from .registry import is_crypto
from .rest import Asset, RestUnavailable, TradingRest

_ONE_BY_ONE: Final = 5  # up to so many unknown symbols, single look-ups are quicker than the list
_QUOTE_CURRENCIES: Final = ("USDT", "USDC", "USD", "BTC")


class AssetList:
    """A memory of Alpaca's asset list. The registration and the order thread use it."""

    def __init__(self, rest: TradingRest) -> None:
        self._rest = rest
        self._known: dict[str, Asset | None] = {}
        self._pairs: dict[str, str] | None = None

    def judge(self, tickers: Iterable[str]) -> dict[str, str]:
        """The reason, for each ticker that cannot be followed.

        Raises:
            RestUnavailable, RestRefused: the list could not be asked.
        """
        wanted = list(tickers)
        unknown = [ticker for ticker in wanted if ticker not in self._known]
        if len(unknown) > _ONE_BY_ONE:
            self._known.update({asset.symbol: asset for asset in self._rest.assets()})
            unknown = [ticker for ticker in unknown if ticker not in self._known]
        for ticker in unknown[: 10 * _ONE_BY_ONE]:
            self._known[ticker] = self._rest.asset(ticker)
        return {ticker: reason for ticker in wanted if (reason := self._reason(ticker))}

    def _reason(self, ticker: str) -> str | None:
        asset = self._known.get(ticker)
        if asset is None or asset.status != "active":
            self._known.pop(ticker, None)  # it may be listed tomorrow
            return "unknown_ticker"
        expected = "crypto" if is_crypto(ticker) else "us_equity"
        return None if asset.asset_class == expected else "unsupported_asset_class"

    def pair(self, symbol: str) -> str:
        """`BTC/USD` for the `BTCUSD` of a crypto order."""
        if "/" in symbol:
            return symbol
        if self._pairs is None:
            try:
                pairs = self._rest.assets("crypto")
            except RestUnavailable:
                return _split_pair(symbol)  # asked again with the next order
            self._pairs = {asset.symbol.replace("/", ""): asset.symbol for asset in pairs}
        return self._pairs.get(symbol) or _split_pair(symbol)


def _split_pair(symbol: str) -> str:
    for currency in _QUOTE_CURRENCIES:
        if symbol.endswith(currency) and len(symbol) > len(currency):
            return f"{symbol[: -len(currency)]}/{currency}"
    return symbol
