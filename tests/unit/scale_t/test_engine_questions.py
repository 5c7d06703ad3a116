"""What an engine asks of Alpaca beside its orders: counted, and silent after a 429."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any, cast

import pytest

from main.scale_t import ScaleT, ScaleTConfig, service
from main.scale_t.desk import AskClock, NoAnswer
from main.scale_t.engine import Engine, EngineParts
from main.scale_t.ladder import Ladder
from main.scale_t.modes import Mode
from main.scale_t.readiness import Readiness
from main.scale_t.saved import StateFile
from main.scale_t.session import Session
from main.scale_t.session_check import Clock
from main.settings import load_settings
from main.utils.answers import Refused
from main.utils.redis.broker_watch import BrokerWatch
from main.utils.redis.messages import now_rfc3339
from main.utils.waits import RequestBudget
from tests.unit.scale_t.terms import terms
from tests.unit.scale_t.trade import ENTRY, Trade

NOW = 1_000.0
OPEN = Clock(is_open=True, session="2026-11-20")


def engine_of(ladder: Ladder, folder: Path) -> Engine:
    """Its desk does not work: what is asked waits there."""
    silent = BrokerWatch(now=0.0, moment=now_rfc3339()).view(0.0)
    return Engine(
        EngineParts(
            ladder=ladder,
            readiness=Readiness(account_names=frozenset({"A1"}), ticker="AAPL"),
            venue=cast(Any, None),
            session=Session(None),
            file=StateFile(folder, "PA1", "bot", "AAPL"),
            budget=RequestBudget(60),
            broker=lambda: silent,
        )
    )


def test_after_a_429_nothing_is_asked_until_the_wait_is_over(tmp_path: Path) -> None:
    """Whichever question met it: the clock, due every 30 s, waits too."""
    engine = engine_of(Ladder(terms()), tmp_path)
    engine._act(NOW)
    assert engine.counters["requests"] == 1
    refused = Refused(status=429, message="too many requests", retry_after_s=60.0)
    engine._see((AskClock(), NoAnswer(reason="429", refused=refused)), NOW)
    engine._act(NOW + 31)
    assert engine.counters["requests"] == 1
    engine._act(NOW + 61)
    assert engine.counters["requests"] == 2


def test_the_check_before_a_session_counts_as_the_requests_that_it_is(tmp_path: Path) -> None:
    """Six of the budget, beside the clock's one."""
    engine = engine_of(Ladder(terms()), tmp_path)
    engine._act(NOW)
    engine._see((AskClock(), OPEN), NOW)
    engine._act(NOW + 1)
    assert engine.counters["requests"] == 7
    assert engine.parts.budget.room(NOW + 1) == 53


@pytest.mark.parametrize("clock", [None, OPEN])
def test_a_price_before_the_check_is_no_loss_yet(clock: Clock | None, tmp_path: Path) -> None:
    """Not before the open, nor after it while the facts are asked for."""
    trade = Trade(max_loss=Decimal(20), flatten_on_loss=True)
    trade.run()
    trade.fill(f"{ENTRY}0:1")
    engine = engine_of(trade.ladder, tmp_path)
    if clock is not None:
        engine.session.see_clock(clock)
    engine.prices.give(Decimal(10))
    engine._act(NOW)
    assert trade.ladder.last_price == 10
    assert trade.ladder.mode is Mode.TRADING


def test_at_the_end_it_warns_of_shares_that_nothing_offers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(
        service.log, "warning", lambda event, **words: said.append(words["owns"]), raising=False
    )
    scale_t = ScaleT(
        ScaleTConfig.from_text(ticker="AAPL", max_position="20"), load_settings(env_file=None)
    )
    trade = Trade()
    trade.run()
    trade.venue.fill(f"{ENTRY}0:1", Decimal(10))
    trade.hear()
    engine = engine_of(trade.ladder, tmp_path)
    scale_t._tell_end(engine, True)
    assert said == ["10"]
    trade.run()  # it is offered
    scale_t._tell_end(engine, True)
    assert said == ["10"]


def test_at_the_end_only_orders_that_are_there_may_still_work(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A desk that hangs is no order."""
    said: list[str] = []
    for level in ("info", "error"):
        monkeypatch.setattr(
            service.log, level, lambda event, **_: said.append(event), raising=False
        )
    scale_t = ScaleT(
        ScaleTConfig.from_text(ticker="AAPL", max_position="20"), load_settings(env_file=None)
    )
    trade = Trade()
    for told in (["scale_t.stopped"], ["scale_t.entries_may_still_work", "scale_t.stopped"]):
        said.clear()
        scale_t._tell_end(engine_of(trade.ladder, tmp_path), False)
        assert said == told
        trade.run()
