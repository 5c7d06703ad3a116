"""The parameters of a market-data request, read and judged. Pure.

Limits and defaults are those of Alpaca's OpenAPI description (S2).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial

from .bars import MINUTE_NS, month_start, new_york_midnight, week_start
from .clock import parse_time
from .feeds import Feed
from .messages import rfc3339

HISTORICAL_FEEDS = frozenset({"sip", "iex", "otc", "boats"})
LATEST_FEEDS = HISTORICAL_FEEDS | {"delayed_sip", "overnight"}
_NOT_SIMULATED = frozenset({"otc", "boats", "overnight"})
_MINUTES = {"MIN": 1, "T": 1, "HOUR": 60, "H": 60}
_MOST = {"MIN": 59, "T": 59, "HOUR": 23, "H": 23}


class BadQuery(Exception):
    """A parameter that Alpaca refuses. `status` is the HTTP status; the text is the message."""

    def __init__(self, message: str, status: int = 400) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True, kw_only=True)
class RangeQuery:
    """One request for historical data."""

    symbols: tuple[str, ...]
    start_ns: int
    end_ns: int
    limit: int
    descending: bool
    after: PageToken | None


@dataclass(frozen=True, kw_only=True, order=True)
class PageToken:
    """Where the last page ended. Opaque to clients."""

    symbol: str
    at_ns: int
    ordinal: int

    def encode(self) -> str:
        """As it travels: base64 of symbol, time and position."""
        text = f"{self.symbol}|{rfc3339(self.at_ns)}|{self.ordinal}"
        return base64.b64encode(text.encode()).decode()

    @classmethod
    def decode(cls, token: str) -> PageToken:
        """Raises BadQuery for what this simulator has never issued."""
        try:
            symbol, at, ordinal = base64.b64decode(token, validate=True).decode().split("|")
            return cls(symbol=symbol, at_ns=parse_time(at), ordinal=int(ordinal))
        except (ValueError, binascii.Error, OverflowError) as error:
            raise BadQuery("invalid page token") from error


def read_range(
    query: Mapping[str, str], symbols: tuple[str, ...], now_ns: int, *, max_limit: int = 10_000
) -> RangeQuery:
    """start, end, limit, sort and page_token. Raises BadQuery."""
    start = _moment(query, "start", new_york_midnight(now_ns))
    end = _moment(query, "end", now_ns)
    if end < start:
        raise BadQuery("end should not be before start")
    sort = query.get("sort", "asc")
    if sort not in ("asc", "desc"):
        raise BadQuery(f"invalid sort: {sort}")
    token = query.get("page_token")
    return RangeQuery(
        symbols=symbols,
        start_ns=start,
        end_ns=end,
        limit=_limit(query, max_limit),
        descending=sort == "desc",
        after=PageToken.decode(token) if token else None,
    )


def read_symbols(query: Mapping[str, str], feed: Feed) -> tuple[str, ...]:
    """The `symbols` parameter, sorted. Raises BadQuery."""
    symbols = [symbol.strip() for symbol in query.get("symbols", "").split(",") if symbol.strip()]
    if not symbols:
        raise BadQuery("symbols is required")
    for symbol in symbols:
        check_symbol(symbol, feed)
    return tuple(sorted(set(symbols)))


def check_symbol(symbol: str, feed: Feed) -> None:
    """Raises BadQuery if this cannot be a symbol of the feed."""
    if not feed.symbol.fullmatch(symbol):
        raise BadQuery(f"invalid symbol: {symbol}")


def check_feed(query: Mapping[str, str], allowed: frozenset[str], refused: tuple[str, ...]) -> None:
    """The `feed` parameter.

    Raises BadQuery: 400 for an unknown one, 403 beyond the plan, 501 for one not simulated.
    """
    feed = query.get("feed", "sip")
    if feed not in allowed:
        raise BadQuery(f"invalid feed: {feed}")
    if feed in _NOT_SIMULATED:
        raise BadQuery(f"feed {feed} is not implemented", 501)
    if feed in refused:
        raise BadQuery(f"subscription does not permit querying recent {feed.upper()} data", 403)


def check_currency(query: Mapping[str, str]) -> None:
    """Prices are in US dollars; another currency is not simulated."""
    if query.get("currency", "USD") != "USD":
        raise BadQuery("currency conversion is not implemented", 501)


def read_timeframe(text: str | None) -> Callable[[int], int]:
    """A function from a moment to the start of its bar. Raises BadQuery.

    [1-59]Min, [1-23]Hour, 1Day, 1Week, [1,2,3,4,6,12]Month, and T, H, D, W, M.
    """
    if not text:
        raise BadQuery("timeframe is required")
    digits = text[: len(text) - len(text.lstrip("0123456789"))]
    unit, count = text[len(digits) :].upper(), int(digits or "1")
    if unit in _MINUTES and 1 <= count <= _MOST[unit]:
        return partial(_block_start, count * _MINUTES[unit])
    if unit in ("DAY", "D") and count == 1:
        return new_york_midnight
    if unit in ("WEEK", "W") and count == 1:
        return week_start
    if unit in ("MONTH", "M") and count in (1, 2, 3, 4, 6, 12):
        return partial(_month_block, count)
    raise BadQuery(f"invalid timeframe: {text}")


def _block_start(minutes: int, at_ns: int) -> int:
    midnight = new_york_midnight(at_ns)
    return midnight + (at_ns - midnight) // (minutes * MINUTE_NS) * minutes * MINUTE_NS


def _month_block(months: int, at_ns: int) -> int:
    return month_start(at_ns, months)


def _moment(query: Mapping[str, str], name: str, default: int) -> int:
    text = query.get(name)
    if not text:
        return default
    try:
        return parse_time(text.replace(" ", "+"))
    except (ValueError, OverflowError) as error:
        raise BadQuery(f"invalid {name}: {text}") from error


def _limit(query: Mapping[str, str], most: int) -> int:
    text = query.get("limit")
    if text is None:
        return min(1_000, most)
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= most:
        raise BadQuery(f"invalid limit: {text}")
    return int(text)
