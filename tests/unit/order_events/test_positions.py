"""What an execution does to a position; profit at average cost."""

from __future__ import annotations

from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from main.order_events import Holding, PositionChange


def moved(*executions: tuple[int, str]) -> list[PositionChange]:
    holding, changes = Holding(), list[PositionChange]()
    for number, (qty, price) in enumerate(executions):
        changes += holding.apply(f"o-{number}", Decimal(qty), Decimal(price))
    return changes


def test_a_round_trip_opens_grows_shrinks_and_closes_with_its_profit() -> None:
    """Ten at 100, ten more at 102: 101 on average."""
    changes = moved((10, "100"), (10, "102"), (-5, "103"), (-15, "100"))
    assert [change.kind for change in changes] == [
        "opened",
        "modified",
        "partially_closed",
        "closed",
    ]
    assert {change.position_id for change in changes} == {"o-0"}
    assert changes[1].entry_price == 101
    assert [change.pnl for change in changes] == [0, 0, 10, -15]
    assert [change.remaining for change in changes] == [10, 20, 15, 0]


def test_a_short_position_earns_when_the_price_falls() -> None:
    """Sold at 100, bought back at 90."""
    opened, closed = moved((-10, "100"), (10, "90"))
    assert (opened.direction, opened.kind) == ("SHORT", "opened")
    assert (closed.direction, closed.pnl) == ("SHORT", 100)


def test_an_execution_through_zero_closes_one_position_and_opens_the_next() -> None:
    """Each has its own name."""
    opened, closed, turned = moved((10, "100"), (-15, "110"))
    assert (closed.kind, closed.qty, closed.pnl) == ("closed", 10, 100)
    assert (turned.kind, turned.direction, turned.remaining) == ("opened", "SHORT", 5)
    assert (opened.position_id, turned.position_id) == ("o-0", "o-1")


EXECUTIONS = st.lists(
    st.tuples(
        st.integers(-30, 30).filter(bool),
        st.decimals("0.0001", "999", places=4).map(str),
    ),
    max_size=30,
)


@given(EXECUTIONS)
def test_profit_and_what_is_held_add_up_to_the_cash_that_moved(
    executions: list[tuple[int, str]],
) -> None:
    """To the millionth of a dollar, whatever was bought and sold."""
    holding, pnl, cash = Holding(), Decimal(0), Decimal(0)
    for number, (qty, price) in enumerate(executions):
        cash -= qty * Decimal(price)
        for change in holding.apply(f"o-{number}", Decimal(qty), Decimal(price)):
            pnl += change.pnl
    assert holding.qty == sum(qty for qty, _ in executions)
    value_at_cost = holding.cost.copy_sign(holding.qty)
    assert abs(cash + value_at_cost - pnl) < Decimal("1E-6")


@given(EXECUTIONS)
def test_positions_follow_each_other_and_no_name_comes_twice(
    executions: list[tuple[int, str]],
) -> None:
    """Opened, then changes of the same name, then closed; then another one."""
    changes = moved(*executions)
    opened = [change.position_id for change in changes if change.kind == "opened"]
    assert len(set(opened)) == len(opened)
    for before, after in pairwise(changes):
        if before.kind == "closed":
            assert after.kind == "opened"
        else:
            assert after.kind != "opened"
            assert after.position_id == before.position_id
