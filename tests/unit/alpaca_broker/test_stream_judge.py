"""Silence against what is usual, with a fake clock."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest

from main.alpaca_broker.stream_judge import RENEW_FIRST_S, StreamJudge, Verdict

STEP_S = 0.25


@dataclass
class Market:
    """Tickers with rates; time passes in the steps in which the broker looks."""

    rates: dict[str, float]
    judge: StreamJudge = field(default_factory=StreamJudge)
    now_s: float = 1_000.0
    is_open: bool = True
    connection: str = "LIVE"
    lag_ms: float | None = 1.0
    behind_s: float = 0.0  # of what was received and is not counted yet
    halted: frozenset[str] = frozenset()
    arrived: dict[str, float] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)

    def run(self, seconds: float, mute: frozenset[str] = frozenset()) -> Verdict:
        for _ in range(round(seconds / STEP_S)):
            self.now_s += STEP_S
            for ticker, rate in self.rates.items():
                grown = 0.0 if ticker in mute else rate * STEP_S
                self.arrived[ticker] = self.arrived.get(ticker, 0.0) + grown
            self.verdicts.append(
                self.judge.judge(
                    now_s=self.now_s,
                    counted_until_s=self.now_s - self.behind_s,
                    connection=self.connection,
                    arrived=self._whole(),
                    market_open=self.is_open,
                    halted=self.halted,
                    lag_ms=self.lag_ms,
                )
            )
        return self.verdicts[-1]

    def _whole(self) -> Mapping[str, int]:
        return {ticker: int(count) for ticker, count in self.arrived.items()}

    def renewals(self) -> int:
        return sum(verdict.renew for verdict in self.verdicts)


@pytest.fixture
def market() -> Market:
    busy = Market({"AAPL": 20.0, "MSFT": 40.0})
    busy.run(60)
    return busy


def test_a_ticker_that_flows_is_live(market: Market) -> None:
    assert market.verdicts[-1].tickers == {"AAPL": "LIVE", "MSFT": "LIVE"}
    assert market.verdicts[-1].stream == "LIVE"


def test_one_busy_ticker_that_falls_silent_is_mute_and_subscribed_again_alone(
    market: Market,
) -> None:
    verdict = market.run(5, mute=frozenset({"AAPL"}))
    assert verdict.tickers == {"AAPL": "MUTE", "MSFT": "LIVE"}
    asked = [ticker for v in market.verdicts for ticker in v.resubscribe]
    assert asked == ["AAPL"]
    assert market.renewals() == 0


def test_a_whole_busy_stream_that_falls_silent_is_renewed_once_within_two_seconds(
    market: Market,
) -> None:
    verdict = market.run(2, mute=frozenset({"AAPL", "MSFT"}))
    assert verdict.stream == "MUTE"
    assert market.renewals() == 1


def test_renewals_become_rarer_while_the_silence_lasts(market: Market) -> None:
    market.run(RENEW_FIRST_S * 8, mute=frozenset({"AAPL", "MSFT"}))
    assert 1 <= market.renewals() <= 4


def test_a_closed_market_may_be_silent(market: Market) -> None:
    market.is_open = False
    verdict = market.run(120, mute=frozenset({"AAPL", "MSFT"}))
    assert verdict.tickers == {"AAPL": "QUIET", "MSFT": "QUIET"}
    assert verdict.stream == "QUIET"
    assert market.renewals() == 0
    assert not any(v.resubscribe for v in market.verdicts)


def test_a_halted_ticker_may_be_silent(market: Market) -> None:
    market.halted = frozenset({"AAPL"})
    verdict = market.run(60, mute=frozenset({"AAPL"}))
    assert verdict.tickers["AAPL"] == "QUIET"
    assert not any(v.resubscribe for v in market.verdicts)


def test_a_rare_ticker_may_be_silent_for_long() -> None:
    market = Market({"RARE": 0.05, "MSFT": 40.0})
    market.run(120)
    verdict = market.run(60, mute=frozenset({"RARE"}))
    assert verdict.tickers["RARE"] == "QUIET"
    assert not any(v.resubscribe for v in market.verdicts)


def test_a_market_that_grows_quiet_by_itself_is_never_renewed(market: Market) -> None:
    for _ in range(60):
        market.rates = {ticker: rate * 0.9 for ticker, rate in market.rates.items()}
        market.run(5)
    assert market.renewals() == 0


def test_silence_while_the_connection_was_away_is_not_held_against_the_tickers(
    market: Market,
) -> None:
    market.connection = "DOWN"
    assert market.run(20, mute=frozenset({"AAPL", "MSFT"})).tickers["AAPL"] == "DOWN"
    market.connection = "LIVE"
    assert market.run(STEP_S).stream in ("LIVE", "QUIET")
    assert market.renewals() == 0


def test_a_stream_that_lags_says_so(market: Market) -> None:
    market.lag_ms = 60_000.0
    verdict = market.run(1)
    assert verdict.stream == "LAGGING"
    assert verdict.tickers["AAPL"] == "LAGGING"


def test_a_ticker_that_was_left_is_forgotten(market: Market) -> None:
    del market.rates["AAPL"], market.arrived["AAPL"]
    assert set(market.run(1).tickers) == {"MSFT"}


def test_a_silence_is_noted_once_from_the_last_moment_at_which_the_ticker_was_heard(
    market: Market,
) -> None:
    heard_s = market.now_s
    market.run(10, mute=frozenset({"AAPL"}))
    noted = [v.silent_since_s for v in market.verdicts if v.silent_since_s]
    assert [list(each) for each in noted] == [["AAPL"]]
    assert heard_s - STEP_S <= noted[0]["AAPL"] <= heard_s
    market.run(5)
    market.run(10, mute=frozenset({"AAPL"}))
    assert sum(bool(v.silent_since_s) for v in market.verdicts) == 2, "a new silence is noted again"


def test_a_mute_stream_is_noted_for_all_its_tickers_also_the_rare_ones() -> None:
    market = Market({"RARE": 0.5, "MSFT": 80.0})
    market.run(60)
    market.run(2, mute=frozenset({"RARE", "MSFT"}))
    (noted,) = [v.silent_since_s for v in market.verdicts if v.silent_since_s]
    assert set(noted) == {"RARE", "MSFT"}


def test_a_young_ticker_is_not_excused_by_the_silence_that_is_judged() -> None:
    """Nor by an outage before it: neither may lower what is usual."""
    market = Market({"AAPL": 20.0, "MSFT": 20.0})
    market.run(5)
    market.connection = "DOWN"
    market.run(4, mute=frozenset({"AAPL", "MSFT"}))
    market.connection = "LIVE"
    market.run(2)
    assert market.run(3, mute=frozenset({"AAPL"})).tickers["AAPL"] == "MUTE"


def test_while_nothing_can_be_said_nobody_is_mute(market: Market) -> None:
    market.now_s += 20
    market.judge.excuse(market.now_s)
    assert market.run(STEP_S).tickers["AAPL"] == "LIVE"
    assert market.renewals() == 0


def test_who_slept_himself_holds_no_silence_against_the_tickers(market: Market) -> None:
    """A paused process, or a machine that has too much to do, heard nobody."""
    market.run(0.75, mute=frozenset(market.rates))
    market.now_s += 3.0
    verdict = market.run(STEP_S, mute=frozenset(market.rates))
    assert (verdict.stream, set(verdict.tickers.values())) == ("LIVE", {"LIVE"})
    verdict = market.run(3, mute=frozenset(market.rates))
    assert verdict.stream == "MUTE", "a silence that lasts is noticed all the same"


def test_who_fell_mute_while_nothing_was_read_on_was_last_heard_before_that(market: Market) -> None:
    """Redis took nothing for four seconds, in the midst of which the ticker fell silent."""
    stalled_s = market.now_s
    for _ in range(round(4 / STEP_S)):  # nothing is judged meanwhile
        market.now_s += STEP_S
        market.judge.excuse(market.now_s)
    market.behind_s = 4.0
    market.run(STEP_S, mute=frozenset({"AAPL"}))  # the backlog is not counted at this look
    market.behind_s = 0.0
    market.arrived["AAPL"] += 40  # of the first two seconds of it
    market.run(5, mute=frozenset({"AAPL"}))
    (noted,) = [v.silent_since_s for v in market.verdicts if v.silent_since_s]
    assert stalled_s - STEP_S <= noted["AAPL"] <= stalled_s + STEP_S


def test_an_excuse_does_not_claim_that_anybody_was_heard(market: Market) -> None:
    heard_s = market.now_s
    market.run(0.5, mute=frozenset({"AAPL"}))
    market.judge.excuse(market.now_s)
    market.run(5, mute=frozenset({"AAPL"}))
    (noted,) = [v.silent_since_s for v in market.verdicts if v.silent_since_s]
    assert noted["AAPL"] <= heard_s


class ThoroughJudge(StreamJudge):
    """Looks into every ticker at each look."""

    def judge(self, **facts: Any) -> Verdict:
        self._outside = None
        return super().judge(**facts)


def test_who_looks_only_where_something_can_have_changed_finds_the_same() -> None:
    rates = {"AAPL": 20.0, "MSFT": 5.0, "SLOW": 0.2, "NONE": 0.0}
    quick, thorough = Market(dict(rates)), Market(dict(rates), ThoroughJudge())
    days: list[dict[str, Any]] = [
        {},
        {"is_open": False},
        {"is_open": True, "lag_ms": 9_000.0},
        {"lag_ms": 1.0, "halted": frozenset({"MSFT"})},
        {"halted": frozenset()},
    ]
    for day in days:
        for mute in ((), ("AAPL",), tuple(rates), ()):
            for market in (quick, thorough):
                for name, value in day.items():
                    setattr(market, name, value)
                market.run(40, mute=frozenset(mute))

    assert quick.verdicts == thorough.verdicts
    found = {state for verdict in quick.verdicts for state in verdict.tickers.values()}
    assert found == {"MUTE", "QUIET", "LIVE", "LAGGING"}


def test_who_is_mute_by_itself_when_the_stream_speaks_again_is_noted_anew(market: Market) -> None:
    """The first message of any ticker ends the silence that all were noted with."""
    heard_s = market.now_s
    market.run(4, mute=frozenset({"AAPL", "MSFT"}))
    market.run(1, mute=frozenset({"AAPL"}))
    noted = [v.silent_since_s for v in market.verdicts if v.silent_since_s]
    assert [set(each) for each in noted] == [{"AAPL", "MSFT"}, {"AAPL"}]
    assert noted[1]["AAPL"] <= heard_s
