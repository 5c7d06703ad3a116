"""Whose order it is, in whatever order the messages come."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from main.utils.redis.messages import OrderMessage
from main.utils.redis.own_orders import OwnOrders


def told(order_id: str, client_order_id: str = "x", **more: Any) -> OrderMessage:
    return OrderMessage(
        symbol="AAPL",
        timestamp="2026-11-21T14:30:05Z",
        event="new",
        order_data={"id": order_id, "client_order_id": client_order_id, **more},
        update={},
        account_id="PA1",
        paper=True,
        source="stream",
    )


def test_an_order_is_its_clients_by_the_start_of_its_client_order_id() -> None:
    orders = OwnOrders("bot")
    mine, other, by_hand = told("1", "bot:a"), told("2", "bot2:a"), told("3", "d3b0")
    assert orders.pick(mine) == [mine]
    assert orders.pick(other) == []
    assert orders.pick(by_hand) == []


def test_legs_belong_to_whom_the_parent_belongs() -> None:
    orders = OwnOrders("bot")
    orders.pick(told("1", "bot:a", legs=[{"id": "2", "legs": [{"id": "3"}]}]))
    assert len(orders.pick(told("2"))) == len(orders.pick(told("3"))) == 1


def test_a_replacement_belongs_to_whom_the_replaced_belonged() -> None:
    orders = OwnOrders("bot")
    orders.pick(told("1", "bot:a"))
    assert orders.pick(told("2", replaces="1"))
    assert orders.pick(told("3", replaces="2"))
    assert not orders.pick(told("5", replaces="4"))


def test_a_replaced_order_tells_of_its_successor_too() -> None:
    orders = OwnOrders("bot")
    orders.pick(told("1", "bot:a", replaced_by="2"))
    assert orders.pick(told("2"))


def test_a_leg_that_comes_before_its_parent_is_handed_over_with_it() -> None:
    orders = OwnOrders("bot")
    leg, parent = told("2"), told("1", "bot:a", legs=[{"id": "2"}])
    assert orders.pick(leg) == []
    assert orders.pick(parent) == [parent, leg]
    assert orders.pick(told("9", "bot:b"))[1:] == []


def test_what_the_journal_told_claims_a_message_that_was_held() -> None:
    orders = OwnOrders("bot")
    leg, foreign = told("2"), told("8")
    assert orders.pick(leg) == []
    orders.learn(told("1", "bot:a", legs=[{"id": "2"}]))
    assert orders.pick(foreign) == [leg]


def test_only_so_many_foreign_messages_are_held() -> None:
    orders = OwnOrders("bot", held_messages=2)
    legs = [told(str(number)) for number in range(3)]
    for leg in legs:
        orders.pick(leg)
    parent = told("p", "bot:a", legs=[{"id": str(number)} for number in range(3)])
    assert orders.pick(parent) == [parent, *legs[1:]]


def test_only_so_many_ids_are_known() -> None:
    orders = OwnOrders("bot", kept_ids=2)
    for number in range(4):
        orders.pick(told(str(number), "bot:a"))
    assert not orders.pick(told("9", replaces="0"))
    assert orders.pick(told("10", replaces="3"))


def test_a_message_of_any_shape_is_no_more_than_foreign() -> None:
    orders = OwnOrders("bot")
    assert orders.pick(told("1", 7)) == []  # type: ignore[arg-type]
    assert orders.pick(told([], "x", legs="none", replaces=[1])) == []  # type: ignore[arg-type]
    strange = told("1", "bot:a", legs=[7, {"id": None}])
    assert strange in orders.pick(strange)


FAMILY = [
    told("1", "bot:a", legs=[{"id": "2"}, {"id": "3"}]),
    told("2"),
    told("4", replaces="3"),
    told("5", replaces="4"),
    told("6", "bot:b"),
]
FOREIGN = [told("20"), told("21", replaces="20"), told("22", "bot2:a")]


@given(st.permutations([*FAMILY, *FOREIGN]))
def test_every_own_message_is_handed_over_once_in_any_interleaving(
    messages: list[OrderMessage],
) -> None:
    """The replacement of a leg names an id that only the parent's message makes ours."""
    orders = OwnOrders("bot")
    picked = [each for message in messages for each in orders.pick(message)]
    assert sorted(map(str, picked)) == sorted(map(str, FAMILY))
