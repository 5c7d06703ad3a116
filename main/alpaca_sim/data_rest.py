"""The market-data REST API, answered from what was really streamed. Pure."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .bars import BarBook, OpenBar, new_york_midnight, sealed_bar
from .config import StreamRules
from .data_latest import LatestValues
from .data_meta import CONDITIONS, EXCHANGES
from .data_query import (
    HISTORICAL_FEEDS,
    LATEST_FEEDS,
    BadQuery,
    PageToken,
    RangeQuery,
    check_currency,
    check_feed,
    check_symbol,
    read_range,
    read_symbols,
    read_timeframe,
)
from .data_wire import Wire, bar_wire, quote_wire, trade_wire
from .feeds import FEED_BY_NAME, Feed
from .history import History
from .venue_config import Reply

Query = Mapping[str, str]
_STOCKS, _CRYPTO = FEED_BY_NAME["sip"], FEED_BY_NAME["crypto"]
_CRYPTO_PLACES = frozenset({"us", "us-1", "us-2", "eu-1", "bs-1"})


@dataclass(frozen=True)
class _Source:
    """One ticker's items in the order of their times; made into objects only when wanted."""

    items: Sequence[Any]
    at: Callable[[Any], int]
    wire: Callable[[Any], Wire]

    def selected(self, symbol: str, wanted: RangeQuery) -> range:
        """The indexes of a page, in the order in which they are answered."""
        first = bisect_left(self.items, wanted.start_ns, key=self.at)
        last = bisect_right(self.items, wanted.end_ns, key=self.at)
        after = wanted.after
        if after is not None and after.symbol == symbol:
            seen = bisect_left(self.items, after.at_ns, key=self.at) + after.ordinal
            if wanted.descending:
                last = min(last, seen)
            else:
                first = max(first, seen + 1)
        return range(last - 1, first - 1, -1) if wanted.descending else range(first, last)

    def token(self, symbol: str, index: int) -> PageToken:
        """Where a page ended. Items of one moment are told apart by their place among them."""
        at_ns = self.at(self.items[index])
        ordinal = index - bisect_left(self.items, at_ns, key=self.at)
        return PageToken(symbol=symbol, at_ns=at_ns, ordinal=ordinal)


class DataRest:
    """Answers market-data requests. `touch` brings a ticker to life."""

    def __init__(
        self, history: History, rules: StreamRules, touch: Callable[[str, int], object]
    ) -> None:
        self._history = history
        self._rules = rules
        self._touch = touch
        self._latest = LatestValues(history)

    def request(self, path: str, query: Query, now_ns: int) -> Reply | None:
        """The answer, or None if this is not a path of the market-data API."""
        parts = path.strip("/").split("/")
        try:
            match parts:
                case ["v2", "stocks", *rest]:
                    return self._stocks(rest, query, now_ns)
                case ["v1beta3", "crypto", place, *rest] if place in _CRYPTO_PLACES:
                    return self._crypto(rest, query, now_ns)
                case _:
                    return None
        except BadQuery as refusal:
            return Reply(status=refusal.status, body={"message": str(refusal)})

    def _stocks(self, parts: Sequence[str], query: Query, now_ns: int) -> Reply | None:
        check_currency(query)
        match parts:
            case [("bars" | "trades" | "quotes") as kind]:
                return self._history_of(kind, _STOCKS, query, now_ns)
            case [("bars" | "trades" | "quotes") as kind, "latest"]:
                return self._latest_of(kind, _STOCKS, query, now_ns)
            case ["snapshots"]:
                return Reply(status=200, body=self._snapshots(_STOCKS, query, now_ns))
            case ["meta", "exchanges"]:
                return Reply(status=200, body=EXCHANGES)
            case ["meta", "conditions", tick_type]:
                return _conditions(tick_type, query)
            case [symbol, "snapshot"]:
                return self._one_snapshot(symbol, query, now_ns)
            case [symbol, ("bars" | "trades" | "quotes") as kind]:
                return self._one_history(kind, symbol, query, now_ns)
            case [symbol, ("bars" | "trades" | "quotes") as kind, "latest"]:
                return self._one_latest(kind, symbol, query, now_ns)
            case _:
                return None

    def _crypto(self, parts: Sequence[str], query: Query, now_ns: int) -> Reply | None:
        match parts:
            case [("bars" | "trades" | "quotes") as kind]:
                return self._history_of(kind, _CRYPTO, query, now_ns)
            case ["latest", ("bars" | "trades" | "quotes") as kind]:
                return self._latest_of(kind, _CRYPTO, query, now_ns)
            case ["latest", "orderbooks"]:
                return Reply(status=200, body={"orderbooks": self._books(query, now_ns)})
            case ["snapshots"]:
                found = self._snapshots(_CRYPTO, query, now_ns)
                return Reply(status=200, body={"snapshots": found})
            case _:
                return None

    # Historical ranges

    def _history_of(self, kind: str, feed: Feed, query: Query, now_ns: int) -> Reply:
        self._check_historical(feed, query)
        wanted = read_range(query, read_symbols(query, feed), now_ns)
        rows, token = self._page(kind, wanted, query, now_ns)
        return Reply(status=200, body={kind: rows, "next_page_token": token})

    def _one_history(self, kind: str, symbol: str, query: Query, now_ns: int) -> Reply:
        check_symbol(symbol, _STOCKS)
        self._check_historical(_STOCKS, query)
        rows, token = self._page(kind, read_range(query, (symbol,), now_ns), query, now_ns)
        body = {kind: rows.get(symbol, []), "symbol": symbol, "next_page_token": token}
        return Reply(status=200, body=body)

    def _check_historical(self, feed: Feed, query: Query) -> None:
        if feed is _STOCKS:
            check_feed(query, HISTORICAL_FEEDS, self._rules.refused_feeds)

    def _page(
        self, kind: str, wanted: RangeQuery, query: Query, now_ns: int
    ) -> tuple[dict[str, list[Wire]], str | None]:
        pages: dict[str, list[Wire]] = {}
        room, last = wanted.limit, None
        for symbol in wanted.symbols:
            if wanted.after and symbol < wanted.after.symbol:
                continue
            self._touch(symbol, now_ns)
            source = self._source(kind, symbol, query)
            for index in source.selected(symbol, wanted):
                if not room:
                    return pages, last.encode() if last else None
                pages.setdefault(symbol, []).append(source.wire(source.items[index]))
                last = source.token(symbol, index)
                room -= 1
        return pages, None

    def _source(self, kind: str, symbol: str, query: Query) -> _Source:
        history = self._history
        if kind == "trades":
            # IEX has its own trades only.
            own = query.get("feed") == "iex"
            return _Source(
                [t for t in history.trades(symbol) if not own or t.exchange == "V"],
                lambda trade: trade.timestamp.ns,
                lambda trade: trade_wire(trade, history.update_of(trade)),
            )
        if kind == "quotes":
            return _Source(history.quotes(symbol), lambda quote: quote.timestamp.ns, quote_wire)
        bars = [bar for bar in _bars_for(history.bars, symbol, query) if bar.exists]
        return _Source(
            bars, lambda bar: bar.start_ns, lambda bar: bar_wire(sealed_bar(bar, symbol))
        )

    # Latest values

    def _latest_of(self, kind: str, feed: Feed, query: Query, now_ns: int) -> Reply:
        if feed is _STOCKS:
            check_feed(query, LATEST_FEEDS, self._rules.refused_feeds)
        found = {
            symbol: self._latest.of(kind, symbol, now_ns, query.get("feed"))
            for symbol in self._awake(read_symbols(query, feed), now_ns)
        }
        return Reply(status=200, body={kind: {s: wire for s, wire in found.items() if wire}})

    def _one_latest(self, kind: str, symbol: str, query: Query, now_ns: int) -> Reply:
        check_symbol(symbol, _STOCKS)
        check_feed(query, LATEST_FEEDS, self._rules.refused_feeds)
        self._touch(symbol, now_ns)
        wire = self._latest.of(kind, symbol, now_ns, query.get("feed"))
        if wire is None:
            raise BadQuery(f"no {kind[:-1]} found for {symbol}", 404)
        return Reply(status=200, body={kind[:-1]: wire, "symbol": symbol})

    def _snapshots(self, feed: Feed, query: Query, now_ns: int) -> dict[str, Wire]:
        if feed is _STOCKS:
            check_feed(query, LATEST_FEEDS, self._rules.refused_feeds)
        found = {
            symbol: self._latest.snapshot(symbol, now_ns, query.get("feed"))
            for symbol in self._awake(read_symbols(query, feed), now_ns)
        }
        return {symbol: snapshot for symbol, snapshot in found.items() if snapshot}

    def _one_snapshot(self, symbol: str, query: Query, now_ns: int) -> Reply:
        check_symbol(symbol, _STOCKS)
        check_feed(query, LATEST_FEEDS, self._rules.refused_feeds)
        self._touch(symbol, now_ns)
        snapshot = self._latest.snapshot(symbol, now_ns, query.get("feed"))
        if not snapshot:
            raise BadQuery(f"no snapshot found for {symbol}", 404)
        return Reply(status=200, body={"symbol": symbol} | snapshot)

    def _books(self, query: Query, now_ns: int) -> dict[str, Wire]:
        symbols = self._awake(read_symbols(query, _CRYPTO), now_ns)
        found = {symbol: self._latest.book(symbol) for symbol in symbols}
        return {symbol: book for symbol, book in found.items() if book}

    def _awake(self, symbols: Sequence[str], now_ns: int) -> Sequence[str]:
        for symbol in symbols:
            self._touch(symbol, now_ns)
        return symbols


def _bars_for(book: BarBook, symbol: str, query: Query) -> list[OpenBar]:
    start_of = read_timeframe(query.get("timeframe"))
    if start_of is new_york_midnight:
        return book.days(symbol)
    return book.aggregated(symbol, start_of)


def _conditions(tick_type: str, query: Query) -> Reply:
    tape = query.get("tape")
    if tick_type not in ("trade", "quote"):
        raise BadQuery(f"invalid tick type: {tick_type}")
    if tape not in ("A", "B", "C"):
        raise BadQuery(f"invalid tape: {tape}")
    return Reply(status=200, body=CONDITIONS[tick_type, tape])
