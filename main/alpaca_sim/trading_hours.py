"""When the stock market is open: a virtual session that never closes, or the real calendar.

The real calendar is imported only when it is asked for, because it brings pandas.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from typing import Protocol
from zoneinfo import ZoneInfo

from .config import SessionPhase

NEW_YORK = ZoneInfo("America/New_York")
_NS = 1_000_000_000
_MAX_CALENDAR_DAYS = 40_000


@dataclass(frozen=True, kw_only=True)
class TradingDay:
    """One day on which the market opens. Times are New York's."""

    day: date
    open: time
    close: time
    session_open: time = time(4, 0)
    session_close: time = time(20, 0)
    settlement: date

    def to_wire(self) -> dict[str, object]:
        """The object of GET /v2/calendar."""
        return {
            "date": self.day.isoformat(),
            "open": self.open.strftime("%H:%M"),
            "close": self.close.strftime("%H:%M"),
            "session_open": self.session_open.strftime("%H%M"),
            "session_close": self.session_close.strftime("%H%M"),
            "settlement_date": self.settlement.isoformat(),
        }

    def phase_ends(self) -> list[tuple[SessionPhase, int]]:
        """The day's phases, each with the moment of its end."""
        marks: list[tuple[SessionPhase, time]] = [
            ("closed", self.session_open),
            ("pre", self.open),
            ("regular", self.close),
            ("post", self.session_close),
        ]
        return [(phase, at_new_york(self.day, until)) for phase, until in marks]


class TradingHours(Protocol):
    """When the market is open."""

    name: str

    def phase(self, now_ns: int) -> tuple[SessionPhase, int]:
        """The phase, and until when it lasts (nanoseconds since 1970)."""

    def days(self, start: date, end: date) -> Sequence[TradingDay]:
        """The trading days from start to end, both included."""

    def next_open(self, now_ns: int) -> int:
        """The next regular opening after this moment."""

    def next_close(self, now_ns: int) -> int:
        """The next regular close after this moment."""


class AlwaysOpen:
    """A virtual session: regular hours around the clock, every day, in days of New York."""

    name = "virtual session, always open"

    def phase(self, now_ns: int) -> tuple[SessionPhase, int]:
        """Regular, until midnight."""
        return "regular", self.next_close(now_ns)

    def days(self, start: date, end: date) -> Sequence[TradingDay]:
        """Every day."""
        count = min((end - start).days + 1, _MAX_CALENDAR_DAYS)
        return [_virtual_day(start + timedelta(days=n)) for n in range(max(count, 0))]

    def next_open(self, now_ns: int) -> int:
        """The next midnight."""
        return at_new_york(local_date(now_ns) + timedelta(days=1), time(0, 0))

    def next_close(self, now_ns: int) -> int:
        """The next midnight."""
        return self.next_open(now_ns)


class CalendarHours:
    """The New York Stock Exchange's real sessions, with half days and holidays."""

    name = "the exchange's calendar"

    def phase(self, now_ns: int) -> tuple[SessionPhase, int]:
        """By the day's own opening and closing times."""
        today = local_date(now_ns)
        for day in self.days(today, today + timedelta(days=10)):
            for phase, until in day.phase_ends():
                if now_ns < until:
                    return phase, until
        raise ValueError("the calendar has no trading day within ten days")

    def days(self, start: date, end: date) -> Sequence[TradingDay]:
        """The exchange's sessions."""
        schedule = _exchange_days(start.year, end.year)
        return [day for day in schedule if start <= day.day <= end]

    def next_open(self, now_ns: int) -> int:
        """The next regular opening."""
        return next(at for at in self._moments(now_ns, "open") if at > now_ns)

    def next_close(self, now_ns: int) -> int:
        """The next regular close."""
        return next(at for at in self._moments(now_ns, "close") if at > now_ns)

    def _moments(self, now_ns: int, which: str) -> list[int]:
        today = local_date(now_ns)
        days = self.days(today, today + timedelta(days=14))
        return [at_new_york(day.day, getattr(day, which)) for day in days]


def hours_for(session: str) -> TradingHours:
    """The trading hours of a setting: `always` or `calendar`."""
    return CalendarHours() if session == "calendar" else AlwaysOpen()


def at_new_york(day: date, clock_time: time) -> int:
    """A wall-clock moment in New York, as nanoseconds since 1970."""
    return int(datetime.combine(day, clock_time, NEW_YORK).timestamp()) * _NS


def local_date(now_ns: int) -> date:
    """The date in New York."""
    return datetime.fromtimestamp(now_ns // _NS, NEW_YORK).date()


def _virtual_day(day: date) -> TradingDay:
    return TradingDay(
        day=day,
        open=time(0, 0),
        close=time(23, 59),
        session_open=time(0, 0),
        session_close=time(23, 59),
        settlement=day + timedelta(days=1),
    )


@lru_cache(maxsize=8)
def _exchange_days(first_year: int, last_year: int) -> tuple[TradingDay, ...]:
    import exchange_calendars  # noqa: PLC0415  (brings pandas: only when asked for)

    calendar = exchange_calendars.get_calendar(
        "XNYS", start=f"{first_year}-01-01", end=f"{last_year + 1}-02-01"
    )
    rows = [
        (row.Index.date(), row.open.astimezone(NEW_YORK), row.close.astimezone(NEW_YORK))
        for row in calendar.schedule[["open", "close"]].itertuples()
    ]
    following = [day for day, _, _ in rows[1:]]
    return tuple(
        _exchange_day(day, opens, closes, settlement)
        for (day, opens, closes), settlement in zip(rows, following, strict=False)
    )


def _exchange_day(day: date, opens: datetime, closes: datetime, settlement: date) -> TradingDay:
    half_day = closes.time() < time(16, 0)
    return TradingDay(
        day=day,
        open=opens.time(),
        close=closes.time(),
        session_close=time(17, 0) if half_day else time(20, 0),
        settlement=settlement,
    )


def clock_wire(hours: TradingHours, now_ns: int) -> dict[str, object]:
    """The object of GET /v2/clock; times with New York's offset, as Alpaca writes them."""
    return {
        "timestamp": _local_text(now_ns),
        "is_open": hours.phase(now_ns)[0] == "regular",
        "next_open": _local_text(hours.next_open(now_ns)),
        "next_close": _local_text(hours.next_close(now_ns)),
    }


def _local_text(ns: int) -> str:
    seconds, nanos = divmod(ns, _NS)
    local = datetime.fromtimestamp(seconds, UTC).astimezone(NEW_YORK)
    offset = local.strftime("%z")
    fraction = f".{nanos:09d}".rstrip("0").rstrip(".")
    return f"{local:%Y-%m-%dT%H:%M:%S}{fraction}{offset[:3]}:{offset[3:]}"
