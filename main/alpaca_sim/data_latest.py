"""The latest trade, quote and bar of a ticker, snapshots and order books. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from .bars import MINUTE_NS, OpenBar, sealed_bar
from .conditions import sets_last
from .data_wire import Wire, bar_wire, quote_wire, trade_wire
from .history import History
from .messages import Quote, Trade

_DELAY_NS = {"delayed_sip": 900_000_000_000}


class LatestValues:
    """Reads the history as of now, or as of 15 minutes ago for `delayed_sip`."""

    def __init__(self, history: History) -> None:
        self._history = history

    def of(self, kind: str, symbol: str, now_ns: int, feed: str | None) -> Wire | None:
        """The latest of `trades`, `quotes` or `bars`; None if there is none."""
        as_of_ns = now_ns - _DELAY_NS[feed] if feed in _DELAY_NS else None
        if kind == "trades":
            trade = self._trade(symbol, as_of_ns)
            return trade_wire(trade, self._history.update_of(trade)) if trade else None
        if kind == "quotes":
            quote = self._quote(symbol, as_of_ns)
            return quote_wire(quote) if quote else None
        bars = self._history.bars.minutes(symbol)
        if as_of_ns is not None:
            bars = [bar for bar in bars if bar.start_ns + MINUTE_NS <= as_of_ns]
        return _last_bar(bars, symbol)

    def snapshot(self, symbol: str, now_ns: int, feed: str | None) -> Wire:
        """All that there is; parts that do not exist are left out."""
        today = self._history.bars.day_start(symbol, now_ns)
        days = self._history.bars.days(symbol)
        parts: dict[str, Wire | None] = {
            "latestTrade": self.of("trades", symbol, now_ns, feed),
            "latestQuote": self.of("quotes", symbol, now_ns, feed),
            "minuteBar": self.of("bars", symbol, now_ns, feed),
            "dailyBar": _last_bar([bar for bar in days if bar.start_ns >= today], symbol),
            "prevDailyBar": _last_bar([bar for bar in days if bar.start_ns < today], symbol),
        }
        return {name: wire for name, wire in parts.items() if wire}

    def book(self, symbol: str) -> Wire | None:
        """A pair's order book, one level deep."""
        quote = self._history.last_quote(symbol)
        if quote is None:
            return None
        return {
            "t": quote.timestamp.rfc3339(),
            "b": [{"p": quote.bid_price, "s": quote.bid_size}],
            "a": [{"p": quote.ask_price, "s": quote.ask_size}],
        }

    def _trade(self, symbol: str, as_of_ns: int | None) -> Trade | None:
        if as_of_ns is None:
            return self._history.last_trade(symbol)
        for trade in reversed(self._history.trades(symbol)):
            conditions = trade.conditions if isinstance(trade.conditions, tuple) else ()
            if trade.timestamp.ns <= as_of_ns and sets_last(conditions, str(trade.tape)):
                return trade
        return None

    def _quote(self, symbol: str, as_of_ns: int | None) -> Quote | None:
        if as_of_ns is None:
            return self._history.last_quote(symbol)
        quotes = reversed(self._history.quotes(symbol))
        return next((quote for quote in quotes if quote.timestamp.ns <= as_of_ns), None)


def _last_bar(bars: Sequence[OpenBar], symbol: str) -> Wire | None:
    existing = next((bar for bar in reversed(bars) if bar.exists), None)
    return bar_wire(sealed_bar(existing, symbol)) if existing else None
