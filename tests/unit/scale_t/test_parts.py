"""The small pure parts: names, rungs, waits, the budget, the stage table, and readiness."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from main.scale_t.book import OwnOrder
from main.scale_t.intents import IllegalMove, Stage
from main.scale_t.order_ids import OrderKind, OrderName, order_prefix, parse_order_name
from main.scale_t.rungs import PriceGrid, build_rungs, profit_price
from main.scale_t.terms import Side
from tests.unit.scale_t.terms import terms

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
    grid = PriceGrid()
    assert grid.floor(Decimal("189.2099")) == Decimal("189.20")
    assert grid.ceil(Decimal("189.2001")) == Decimal("189.21")
    assert grid.floor(Decimal("0.99999")) == Decimal("0.9999")
    assert grid.ceil(Decimal("1.0040")) == Decimal("1.01")


@settings(deadline=None)
@given(
    st.integers(1, 500),
    st.integers(1, 500),
    st.integers(1, 50_000),
    st.integers(1, 500),
    st.booleans(),
    st.booleans(),
)
def test_rungs_add_up_to_the_maximum_and_every_exit_is_a_profit(
    maximum: int, component: int, start_cents: int, increment_cents: int, short: bool, percent: bool
) -> None:
    """Unless the ladder ends at a price of zero; on both sides, in dollars and in percent."""
    step = f"{Decimal(increment_cents) / 100}{'%' if percent else ''}"
    ladder_terms = terms(
        maximum,
        component=min(component, maximum),
        initial=min(3 * component, maximum),
        increment=step,
        side=Side.SHORT if short else Side.LONG,
    )
    rungs = build_rungs(ladder_terms, Decimal(start_cents) / 100)
    sign = ladder_terms.side.sign
    total = sum(rung.size for rung in rungs)
    ends_at_zero = rungs[-1].entry_price <= Decimal(increment_cents) / 100
    assert total == maximum or ends_at_zero or percent
    prices = [rung.entry_price for rung in rungs]
    assert prices == sorted(prices, reverse=not short)
    for rung in rungs:
        assert sum(part.size for part in rung.slices) == rung.size
        exits = [profit_price(ladder_terms, rung.entry_price, part) for part in rung.slices]
        if rung.entry_price > Decimal("0.01"):
            assert all(sign * (price - rung.entry_price) > 0 for price in exits)
        assert all(price > 0 for price in exits)
    assert [rung.component for rung in rungs] == list(range(len(rungs)))


def test_an_illegal_stage_raises_and_changes_nothing() -> None:
    """What Alpaca showed cannot become doubtful again."""
    name = OrderName(kind="entry", component=0, generation=1)
    order = OwnOrder("id", name, Decimal(1), Decimal(1), Stage.SEEN)
    with pytest.raises(IllegalMove):
        order.move(Stage.UNRESOLVED)
    assert order.stage is Stage.SEEN
