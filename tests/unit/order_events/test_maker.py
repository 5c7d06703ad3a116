"""From order messages to trade events, each once; whoever tells it, it is the same event."""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from main.order_events import OrderEvents
from main.order_events.records import Memory
from main.trade_events import TradeEvent
from main.utils.redis.messages import OrderMessage


def order_data(order_id: str = "o-1", **changes: Any) -> dict[str, Any]:
    fields: dict[str, Any] = {
        "id": order_id,
        "client_order_id": f"bot:AAPL:{order_id}",
        "created_at": "2026-11-20T15:00:00Z",
        "submitted_at": "2026-11-20T15:00:00Z",
        "symbol": "AAPL",
        "side": "buy",
        "type": "limit",
        "time_in_force": "day",
        "order_class": "",
        "qty": "10",
        "notional": None,
        "limit_price": "100.00",
        "stop_price": None,
        "filled_qty": "0",
        "filled_avg_price": None,
        "status": "new",
        "replaces": None,
        "replaced_by": None,
        "legs": None,
    }
    return fields | changes


def message(event: str, data: dict[str, Any], **update: Any) -> OrderMessage:
    return OrderMessage(
        symbol="AAPL",
        timestamp="2026-11-20T15:00:01Z",
        event=event,
        order_data=data,
        update=update,
        account_id="account-1",
        paper=True,
        source="stream",
    )


def fill(
    cumulative: int, qty: int, order_id: str = "o-1", price: str = "99.5", **changes: Any
) -> OrderMessage:
    """As the stream tells it."""
    whole = cumulative == 10
    data = order_data(order_id, filled_qty=str(cumulative), **changes)
    name = f"e-{order_id}-{cumulative}"
    event = "fill" if whole else "partial_fill"
    return message(event, data, qty=str(qty), price=price, execution_id=name)


def recovered(cumulative: int, qty: int, order_id: str = "o-1", **changes: Any) -> OrderMessage:
    """As REST tells it: the order of now, and no execution id."""
    event = "fill" if cumulative == 10 else "partial_fill"
    data = order_data(order_id, filled_qty="10", status="filled", **changes)
    return message(event, data, qty=str(qty), price="99.5", cum_qty=str(cumulative))


def told(*messages: OrderMessage, memory: Memory | None = None) -> list[TradeEvent]:
    maker = OrderEvents("AAPL", "test", memory)
    return [event for each in messages for event in maker.take(each)]


def kinds(*messages: OrderMessage) -> list[str]:
    return [event.event_type.value for event in told(*messages)]


def test_the_life_of_an_order_that_fills_in_two_parts() -> None:
    """Order, trades and position, in this order."""
    assert kinds(
        message("pending_new", order_data()), message("new", order_data()), fill(4, 4)
    ) == [
        "order.created",
        "order.partially_filled",
        "trade.executed",
        "position.opened",
    ]
    events = told(fill(4, 4), fill(10, 6))
    assert [event.event_type.value for event in events[4:]] == [
        "order.filled",
        "trade.executed",
        "position.modified",
    ]
    filled, _, position = events[4:]
    assert (filled.data["volume"], filled.data["filled_volume"]) == (6, 10)
    assert (position.data["volume"], position.data["entry_price"]) == (10, 99.5)
    assert filled.data["owner"] == "bot"
    assert filled.correlation_id == "bot:AAPL:o-1"


def test_whatever_is_heard_first_the_order_is_created_before_it() -> None:
    """With its terms, by its own moment of submission."""
    created, cancelled = told(message("canceled", order_data(status="canceled")))
    assert created.event_type.value == "order.created"
    assert created.timestamp == "2026-11-20T15:00:00Z"
    assert (created.data["order_type"], created.data["price"], created.data["volume"]) == (
        "BUY",
        100,
        10,
    )
    assert cancelled.data["reason"] == "canceled"


@pytest.mark.parametrize(
    ("event", "status", "expected"),
    [
        ("expired", "expired", ["order.cancelled"]),
        ("rejected", "rejected", ["order.rejected", "trade.failed"]),
        ("replaced", "replaced", ["order.modified"]),
        ("restated", "new", ["order.modified"]),
        ("pending_cancel", "pending_cancel", []),
        ("order_cancel_rejected", "new", []),
        ("an_event_of_tomorrow", "new", []),
    ],
)
def test_each_end_and_change_has_its_event(event: str, status: str, expected: list[str]) -> None:
    """And what moves nothing has none."""
    heard = message(event, order_data(status=status, replaced_by="o-2"), event_id="x")
    assert kinds(heard, heard) == ["order.created", *expected]


def test_a_sale_closes_the_position_with_its_profit() -> None:
    """Bought at 99.5, sold at 101.5."""
    events = told(fill(10, 10), fill(10, 10, "o-2", price="101.5", side="sell"))
    closed = events[-1]
    assert closed.event_type.value == "position.closed"
    assert closed.data["pnl"] == 20
    assert closed.data["position_id"] == "o-1:10"


def test_positions_are_kept_per_owner() -> None:
    """A sale by hand does not touch the bot's position."""
    events = told(fill(10, 10), fill(10, 10, "o-2", client_order_id="by-hand", side="sell"))
    opened = [event for event in events if event.event_type.value == "position.opened"]
    assert [(event.data["direction"], event.data.get("owner")) for event in opened] == [
        ("LONG", "bot"),
        ("SHORT", None),
    ]


def test_a_replacement_belongs_to_whom_the_old_order_did() -> None:
    """Alpaca's app gives it an id of its own."""
    new = order_data("o-2", client_order_id="8d1c", replaces="o-1")
    events = told(message("new", order_data()), message("new", new))
    assert events[-1].data["owner"] == "bot"
    assert events[-1].data["replaces"] == "o-1"


@pytest.mark.parametrize("nests_legs", [True, False])
def test_the_legs_of_a_bracket_close_their_owners_position(nests_legs: bool) -> None:
    """Whether the parent's message lists them or not; and say which of the two it was."""
    terms = {"client_order_id": "8d1c", "side": "sell", "type": "stop", "order_class": "bracket"}
    leg = order_data("leg", **terms)
    parent = {"order_class": "bracket", "legs": [leg] if nests_legs else None}
    sold = fill(10, 10, "leg", price="90", **terms)
    events = told(fill(10, 10, **parent), sold)
    assert [event.event_type.value for event in events[-2:]] == [
        "position.closed",
        "risk.stop_loss_hit",
    ]
    assert events[-2].data["owner"] == "bot"


def test_the_stream_and_rest_tell_the_same_events() -> None:
    """Same ids for order, trade and position, so that they become one on the bus."""
    stream = told(fill(4, 4), fill(10, 6))
    rest = told(recovered(4, 4), recovered(10, 6))
    assert [event.event_id for event in stream] == [event.event_id for event in rest]
    assert len({event.event_id for event in stream}) == len(stream)


def test_two_executions_at_one_place_are_two() -> None:
    """The stream's snapshots may run ahead: both say ten."""
    first = message(
        "partial_fill", order_data(filled_qty="10"), qty="4", price="99", execution_id="a"
    )
    second = message("fill", order_data(filled_qty="10"), qty="6", price="99", execution_id="b")
    events = told(first, second, first, second, recovered(4, 4), recovered(10, 6))
    trades = [event for event in events if event.event_type.value == "trade.executed"]
    assert [trade.data["volume"] for trade in trades] == [4, 6]
    assert events[-1].data["volume"] == 10, "the position has all of it"


@pytest.mark.parametrize(
    "junk",
    [
        message("fill", {}),
        message("fill", {"id": 7}),
        message("fill", order_data(symbol="")),
        message("fill", order_data(), qty="NaN", price="1"),
        message("fill", order_data(), qty="-1", price="1"),
        message("fill", order_data()),
    ],
)
def test_what_cannot_be_read_makes_no_fill(junk: OrderMessage) -> None:
    """It comes from outside; at most the order is known to exist."""
    assert set(kinds(junk)) <= {"order.created"}


def lives(draw: st.DrawFn) -> list[list[OrderMessage]]:
    """A few orders' messages, each in its own order of events."""
    orders = []
    for number in range(draw(st.integers(1, 4))):
        order_id, side = f"o-{number}", draw(st.sampled_from(["buy", "sell"]))
        messages, done = [message("new", order_data(order_id, side=side))], 0
        for _ in range(draw(st.integers(0, 3))):
            qty = draw(st.integers(1, 10 - done)) if done < 10 else 0
            if qty:
                done += qty
                messages.append(fill(done, qty, order_id, side=side))
        if done < 10:
            messages.append(message("canceled", order_data(order_id, side=side)))
        orders.append(messages)
    return orders


@settings(max_examples=50)
@given(st.composite(lives)(), st.randoms(use_true_random=False), st.data())
def test_a_restart_anywhere_and_repeats_tell_nothing_twice(
    orders: list[list[OrderMessage]], shuffle: random.Random, data: st.DataObject
) -> None:
    """The memory is written to JSON and read again between any two messages, and messages that
    were taken in already come once more: the events are the same, and each comes once."""
    queues, journal = [list(each) for each in orders], list[OrderMessage]()
    while any(queues):
        journal.append(shuffle.choice([each for each in queues if each]).pop(0))
    expected = [event.event_id for event in told(*journal)]
    memory, found = Memory(), list[str]()
    for index in range(len(journal)):
        again = data.draw(st.integers(0, index)) if data.draw(st.booleans()) else index
        found += [event.event_id for event in told(*journal[again : index + 1], memory=memory)]
        memory = msgspec.json.decode(msgspec.json.encode(memory), type=Memory)
    assert found == expected
    assert max(Counter(found).values()) == 1
