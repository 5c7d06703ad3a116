"""Why a ticker is silent: each cause, told apart from the others."""

from __future__ import annotations

from typing import Any

import pytest

from main.dashboard.diagnosis import Facts, World, checks, diagnose
from main.dashboard.market import Market, day_begins_s, usual_hours

from .messages import FRIDAY_S, NOON_S, at, heartbeat

OPEN = Market(is_open=True, changes_s=FRIDAY_S + 3_600, by_broker=True)
CLOSED = Market(is_open=False, changes_s=FRIDAY_S + 7_200, by_broker=True)


def facts(**given: Any) -> Facts:
    fields: dict[str, Any] = {
        "symbol": "AAPL",
        "holders": 1,
        "halted": None,
        "last_at_s": FRIDAY_S - 1,
        "heard_at_s": FRIDAY_S - 1,
        "rate": 2.0,
        "lag_s": 0.01,
    }
    return Facts(**(fields | given))


def world(**given: Any) -> World:
    fields: dict[str, Any] = {
        "now_s": FRIDAY_S,
        "started_s": FRIDAY_S - 60,
        "redis_trouble": None,
        "broker": heartbeat(tickers={"AAPL": "LIVE"}),
        "broker_age_s": 0.4,
        "market": OPEN,
    }
    return World(**(fields | given))


def test_a_ticker_that_trades_is_live_and_needs_no_reason() -> None:
    found = diagnose(facts(), world())
    assert (found.state, found.why) == ("LIVE", "")
    assert all(check.ok for check in checks(facts(), world()))


CAUSES: list[tuple[dict[str, Any], dict[str, Any], str, str]] = [
    ({}, {"redis_trouble": "no answer since 16:00:00 UTC"}, "DOWN", "no answer since"),
    ({}, {"broker_age_s": 12.0}, "DOWN", "no heartbeat of a broker: the last was 12 s ago"),
    ({}, {"broker": None, "broker_age_s": None}, "DOWN", "none was heard yet"),
    ({}, {"broker": heartbeat("STOPPED"), "broker_age_s": 60.0}, "DOWN", "the broker is STOPPED"),
    (
        {},
        {"broker": heartbeat(prices="DOWN", reason="name resolution failed")},
        "DOWN",
        "name resolution failed",
    ),
    ({}, {"broker": heartbeat(prices="REFUSED", reason="402")}, "REFUSED", "402"),
    ({"holders": 0}, {"broker": heartbeat(tickers={})}, "OFF", "nobody holds it"),
    ({}, {"broker": heartbeat(tickers={})}, "CONNECTING", "does not follow it"),
    ({"halted": "LUDP"}, {}, "QUIET", "trading is halted: LUDP"),
    ({"last_at_s": FRIDAY_S - 600}, {"market": CLOSED}, "QUIET", "the market is closed for 2 h"),
    ({}, {"broker": heartbeat(tickers={"AAPL": "MUTE"})}, "MUTE", "should trade and does not"),
    ({"lag_s": 8.0}, {"broker": heartbeat(tickers={"AAPL": "LAGGING"})}, "LAGGING", "8.0 s late"),
    (
        {"last_at_s": FRIDAY_S - 600},
        {"broker": heartbeat(tickers={"AAPL": "QUIET"})},
        "QUIET",
        "last trade 10 min ago: nobody trades it now",
    ),
]


@pytest.mark.parametrize(("seen", "around", "state", "words"), CAUSES)
def test_each_cause_has_its_own_words(
    seen: dict[str, Any], around: dict[str, Any], state: str, words: str
) -> None:
    found = diagnose(facts(**seen), world(**around))
    assert found.state == state
    assert words in found.why
    failing = [check for check in checks(facts(**seen), world(**around)) if check.ok is False]
    assert [check.words for check in failing] == [found.why], "the ticker's own page says the same"


def test_no_cause_shadows_a_nearer_one() -> None:
    """Redis away and everything else bad as well: only Redis can be said to be the cause."""
    all_bad = facts(holders=0, halted="LUDP", last_at_s=None)
    around = world(redis_trouble="no answer", broker_age_s=99.0, market=CLOSED)
    assert diagnose(all_bad, around).why == "no answer"
    told = {check.name: check.ok for check in checks(all_bad, around)}
    assert told["Alpaca's prices"] is None, "what lies behind the broker cannot be known"


def test_a_ticker_that_nobody_holds_has_one_cause_only() -> None:
    """An unknown ticker, say: that nobody trades it is not a second cause."""
    around = world(broker=heartbeat(tickers={}))
    found = {check.name: check for check in checks(facts(holders=0, last_at_s=None), around)}
    assert [check.name for check in found.values() if check.ok is False] == ["Holders"]
    assert found["Trades"].words == "not known while the above fails"
    assert "no such ticker" in found["Holders"].todo


def test_a_closed_market_is_told_beside_the_cause_and_not_as_one() -> None:
    around = world(broker=heartbeat(tickers={}), market=CLOSED)
    found = {check.name: check for check in checks(facts(holders=0, last_at_s=None), around)}
    assert (found["Market"].ok, found["Market"].todo) == (None, "")
    assert "closed" in found["Market"].words


def test_a_broker_that_has_only_just_been_looked_for_is_not_called_silent() -> None:
    young = world(broker=None, broker_age_s=None, started_s=FRIDAY_S - 1)
    assert diagnose(facts(), young).state == "CONNECTING"


def test_the_stream_of_stocks_being_down_says_nothing_of_crypto() -> None:
    broker = heartbeat(prices="DOWN", reason="reset", tickers={"BTC/USD": "LIVE", "AAPL": "DOWN"})
    assert diagnose(facts(symbol="BTC/USD"), world(broker=broker)).state == "LIVE"
    assert diagnose(facts(), world(broker=broker)).state == "DOWN"


def test_crypto_knows_no_closing_time() -> None:
    broker = heartbeat(tickers={"BTC/USD": "QUIET"})
    old = facts(symbol="BTC/USD", last_at_s=FRIDAY_S - 600)
    assert "nobody trades it now" in diagnose(old, world(market=CLOSED, broker=broker)).why


def test_beyond_the_heartbeats_map_the_state_is_what_is_seen_here() -> None:
    broker = heartbeat(unwell={"MSFT": "MUTE"})
    assert diagnose(facts(), world(broker=broker)).state == "LIVE"
    assert diagnose(facts(symbol="MSFT"), world(broker=broker)).state == "MUTE"
    assert diagnose(facts(last_at_s=FRIDAY_S - 60), world(broker=broker)).state == "QUIET"
    assert diagnose(facts(lag_s=9.0), world(broker=broker)).state == "LAGGING"


def test_a_ticker_that_trades_after_hours_is_live() -> None:
    assert diagnose(facts(), world(market=CLOSED)).state == "LIVE"


def test_whatever_fails_says_what_to_do() -> None:
    for seen, around, state, _ in CAUSES:
        failing = [c for c in checks(facts(**seen), world(**around)) if c.ok is False]
        assert failing[0].todo, state


# -- the market's hours, where the broker does not tell them


def test_the_usual_hours_know_days_nights_and_weekends() -> None:
    friday = usual_hours(FRIDAY_S)
    assert friday.is_open
    assert friday.changes_s == FRIDAY_S + 5 * 3_600, "16:00 in New York"
    evening = usual_hours(FRIDAY_S + 6 * 3_600)
    assert not evening.is_open
    assert at(evening.changes_s or 0).startswith("2026-11-23T14:30"), "Monday"
    assert usual_hours(NOON_S).changes_s == evening.changes_s, "Saturday waits for Monday too"
    early = usual_hours(FRIDAY_S - 2 * 3_600)
    assert not early.is_open
    assert early.changes_s == FRIDAY_S - 1.5 * 3_600
    assert "holidays not counted" in friday.source


def test_the_day_begins_at_midnight_in_new_york() -> None:
    assert at(day_begins_s(FRIDAY_S)).startswith("2026-11-20T05:00:00")
