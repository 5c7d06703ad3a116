"""Times of the New York trading day that follow from the clock alone, without a calendar.

The phases themselves come from outside (`set_session`); half days and holidays are known there.
"""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
_SECOND = 1_000_000_000
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CLOSE = time(16, 0)
_LATE_CLOSE = time(20, 0)
_OPG_CUTOFF = time(9, 28)
_CLS_CUTOFF = time(15, 50)
_QUEUE_OPENS = time(19, 0)
_SATURDAY = 5


def new_york(time_ns: int) -> datetime:
    """New York wall clock, to the microsecond."""
    seconds, fraction = divmod(time_ns, _SECOND)
    moment = _EPOCH + timedelta(seconds=seconds, microseconds=fraction // 1_000)
    return moment.astimezone(NEW_YORK)


def day_order_expires_ns(now_ns: int, *, extended: bool) -> int:
    """The next close of a weekday: 16:00, for an extended-hours order 20:00."""
    local = new_york(now_ns)
    close = _LATE_CLOSE if extended else _CLOSE
    day = local.date() if local.time() < close else local.date() + timedelta(days=1)
    while day.weekday() >= _SATURDAY:
        day += timedelta(days=1)
    moment = datetime.combine(day, close, NEW_YORK)
    return int((moment - _EPOCH).total_seconds()) * _SECOND


def misses_auction(time_in_force: str, now_ns: int) -> bool:
    """Whether an opg or cls order comes after its cut-off and before the queue opens at 19:00."""
    local = new_york(now_ns)
    if local.weekday() >= _SATURDAY:
        return False
    cutoff = _OPG_CUTOFF if time_in_force == "opg" else _CLS_CUTOFF
    return cutoff <= local.time() < _QUEUE_OPENS
