"""The small pure parts: names, rungs, waits, the budget, the stage table, and readiness."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from main.scale_t.book import OwnOrder
from main.scale_t.intents import IllegalMove, Stage
from main.scale_t.order_ids import OrderKind, OrderName, order_prefix, parse_order_name
from main.scale_t.readiness import HEARTBEAT_TIMEOUT_S, Readiness
from main.scale_t.rungs import build_rungs, ceil_to_step, floor_to_step
from main.scale_t.waits import GrowingWait, RequestBudget
from main.utils.redis.messages import BrokerStatus
from tests.unit.scale_t.broker_status import status

PREFIX = order_prefix("bot", "BRK.B")


@settings(deadline=None)
@given(st.sampled_from(["entry", "profit"]), st.integers(0, 10**6), st.integers(1, 10**6))
def test_a_name_is_read_as_it_was_written(kind: OrderKind, component: int, generation: int) -> None:
    """And Alpaca takes no more than 128 characters."""
    name = OrderName(kind=kind, component=component, generation=generation)
    assert parse_order_name(PREFIX, name.text(PREFIX)) == name
    longest = order_prefix("c" * 64, "ABCDEFGHIJ.ABCDEFGHI")
    assert len(name.text(longest)) <= 128


@pytest.mark.parametrize(
    "text",
    [
        "",
        "entry",
        "entry:",
        "entry:1",
        "entry:1:",
        "entry:-1:1",
        "exit:1:1",
        "entry:1:1:1",
        "entry:²:1",
    ],
)
def test_what_is_no_name_of_ours_is_not_guessed(text: str) -> None:
    """Also not when it begins like one."""
    assert parse_order_name(PREFIX, PREFIX + text) is None


def test_prices_stand_on_alpacas_steps() -> None:
    """Two decimals from a dollar on, four below; never dearer to buy, never cheaper to sell."""
    assert floor_to_step(Decimal("189.2099")) == Decimal("189.20")
    assert ceil_to_step(Decimal("189.2001")) == Decimal("189.21")
    assert floor_to_step(Decimal("0.99999")) == Decimal("0.9999")
    assert ceil_to_step(Decimal("1.0040")) == Decimal("1.01")


@settings(deadline=None)
@given(st.integers(1, 500), st.integers(1, 500), st.integers(1, 50_000), st.integers(1, 500))
def test_rungs_add_up_to_the_maximum_and_every_exit_is_dearer(
    maximum: int, component: int, start_cents: int, increment_cents: int
) -> None:
    """Unless the ladder ends at a price of zero."""
    start, increment = Decimal(start_cents) / 100, Decimal(increment_cents) / 100
    rungs = build_rungs(start, increment, Decimal(min(component, maximum)), Decimal(maximum))
    total = sum(rung.size for rung in rungs)
    assert total == maximum or rungs[-1].entry_price <= increment
    assert all(rung.profit_price > rung.entry_price > 0 for rung in rungs)
    assert [rung.component for rung in rungs] == list(range(len(rungs)))


def test_a_wait_starts_small_again_after_a_quiet_time() -> None:
    """Yesterday's refusals do not slow today's."""
    wait = GrowingWait(5, 300)
    assert [wait.grow(now=0), wait.grow(now=5), wait.grow(now=15)] == [5, 10, 20]
    assert wait.grow(now=15 + 20 + 301) == 5


def test_the_budget_holds_in_every_window_of_a_minute() -> None:
    """Not only in calendar minutes."""
    budget = RequestBudget(per_minute=3)
    for now in (0, 10, 20):
        assert budget.room(now) > 0
        budget.spend(now)
    assert [budget.room(now) for now in (30, 59.9, 60, 70)] == [0, 0, 1, 2]


def test_an_illegal_stage_raises_and_changes_nothing() -> None:
    """What Alpaca showed cannot become doubtful again."""
    name = OrderName(kind="entry", component=0, generation=1)
    order = OwnOrder("id", name, Decimal(1), Decimal(1), Stage.SEEN)
    with pytest.raises(IllegalMove):
        order.move(Stage.UNRESOLVED)
    assert order.stage is Stage.SEEN


@pytest.mark.parametrize(
    ("heard", "obstacle"),
    [
        (status(), None),
        (status(account=None), None),
        (status(ready=False), "not ready"),
        (status(paper=False), "live account"),
        (status(account="B2"), "another account"),
    ],
)
def test_entries_need_a_broker_that_would_tell_of_their_fills(
    heard: BrokerStatus, obstacle: str | None
) -> None:
    """Each obstacle is said in words."""
    readiness = Readiness(account_names=frozenset({"A1"}))
    assert readiness.obstacle(0) is not None, "no heartbeat yet"
    readiness.see_status(heard, now=100)
    found = readiness.obstacle(100 + HEARTBEAT_TIMEOUT_S)
    assert found is None if obstacle is None else obstacle in str(found)
    assert "heartbeat" in str(readiness.obstacle(100.1 + HEARTBEAT_TIMEOUT_S))


def test_a_rejected_registration_holds_entries() -> None:
    """Until the ticker's prices flow again."""
    readiness = Readiness(account_names=frozenset({"A1"}), rejected="symbol_limit")
    readiness.see_status(status(), now=0)
    assert "symbol_limit" in str(readiness.obstacle(1))
