"""When the market is open."""

from __future__ import annotations

import subprocess
import sys
from datetime import date

import pytest

from main.alpaca_sim.clock import SimClock, parse_time
from main.alpaca_sim.messages import rfc3339
from main.alpaca_sim.trading_hours import AlwaysOpen, CalendarHours, clock_wire


def at(text: str) -> int:
    return parse_time(text)


def test_the_virtual_session_is_open_on_a_sunday_night_and_rolls_at_midnight() -> None:
    hours, sunday = AlwaysOpen(), at("2026-11-22T03:00:00Z")
    phase, until = hours.phase(sunday)
    assert (phase, rfc3339(until)) == ("regular", "2026-11-22T05:00:00Z")
    wire = clock_wire(hours, sunday)
    assert wire == {
        "timestamp": "2026-11-21T22:00:00-05:00",
        "is_open": True,
        "next_open": "2026-11-22T00:00:00-05:00",
        "next_close": "2026-11-22T00:00:00-05:00",
    }
    assert len(hours.days(date(2026, 11, 20), date(2026, 11, 22))) == 3


@pytest.mark.parametrize(
    ("moment", "phase", "until"),
    [
        ("2026-11-20T08:59:59Z", "closed", "2026-11-20T09:00:00Z"),
        ("2026-11-20T09:00:00Z", "pre", "2026-11-20T14:30:00Z"),
        ("2026-11-20T14:30:00Z", "regular", "2026-11-20T21:00:00Z"),
        ("2026-11-20T21:00:00Z", "post", "2026-11-21T01:00:00Z"),
        ("2026-11-21T12:00:00Z", "closed", "2026-11-23T09:00:00Z"),
        ("2026-11-26T16:00:00Z", "closed", "2026-11-27T09:00:00Z"),
        ("2026-11-27T17:59:00Z", "regular", "2026-11-27T18:00:00Z"),
        ("2026-11-27T18:00:00Z", "post", "2026-11-27T22:00:00Z"),
        ("2026-07-15T14:00:00Z", "regular", "2026-07-15T20:00:00Z"),
    ],
)
def test_the_calendar_knows_phases_weekends_holidays_and_half_days(
    moment: str, phase: str, until: str
) -> None:
    found, end = CalendarHours().phase(at(moment))
    assert (found, rfc3339(end)) == (phase, until)


def test_the_calendars_wire_objects_are_alpacas() -> None:
    thanksgiving = CalendarHours().days(date(2026, 11, 25), date(2026, 11, 27))
    assert [day.to_wire() for day in thanksgiving] == [
        {
            "date": "2026-11-25",
            "open": "09:30",
            "close": "16:00",
            "session_open": "0400",
            "session_close": "2000",
            "settlement_date": "2026-11-27",
        },
        {
            "date": "2026-11-27",
            "open": "09:30",
            "close": "13:00",
            "session_open": "0400",
            "session_close": "1700",
            "settlement_date": "2026-11-30",
        },
    ]


def test_the_clock_tells_the_next_opening_over_a_weekend() -> None:
    wire = clock_wire(CalendarHours(), at("2026-11-20T22:30:00Z"))
    assert wire["is_open"] is False
    assert wire["next_open"] == "2026-11-23T09:30:00-05:00"
    assert wire["next_close"] == "2026-11-23T16:00:00-05:00"


def test_the_clock_can_start_anywhere_step_and_run_faster() -> None:
    now = [0]
    clock = SimClock("2026-11-20T14:29:30.5Z", lambda: now[0])
    assert rfc3339(clock.now_ns()) == "2026-11-20T14:29:30.5Z"
    now[0] += 1_000_000_000
    clock.step(-3600)
    assert rfc3339(clock.now_ns()) == "2026-11-20T13:29:31.5Z"
    clock.go_on_from(0, speed=10.0)
    now[0] += 1_000_000_000
    assert clock.now_ns() == 10_000_000_000


@pytest.mark.parametrize(
    ("text", "ns"),
    [
        ("1970-01-01T00:00:01Z", 1_000_000_000),
        ("1970-01-01T00:00:00.000000001Z", 1),
        ("1970-01-01T01:00:00.5+01:00", 500_000_000),
        ("1970-01-02", 86_400_000_000_000),
    ],
)
def test_moments_are_read_to_the_nanosecond(text: str, ns: int) -> None:
    assert parse_time(text) == ns


def test_nothing_heavy_is_imported_unless_it_is_asked_for() -> None:
    code = (
        "import sys, threading, main.alpaca_sim;"
        "bad = {'pandas', 'exchange_calendars', 'yaml', 'alpaca', 'numpy'} & set(sys.modules);"
        "assert not bad, bad;"
        "assert threading.active_count() == 1"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
