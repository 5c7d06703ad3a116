"""Bars built from trades by Alpaca's rules (D6). Pure.

A bar is labelled with its start, covers start <= t < end, and does not exist without a trade
that may set its prices. Odd lots count for volume only.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar
from zoneinfo import ZoneInfo

from .conditions import counts_volume, sets_last, sets_range
from .messages import Bar, BarBody, DailyBar, Timestamp, Trade, UpdatedBar

MINUTE_NS = 60_000_000_000
_NEW_YORK = ZoneInfo("America/New_York")
_KEEP_MINUTES = 3_000
_REGULAR: tuple[str, ...] = ()
_B = TypeVar("_B", bound=BarBody)


class OpenBar:
    """A bar in the making."""

    __slots__ = (
        "_close_ns",
        "_open_ns",
        "_turnover",
        "close",
        "count",
        "high",
        "low",
        "open",
        "start_ns",
        "volume",
    )

    def __init__(self, start_ns: int) -> None:
        self.start_ns = start_ns
        self.open = self.high = self.low = self.close = 0.0
        self.volume = 0.0
        self.count = 0
        self._turnover = 0.0
        self._open_ns = self._close_ns = 0

    @property
    def exists(self) -> bool:
        """Alpaca sends no bar of which a part would be zero."""
        return self.open > 0 and self.low > 0 and self.volume > 0

    def add(self, trade: Trade, *, daily: bool = False) -> None:
        """Count one trade."""
        conditions = trade.conditions if isinstance(trade.conditions, tuple) else _REGULAR
        tape = trade.tape if isinstance(trade.tape, str) else "C"
        if counts_volume(conditions):
            self.volume += trade.size
            self.count += 1
            self._turnover += trade.size * trade.price
        if sets_range(conditions, tape, daily=daily):
            self.high = max(self.high, trade.price)
            self.low = min(self.low, trade.price) if self.low else trade.price
        if sets_last(conditions, tape, daily=daily):
            self._set_ends(trade.timestamp.ns, trade.price)

    def merge(self, other: OpenBar) -> None:
        """Count a shorter bar that is not earlier than those before."""
        if other.exists:
            self.open = self.open or other.open
            self.high = max(self.high, other.high)
            self.low = min(self.low, other.low) if self.low else other.low
            self.close = other.close
        self.volume += other.volume
        self.count += other.count
        self._turnover += other._turnover

    def sealed(self, symbol: str, kind: type[_B], *, whole_volume: bool) -> _B:
        """The bar as a message."""
        vwap = self._turnover / self.volume if self.volume else 0.0
        return kind(
            symbol=symbol,
            open=self.open,
            high=self.high,
            low=self.low,
            close=self.close,
            volume=int(self.volume) if whole_volume else round(self.volume, 9),
            timestamp=Timestamp(self.start_ns),
            trade_count=self.count,
            vwap=round(vwap, 6),
        )

    def _set_ends(self, at_ns: int, price: float) -> None:
        if not self.open or at_ns < self._open_ns:
            self.open, self._open_ns = price, at_ns
        if not self.close or at_ns >= self._close_ns:
            self.close, self._close_ns = price, at_ns
        self.high = max(self.high, price)
        self.low = min(self.low, price) if self.low else price


class BarBook:
    """The minute and day bars of every ticker."""

    def __init__(self) -> None:
        self._minutes: dict[str, dict[int, OpenBar]] = {}
        self._days: dict[str, dict[int, OpenBar]] = {}
        self._sent_to_ns: dict[str, int] = {}
        self._late: set[tuple[str, int]] = set()
        self._day_cache: dict[int, int] = {}

    def add(self, trade: Trade) -> None:
        """Count one trade, late ones too."""
        symbol, at_ns = trade.symbol, trade.timestamp.ns
        minute = at_ns - at_ns % MINUTE_NS
        _bar(self._minutes, symbol, minute).add(trade)
        _bar(self._days, symbol, self.day_start(symbol, minute)).add(trade, daily=True)
        if minute < self._sent_to_ns.get(symbol, 0):
            self._late.add((symbol, minute))

    def close_minute(self, end_ns: int) -> list[Bar]:
        """The bars of the minute that has just ended, of all tickers that traded in it."""
        start = end_ns - MINUTE_NS
        closed = []
        for symbol, minutes in self._minutes.items():
            self._sent_to_ns[symbol] = end_ns
            bar = minutes.get(start)
            if bar is not None and bar.exists:
                closed.append(_sealed(bar, symbol, Bar))
        return closed

    def updated(self) -> list[UpdatedBar]:
        """Bars that late trades changed since the last call."""
        late, self._late = self._late, set()
        changed = ((symbol, self._minutes[symbol].get(start)) for symbol, start in sorted(late))
        return [_sealed(bar, s, UpdatedBar) for s, bar in changed if bar and bar.exists]

    def daily(self, now_ns: int) -> list[DailyBar]:
        """The day so far, of every ticker that has one."""
        bars = []
        for symbol, days in self._days.items():
            bar = days.get(self.day_start(symbol, now_ns))
            if bar is not None and bar.exists:
                bars.append(_sealed(bar, symbol, DailyBar))
        return bars

    def minutes(self, symbol: str) -> list[OpenBar]:
        """The symbol's minutes, oldest first."""
        minutes = self._minutes.get(symbol, {})
        return [minutes[start] for start in sorted(minutes)]

    def days(self, symbol: str) -> list[OpenBar]:
        """The symbol's days, oldest first."""
        days = self._days.get(symbol, {})
        return [days[start] for start in sorted(days)]

    def aggregated(self, symbol: str, start_of: Callable[[int], int]) -> list[OpenBar]:
        """Minutes merged into longer bars; `start_of` maps a minute to its bar's start."""
        merged: dict[int, OpenBar] = {}
        for minute in self.minutes(symbol):
            start = start_of(minute.start_ns)
            merged.setdefault(start, OpenBar(start)).merge(minute)
        return list(merged.values())

    def day_start(self, symbol: str, at_ns: int) -> int:
        """The start of the ticker's day: midnight in New York, for crypto in UTC."""
        minute_ns = at_ns - at_ns % MINUTE_NS
        if "/" in symbol:
            return minute_ns - minute_ns % (1440 * MINUTE_NS)
        start = self._day_cache.get(minute_ns)
        if start is None:
            if len(self._day_cache) > 5_000:
                self._day_cache.clear()
            start = self._day_cache[minute_ns] = new_york_midnight(minute_ns)
        return start


def new_york_midnight(at_ns: int) -> int:
    """The start of the day in New York that holds this moment."""
    local = datetime.fromtimestamp(at_ns // 1_000_000_000, _NEW_YORK)
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    return int(midnight.timestamp()) * 1_000_000_000


def month_start(at_ns: int, months: int, zone: ZoneInfo = _NEW_YORK) -> int:
    """The start of the block of `months` calendar months that holds this moment."""
    local = datetime.fromtimestamp(at_ns // 1_000_000_000, zone)
    month = (local.month - 1) // months * months + 1
    return int(datetime(local.year, month, 1, tzinfo=zone).timestamp()) * 1_000_000_000


def week_start(at_ns: int) -> int:
    """The Monday midnight in New York before this moment."""
    day = datetime.fromtimestamp(new_york_midnight(at_ns) // 1_000_000_000, UTC)
    local = day.astimezone(_NEW_YORK)
    monday = local - timedelta(days=local.weekday())
    return int(monday.timestamp()) * 1_000_000_000


def sealed_bar(bar: OpenBar, symbol: str) -> Bar:
    """A finished bar as a message."""
    return _sealed(bar, symbol, Bar)


def _sealed(bar: OpenBar, symbol: str, kind: type[_B]) -> _B:
    return bar.sealed(symbol, kind, whole_volume="/" not in symbol)


def _bar(books: dict[str, dict[int, OpenBar]], symbol: str, start_ns: int) -> OpenBar:
    bars = books.setdefault(symbol, {})
    bar = bars.get(start_ns)
    if bar is None:
        bar = bars[start_ns] = OpenBar(start_ns)
        if len(bars) > _KEEP_MINUTES:
            del bars[min(bars)]
    return bar
