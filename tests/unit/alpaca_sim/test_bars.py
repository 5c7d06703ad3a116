"""Bars by Alpaca's rules."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from main.alpaca_sim.bars import MINUTE_NS, BarBook, month_start, new_york_midnight, week_start
from main.alpaca_sim.clock import parse_time
from main.alpaca_sim.conditions import counts_volume, sets_last, sets_range
from main.alpaca_sim.messages import Timestamp, Trade, rfc3339

START = parse_time("2026-03-02T15:00:00Z")


def trade(
    price: float, size: int = 100, *conditions: str, at_s: float = 0.0, tape: str = "C"
) -> Trade:
    return Trade(
        symbol="AAPL",
        trade_id=1,
        exchange="V",
        price=price,
        size=size,
        conditions=conditions or ("@",),
        timestamp=Timestamp(START + int(at_s * 1e9)),
        tape=tape,
    )


def book(*trades: Trade) -> BarBook:
    made = BarBook()
    for each in trades:
        made.add(each)
    return made


def test_a_minute_has_open_high_low_close_volume_count_and_vwap() -> None:
    made = book(trade(10, at_s=1), trade(12, 300, at_s=2), trade(9, at_s=3), trade(11, at_s=59))
    [bar] = made.close_minute(START + MINUTE_NS)
    assert (bar.open, bar.high, bar.low, bar.close) == (10, 12, 9, 11)
    assert (bar.volume, bar.trade_count, bar.timestamp.ns) == (600, 4, START)
    assert bar.vwap == pytest.approx((1000 + 3600 + 900 + 1100) / 600)


def test_the_minute_is_closed_on_the_left_and_open_on_the_right() -> None:
    made = book(trade(10, at_s=0), trade(11, at_s=60))
    [bar] = made.close_minute(START + MINUTE_NS)
    assert bar.close == 10


def test_odd_lots_count_for_volume_only() -> None:
    made = book(trade(10, at_s=1), trade(99, 5, "@", "I", at_s=2))
    [bar] = made.close_minute(START + MINUTE_NS)
    assert (bar.high, bar.close, bar.volume) == (10, 10, 105)


def test_odd_lots_alone_make_no_bar() -> None:
    assert book(trade(10, 5, "I")).close_minute(START + MINUTE_NS) == []
    assert BarBook().close_minute(START + MINUTE_NS) == []


def test_a_late_trade_makes_an_updated_bar_at_the_half_minute() -> None:
    made = book(trade(10, at_s=1), trade(11, at_s=61))
    made.close_minute(START + MINUTE_NS)
    assert made.updated() == []
    made.add(trade(15, at_s=30))
    [bar] = made.updated()
    assert (bar.timestamp.ns, bar.high, bar.close) == (START, 15, 15)
    assert made.updated() == []


def test_the_day_leaves_out_extended_hours_prices_but_not_their_volume() -> None:
    made = book(trade(50, 100, "@", "T"), trade(10, at_s=1))
    [day] = made.daily(START + MINUTE_NS)
    assert (day.high, day.open, day.volume) == (10, 10, 200)
    assert rfc3339(day.timestamp.ns) == "2026-03-02T05:00:00Z"
    [minute] = made.close_minute(START + MINUTE_NS)
    assert minute.high == 50


@pytest.mark.parametrize(
    ("conditions", "tape", "expected"),
    [
        ("@", "C", (True, True, True)),
        ("I", "C", (False, False, True)),
        ("B", "C", (True, True, True)),
        ("B", "A", (False, False, True)),
        ("Z", "A", (True, False, True)),
        ("M", "C", (False, False, False)),
        ("W", "C", (False, False, True)),
        ("T", "C", (True, True, True)),
    ],
)
def test_conditions_decide_what_a_trade_may_do(
    conditions: str, tape: str, expected: tuple[bool, bool, bool]
) -> None:
    allowed = (
        sets_range(conditions, tape),
        sets_last(conditions, tape),
        counts_volume(conditions),
    )
    assert allowed == expected


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.floats(1, 1000),
            st.integers(1, 500),
            st.sampled_from([("@",), ("@", "I"), ("Z",), ("T",), ("M",)]),
            st.floats(0, 599),
        ),
        max_size=40,
    )
)
def test_merged_bars_add_up_to_their_minutes(
    trades: list[tuple[float, int, tuple[str, ...], float]],
) -> None:
    made = book(*(trade(p, s, *c, at_s=at) for p, s, c, at in sorted(trades, key=lambda t: t[3])))
    minutes = made.minutes("AAPL")
    whole = made.aggregated("AAPL", lambda _: 0)
    assert sum(bar.volume for bar in minutes) == sum(bar.volume for bar in whole)
    existing = [bar for bar in minutes if bar.exists]
    if existing and whole[0].exists:
        assert whole[0].high == max(bar.high for bar in existing)
        assert whole[0].low == min(bar.low for bar in existing)
        assert whole[0].open == existing[0].open
        assert whole[0].close == existing[-1].close
    for bar in existing:
        assert bar.low <= bar.open <= bar.high
        assert bar.low <= bar.close <= bar.high


def test_days_weeks_and_months_begin_at_new_yorks_midnight() -> None:
    assert rfc3339(new_york_midnight(START)) == "2026-03-02T05:00:00Z"
    summer = parse_time("2026-07-15T02:00:00Z")
    assert rfc3339(new_york_midnight(summer)) == "2026-07-14T04:00:00Z"
    assert rfc3339(week_start(summer)) == "2026-07-13T04:00:00Z"
    assert rfc3339(month_start(summer, 3)) == "2026-07-01T04:00:00Z"
    after_the_change = parse_time("2026-03-10T12:00:00Z")
    assert rfc3339(week_start(after_the_change)) == "2026-03-09T04:00:00Z"
