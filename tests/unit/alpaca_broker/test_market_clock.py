"""The sessions, as Alpaca's clock and calendar tell them."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import pytest

from main.alpaca_broker.market_clock import MarketClock
from main.alpaca_broker.rest import RestUnavailable

OPENING = int(datetime(2026, 11, 23, 14, 30, tzinfo=UTC).timestamp() * 1e9)


class Rest:
    """Alpaca's answers of one evening; or none."""

    def __init__(self, *, answers: bool = True) -> None:
        self._answers = answers

    def clock(self) -> dict[str, Any]:
        if not self._answers:
            raise RestUnavailable("no route")
        return {
            "timestamp": "2026-11-22T17:00:00-05:00",
            "is_open": False,
            "next_open": "2026-11-23T09:30:00-05:00",
            "next_close": "2026-11-23T16:00:00-05:00",
        }

    def calendar(self, start: date, end: date) -> list[dict[str, Any]]:
        assert start < date(2026, 11, 22) < end
        return [{"date": "2026-11-23", "open": "09:30", "close": "16:00"}]


def clock_of(rest: Any) -> MarketClock:
    clock = MarketClock(rest)
    clock.refresh()
    return clock


def test_the_session_changes_when_alpaca_says_so() -> None:
    clock = clock_of(Rest())
    assert not clock.is_open()
    changes_ns = clock.next_change_ns()
    assert changes_ns is not None
    assert abs(changes_ns - OPENING) < 1_000_000


def test_before_alpaca_was_asked_nobody_knows_when_the_session_changes() -> None:
    assert clock_of(Rest(answers=False)).next_change_ns() is None


@pytest.mark.parametrize(
    ("utc", "regular"),
    [("14:29:59", False), ("14:30:00", True), ("20:59:59", True), ("21:00:00", False)],
)
def test_a_moment_is_regular_by_the_calendar(utc: str, regular: bool) -> None:
    moment = datetime.fromisoformat(f"2026-11-23T{utc}+00:00").timestamp()
    assert clock_of(Rest()).is_regular(moment) is regular
