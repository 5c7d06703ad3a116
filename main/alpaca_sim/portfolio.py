"""Portfolio history: the account's equity by the minute, and the answer that is made of it."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, NamedTuple

from .config import SessionPhase
from .new_york_day import new_york
from .refusals import invalid, unprocessable
from .wire_numbers import parse_timestamp

_SECOND = 1_000_000_000
_MINUTE = 60 * _SECOND
_DAY = 86_400 * _SECOND
_TIMEFRAMES: Mapping[str, int] = {
    "1Min": _MINUTE,
    "5Min": 5 * _MINUTE,
    "15Min": 15 * _MINUTE,
    "1H": 60 * _MINUTE,
    "1D": _DAY,
}
_PERIOD = re.compile(r"([1-9]\d{0,3})([DWMA])")
_PERIOD_DAYS = {"D": 1, "W": 7, "M": 30, "A": 365}
_REPORTING = ("market_hours", "extended_hours", "continuous")
Reporting = Literal["market_hours", "extended_hours", "continuous"]


class EquitySample(NamedTuple):
    """The equity at the end of a minute."""

    minute_ns: int
    equity: Decimal
    phase: SessionPhase


@dataclass(frozen=True, kw_only=True)
class HistoryQuery:
    """The query of GET /v2/account/portfolio/history."""

    start_ns: int
    end_ns: int
    timeframe: str
    reporting: str
    resets_daily: bool

    def includes(self, sample: EquitySample) -> bool:
        if not self.start_ns <= sample.minute_ns < self.end_ns:
            return False
        if self.timeframe == "1D" or self.reporting == "continuous":
            return True
        return sample.phase == "regular" or (
            self.reporting == "extended_hours" and sample.phase != "closed"
        )


def parse_history_query(query: Mapping[str, str], now_ns: int) -> HistoryQuery:
    """Read the parameters. Raises Refusal."""
    period, start, end = query.get("period"), query.get("start"), query.get("end")
    if period and start and end:
        raise unprocessable("only two of start, end and period can be specified")
    end = end or query.get("date_end")
    end_ns = _time(end, "end") if end else now_ns + _MINUTE
    length = _period_ns(period or "1M")
    start_ns = _time(start, "start") if start else end_ns - length
    if start and period and not end:
        end_ns = start_ns + length
    if start_ns >= end_ns:
        raise unprocessable("start must be before end")
    span = end_ns - start_ns
    timeframe = query.get("timeframe") or _default_timeframe(span)
    if timeframe not in _TIMEFRAMES:
        raise invalid("invalid timeframe")
    if timeframe != "1D" and span > 30 * _DAY + _MINUTE:
        raise unprocessable("only 1D timeframe is supported for periods longer than 30 days")
    return HistoryQuery(
        start_ns=start_ns,
        end_ns=end_ns,
        timeframe=timeframe,
        reporting=_reporting(query),
        resets_daily=_one_of(query, "pnl_reset", ("per_day", "no_reset")) == "per_day",
    )


def _reporting(query: Mapping[str, str]) -> str:
    if query.get("extended_hours", "").lower() == "true" and "intraday_reporting" not in query:
        return "extended_hours"
    return _one_of(query, "intraday_reporting", _REPORTING)


def _one_of(query: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    value = query.get(name) or allowed[0]
    if value not in allowed:
        raise invalid(f"invalid {name}")
    return value


def _time(text: str, name: str) -> int:
    try:
        return parse_timestamp(text)
    except ValueError:
        raise invalid(f"invalid {name}") from None


def _period_ns(text: str) -> int:
    match = _PERIOD.fullmatch(text)
    if match is None:
        raise invalid("invalid period")
    return int(match[1]) * _PERIOD_DAYS[match[2]] * _DAY


def _default_timeframe(span_ns: int) -> str:
    if span_ns < 7 * _DAY:
        return "1Min"
    return "15Min" if span_ns < 30 * _DAY else "1D"


class EquityHistory:
    """Equity by the minute, bounded: the oldest minutes are forgotten."""

    def __init__(self, keep_minutes: int) -> None:
        self._samples: deque[EquitySample] = deque(maxlen=keep_minutes)
        self._minute: int | None = None

    def see(self, now_ns: int, phase: SessionPhase, equity: Callable[[], Decimal]) -> None:
        """Called often; keeps one sample for each minute in which anything happened."""
        minute = now_ns // _MINUTE
        if self._minute is not None and minute > self._minute:
            self._samples.append(EquitySample(self._minute * _MINUTE, equity(), phase))
        self._minute = minute

    def to_wire(
        self, query: HistoryQuery, now: EquitySample, base_value: Decimal, base_asof: str
    ) -> dict[str, object]:
        """The answer: one point for each window in which the account was seen, and now."""
        current = now._replace(minute_ns=now.minute_ns // _MINUTE * _MINUTE)
        chosen = [sample for sample in self._samples if query.includes(sample)]
        if query.includes(current) or not chosen:
            chosen.append(current)
        windows = _by_window(sorted(chosen), query.timeframe)
        equities = [float(sample.equity) for sample in windows.values()]
        is_daily = query.timeframe == "1D"
        base = equities[0] if is_daily else float(base_value)
        bases = [base] * len(equities)
        if not is_daily and query.resets_daily:
            bases = _daily_bases(windows, base)
        gains = [equity - start for equity, start in zip(equities, bases, strict=True)]
        answer: dict[str, object] = {
            "timestamp": [start // _SECOND for start in windows],
            "equity": equities,
            "profit_loss": [round(gain, 6) for gain in gains],
            "profit_loss_pct": [
                round(gain / start, 8) if start else 0.0
                for gain, start in zip(gains, bases, strict=True)
            ],
            "base_value": base,
            "timeframe": query.timeframe,
            "cashflow": {},
        }
        if not is_daily:
            answer["base_value_asof"] = base_asof
        return answer


def _by_window(samples: Iterable[EquitySample], timeframe: str) -> dict[int, EquitySample]:
    """The last sample of each window, by the window's start."""
    width = _TIMEFRAMES[timeframe]
    return {
        (_day_start(s.minute_ns) if timeframe == "1D" else s.minute_ns // width * width): s
        for s in samples
    }


def _day_start(time_ns: int) -> int:
    local = new_york(time_ns).replace(hour=0, minute=0, second=0, microsecond=0)
    return int(local.timestamp()) * _SECOND


def _daily_bases(windows: Mapping[int, EquitySample], first: float) -> list[float]:
    """For each window the equity at the end of the day before."""
    bases: list[float] = []
    base, last, day = first, first, None
    for start, sample in windows.items():
        today = new_york(start).date()
        if day is not None and today != day:
            base = last
        day, last = today, float(sample.equity)
        bases.append(base)
    return bases
