"""Every event of an order is new once, whoever tells it, and however often."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from main.utils.told_orders import EXECUTIONS, ToldOrders

Event = tuple[dict[str, Any], bool]  # Alpaca's update, and whether REST told it


def update(event: str, cumulative: str = "0", order_id: str = "o1", **more: Any) -> dict[str, Any]:
    return {"event": event, "order": {"id": order_id, "filled_qty": cumulative}, **more}


def recovered(event: str, cumulative: str, filled: str, **more: Any) -> dict[str, Any]:
    """As REST tells an execution: the quantity up to it, and the order as it is now."""
    return {**update(event, filled), "cum_qty": cumulative, **more}


def take(told: ToldOrders, one: dict[str, Any], *, by_rest: bool) -> bool:
    is_new = told.is_new(one, recovered=by_rest)
    if is_new:
        told.note(one, recovered=by_rest)
    return is_new


def test_what_the_last_broker_told_is_not_new_when_the_next_one_recovers_it() -> None:
    """Redis and the first broker's memory were lost together."""
    told = ToldOrders(keep=10)
    assert take(told, update("new"), by_rest=False)
    assert take(told, update("partial_fill", "1", execution_id="x1", qty="1"), by_rest=False)
    assert take(told, update("canceled", "1"), by_rest=False)
    again = recovered("partial_fill", "1", "1", qty="1", activity_id="a1")
    assert not take(told, again, by_rest=True)
    assert not take(told, update("canceled", "1"), by_rest=True)


def test_what_was_recovered_twice_is_new_once() -> None:
    told = ToldOrders(keep=10)
    fill = recovered("fill", "3", "3", qty="3", activity_id="a1")
    assert [take(told, fill, by_rest=True) for _ in range(3)] == [True, False, False]
    assert not take(told, update("fill", "3", execution_id="x1", qty="3"), by_rest=False)


def test_an_execution_that_was_missed_between_two_that_were_told_is_new() -> None:
    told = ToldOrders(keep=10)
    for cumulative in ("1", "3"):
        event = update("partial_fill", cumulative, execution_id=f"x{cumulative}", qty="1")
        assert take(told, event, by_rest=False)
    assert take(told, recovered("partial_fill", "2", "3", qty="1"), by_rest=True)
    assert not take(told, recovered("partial_fill", "3", "3", qty="1"), by_rest=True)


def test_an_order_that_is_noted_on_each_legs_channel_was_filled_once() -> None:
    told = ToldOrders(keep=10)
    fill = update("partial_fill", "5", execution_id="x1", qty="5")
    told.note(fill, recovered=False)
    told.note(fill, recovered=False)
    assert take(told, recovered("fill", "10", "10", qty="5"), by_rest=True)


@pytest.mark.parametrize("broken", [None, "an order", {}, {"id": None}])
def test_what_names_no_order_is_always_new(broken: object) -> None:
    told = ToldOrders(keep=10)
    one = {"event": "fill", "order": broken}
    assert [take(told, one, by_rest=by_rest) for by_rest in (True, False, True)] == [True] * 3


def test_its_memory_is_bounded_and_open_orders_go_last() -> None:
    told = ToldOrders(keep=100)
    told.note(update("new", order_id="open"), recovered=False)
    for number in range(1_000):
        ended = update("canceled", order_id=f"o{number}", event_id=f"e{number}")
        told.note(ended, recovered=False)
    assert len(told) <= 126
    assert told.open_orders() == {"open"}
    assert not told.is_new(update("canceled", order_id="o999", event_id="e999"), recovered=False)
    for number in range(1_000):
        told.note(update("new", order_id=f"n{number}"), recovered=False)
    assert len(told) <= 226


@st.composite
def lives(draw: st.DrawFn) -> tuple[list[dict[str, Any]], list[bool], list[int]]:
    """The events of one order; which of them the stream tells; and after how many events REST is
    asked (what it then knows is told again, by a broker that remembers nothing)."""
    quantities = draw(st.lists(st.integers(1, 5), min_size=1, max_size=6))
    events = [update("new", event_id="e0")]
    done = 0
    for number, qty in enumerate(quantities):
        done += qty
        kind = "fill" if number == len(quantities) - 1 else "partial_fill"
        ids = {"execution_id": f"x{number}", "event_id": f"e{number + 1}"}
        events.append(update(kind, str(done), qty=str(qty), **ids))
    streamed = draw(st.lists(st.booleans(), min_size=len(events), max_size=len(events)))
    asked = draw(st.lists(st.integers(0, len(events)), max_size=3))
    return events, streamed, asked


@given(lives())
def test_every_execution_is_new_exactly_once_whoever_tells_it(
    life: tuple[list[dict[str, Any]], list[bool], list[int]],
) -> None:
    events, streamed, asked = life
    told, taken = ToldOrders(keep=100), []

    def rest_tells(until: int) -> None:
        known = events[:until]
        filled = known[-1]["order"]["filled_qty"] if known else "0"
        for event in known:
            if event["event"] in EXECUTIONS:
                cumulative = event["order"]["filled_qty"]
                one = recovered(
                    event["event"], cumulative, filled, qty=event["qty"], activity_id=cumulative
                )
                if take(told, one, by_rest=True):
                    taken.append(cumulative)

    for number, event in enumerate(events):
        is_execution = event["event"] in EXECUTIONS
        if streamed[number] and take(told, event, by_rest=False) and is_execution:
            taken.append(event["order"]["filled_qty"])
        for until in asked:
            if until == number + 1:
                rest_tells(until)
    rest_tells(len(events))
    rest_tells(len(events))
    executions = [e["order"]["filled_qty"] for e in events if e["event"] in EXECUTIONS]
    assert sorted(taken) == sorted(executions)


def test_events_of_no_order_are_known_by_their_ids_and_only_so_many() -> None:
    told = ToldOrders(keep=10)
    for number in range(1_500):
        assert take(told, {"event": "odd", "event_id": f"e{number}"}, by_rest=False)
    assert not take(told, {"event": "odd", "event_id": "e1499"}, by_rest=False)
    assert not take(told, {"event": "odd", "event_id": "e500"}, by_rest=False)
    assert take(told, {"event": "odd", "event_id": "e499"}, by_rest=False), "forgotten"
