"""What a fill does that is heard of late: after the sale of what it bought."""

from __future__ import annotations

from collections.abc import Iterable

from main.order_events import OrderEvents
from main.trade_events import TradeEvent
from main.utils.redis.messages import OrderMessage
from tests.unit.order_events.test_maker import fill, recovered

PURCHASE, SALE = fill(10, 10), fill(10, 10, "o-2", price="101.5", side="sell")
# The stream missed the purchase; REST tells it once the sale is known.
LATE_PURCHASE = recovered(10, 10)


def told(*messages: OrderMessage) -> tuple[OrderEvents, list[TradeEvent]]:
    maker = OrderEvents("AAPL", "test")
    return maker, [event for each in messages for event in maker.take(each)]


def ids(events: Iterable[TradeEvent], subject: str) -> set[str]:
    return {e.event_id for e in events if e.event_type.value.startswith(subject)}


def positions(events: Iterable[TradeEvent]) -> list[tuple[str, str, str]]:
    return [
        (event.event_type.value, event.data["position_id"], event.data["direction"])
        for event in events
        if event.event_type.value.startswith("position.")
    ]


def test_orders_and_trades_are_the_same_events_in_either_order() -> None:
    """Who has heard the purchase in time tells them first, and the bus takes them once."""
    _, in_time = told(PURCHASE, SALE)
    _, late = told(SALE, LATE_PURCHASE)
    assert ids(in_time, "order.") == ids(late, "order.")
    assert ids(in_time, "trade.") == ids(late, "trade.")


def test_a_position_is_another_one_and_what_is_held_and_won_is_the_same() -> None:
    """As docs/trader.md says: long from purchase to sale, or short from sale to purchase."""
    in_time_maker, in_time = told(PURCHASE, SALE)
    late_maker, late = told(SALE, LATE_PURCHASE)
    assert positions(in_time) == [
        ("position.opened", "o-1:10", "LONG"),
        ("position.closed", "o-1:10", "LONG"),
    ]
    assert positions(late) == [
        ("position.opened", "o-2:10", "SHORT"),
        ("position.closed", "o-2:10", "SHORT"),
    ]
    assert in_time[-1].data["pnl"] == late[-1].data["pnl"] == 20
    assert in_time_maker.memory.holding("bot").qty == late_maker.memory.holding("bot").qty == 0
    assert not ids(in_time, "position.") & ids(late, "position."), "a bus that hears both has two"
