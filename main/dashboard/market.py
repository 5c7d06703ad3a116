"""Pure: whether the stock market trades now: as the broker says, or else by the usual hours."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from typing import Final
from zoneinfo import ZoneInfo

NEW_YORK: Final = ZoneInfo("America/New_York")
OPENS: Final = time(9, 30)
CLOSES: Final = time(16, 0)
SATURDAY: Final = 5


@dataclass(frozen=True, kw_only=True)
class Market:
    """The regular session of US stocks. `by_broker`: Alpaca's clock says so; else the usual hours
    do, without holidays. `changes_s` is the next opening or close, where it is known."""

    is_open: bool
    changes_s: float | None
    by_broker: bool

    @property
    def source(self) -> str:
        return "by Alpaca's clock" if self.by_broker else "by the usual hours, holidays not counted"


def usual_hours(now_s: float) -> Market:
    """Monday to Friday, 9:30 to 16:00 in New York."""
    now = datetime.fromtimestamp(now_s, NEW_YORK)
    day = now.date()
    opens, closes = (datetime.combine(day, at, NEW_YORK) for at in (OPENS, CLOSES))
    weekday = day.weekday() < SATURDAY
    if weekday and opens <= now < closes:
        return Market(is_open=True, changes_s=closes.timestamp(), by_broker=False)
    if not weekday or now >= closes:
        day += timedelta(days=1)
        while day.weekday() >= SATURDAY:
            day += timedelta(days=1)
    opening = datetime.combine(day, OPENS, NEW_YORK)
    return Market(is_open=False, changes_s=opening.timestamp(), by_broker=False)


def day_begins_s(now_s: float) -> float:
    """Midnight in New York: when the trading day of `now_s` began."""
    midnight = datetime.combine(datetime.fromtimestamp(now_s, NEW_YORK).date(), time(), NEW_YORK)
    return midnight.astimezone(UTC).timestamp()
