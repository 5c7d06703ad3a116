"""When the market trades, by Alpaca's own clock and calendar: half days and holidays included."""

from __future__ import annotations

import time
from datetime import UTC, date, datetime, timedelta
from datetime import time as time_of_day
from typing import Any, Final

import structlog

from ..utils.redis.messages import parse_rfc3339
from .rest import RestRefused, RestUnavailable, TradingRest
from .sale_conditions import NEW_YORK, in_regular_hours

log: Final = structlog.get_logger("tickerbus.market_clock")

_CLOCK_EVERY_S: Final = 600.0
_CALENDAR_DAYS: Final = 7


class MarketClock:
    """What was last heard of the sessions. Reading is for any thread, `refresh` for one."""

    def __init__(self, rest: TradingRest) -> None:
        self._rest = rest
        self._sessions: dict[date, tuple[float, float]] = {}
        self._calendar_day: date | None = None
        self._open: bool | None = None
        # All measured on the monotonic clock: ours may be set while we run.
        self._next_change_s = self._heard_s = 0.0
        self._alpaca_heard: tuple[int, int] | None = None  # (Alpaca's time, our monotonic), ns

    def is_open(self) -> bool:
        """Whether the regular session is on now; by the hours alone before Alpaca was asked."""
        if self._open is None:
            return in_regular_hours(time.time())
        return self._open if time.monotonic() < self._next_change_s else not self._open

    def next_change_ns(self) -> int | None:
        """When the regular session opens or closes next, Unix ns by Alpaca's clock; None before
        Alpaca was asked, and from that moment until it is asked again."""
        left_s = self._next_change_s - time.monotonic()
        if self._open is None or left_s <= 0:
            return None
        return self.alpaca_ns() + int(left_s * 1e9)

    def alpaca_ns(self) -> int:
        """The time by Alpaca's clock, Unix ns; by ours before it was asked."""
        if self._alpaca_heard is None:
            return time.time_ns()
        theirs, ours = self._alpaca_heard
        return theirs + time.monotonic_ns() - ours

    def is_regular(self, unix_s: float) -> bool:
        """Whether a moment of the last days lies in a regular session."""
        day = datetime.fromtimestamp(unix_s, NEW_YORK).date()
        if self._calendar_day is None or abs((day - self._calendar_day).days) > _CALENDAR_DAYS:
            return in_regular_hours(unix_s)
        opens, closes = self._sessions.get(day, (0.0, 0.0))
        return opens <= unix_s < closes

    def refresh(self) -> None:
        """Ask Alpaca, if it is time to."""
        now = time.monotonic()
        if self._heard_s and now - self._heard_s < _CLOCK_EVERY_S and now < self._next_change_s:
            return
        try:
            self._hear_clock(self._rest.clock())
            today = datetime.fromtimestamp(self.alpaca_ns() / 1e9, NEW_YORK).date()
            if self._calendar_day != today:
                self._hear_calendar(today)
        except (RestUnavailable, RestRefused, KeyError, ValueError) as error:
            log.info("market_clock.not_heard", error=str(error))

    def _hear_clock(self, clock: dict[str, Any]) -> None:
        change = clock["next_close"] if clock["is_open"] else clock["next_open"]
        theirs = parse_rfc3339(clock["timestamp"])
        away_s = (parse_rfc3339(change) - theirs) / 1e9
        self._alpaca_heard = (theirs, time.monotonic_ns())
        self._open, self._heard_s = bool(clock["is_open"]), time.monotonic()
        self._next_change_s = self._heard_s + max(1.0, away_s)

    def _hear_calendar(self, today: date) -> None:
        span = timedelta(days=_CALENDAR_DAYS)
        sessions = {}
        for session in self._rest.calendar(today - span, today + span):
            day = date.fromisoformat(session["date"])
            sessions[day] = (_moment(day, session["open"]), _moment(day, session["close"]))
        self._sessions, self._calendar_day = sessions, today


def _moment(day: date, hours_minutes: str) -> float:
    at = time_of_day.fromisoformat(hours_minutes)
    return datetime.combine(day, at, NEW_YORK).astimezone(UTC).timestamp()
