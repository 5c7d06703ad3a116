"""Event ids: two witnesses of one fact arrive at one id."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from main.trade_events import InvalidTradeEvent, TradeEvent, TradeEventType, event_id_of

FILLED = TradeEventType.ORDER_FILLED


def filled(**more: Any) -> TradeEvent:
    return TradeEvent.create_order_filled("AAPL", "o1", 187.2, 5, **more)


def test_the_executors_and_the_brokers_word_of_one_fill_are_one_event() -> None:
    by_rest = filled(account="PA1", filled_volume=10.0, source="executor")
    by_stream = filled(
        account="PA1", filled_volume=Decimal("10.00"), execution_id="e7", source="bridge"
    )
    assert by_rest.event_id == by_stream.event_id
    assert by_rest.event_id == event_id_of("PA1", "o1", FILLED, "10")


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"filled_volume": 5}, {"filled_volume": 10}),
        ({"execution_id": "e1"}, {"execution_id": "e2"}),
        ({"filled_volume": 5, "account": "PA1"}, {"filled_volume": 5, "account": "PA2"}),
        ({}, {}),
    ],
)
def test_different_fills_are_different_events(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert filled(**one).event_id != filled(**other).event_id


def test_an_order_is_created_cancelled_and_rejected_once() -> None:
    def made(price: float) -> list[str]:
        return [
            TradeEvent.create_order_created("AAPL", "o1", "limit", price, 5).event_id,
            TradeEvent.create_order_cancelled("AAPL", "o1").event_id,
            TradeEvent.create_order_rejected("AAPL", "o1", "no").event_id,
        ]

    assert made(1.0) == made(2.0)
    assert len(set(made(1.0))) == 3


def test_an_order_is_modified_as_often_as_it_is_modified() -> None:
    modified = TradeEvent.create_order_modified
    assert modified("AAPL", "o1", price=1).event_id != modified("AAPL", "o1", price=1).event_id
    one, other = (modified("AAPL", "o1", replaced_by="o2").event_id for _ in range(2))
    assert one == other


def test_without_an_account_the_symbol_keeps_orders_apart() -> None:
    one, other = (
        TradeEvent.create_order_cancelled(symbol, "1").event_id for symbol in ("XAUUSD", "BTCUSD")
    )
    assert one != other
    with pytest.raises(InvalidTradeEvent):
        event_id_of(None, "1", FILLED)


def test_an_account_and_a_symbol_of_the_same_name_are_not_the_same() -> None:
    assert event_id_of("X", "1", FILLED) != event_id_of(None, "1", FILLED, symbol="X")


def test_parts_cannot_be_shifted_into_each_other() -> None:
    assert event_id_of("a", "b:c", FILLED) != event_id_of("a:b", "c", FILLED)


@pytest.mark.parametrize(
    ("one", "other"),
    [(100, "100.00"), (1e-7, "0.0000001"), (0.1, Decimal("0.10")), ("1e2", "1E2 ")],
)
def test_a_quantity_has_one_form(one: Any, other: Any) -> None:
    same = isinstance(one, int | float)
    ids = {event_id_of("PA1", "o1", FILLED, quantity) for quantity in (one, other)}
    assert (len(ids) == 1) == same, "what only looks like a number is text"


def test_ids_are_what_they_were() -> None:
    """Another program, or the next release, must arrive at the same."""
    assert event_id_of("PA1", "o1", FILLED, "10") == "52a091c3e74e3538cfafc269fda1b0bb"


def test_the_other_events_have_ids_of_their_own_unless_one_is_given() -> None:
    one, other = (TradeEvent.create_signal_validated("A", "s1") for _ in range(2))
    assert one.event_id != other.event_id
    assert TradeEvent.create_signal_validated("A", "s1", event_id="mine").event_id == "mine"
