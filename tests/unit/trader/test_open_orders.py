"""Which executions are known, and from when to ask for those that are not."""

from __future__ import annotations

from typing import Any

from main.trader.open_orders import OVERLAP_NS, OpenOrders, moment_ns


def order(order_id: str, filled: str, **changes: Any) -> dict[str, Any]:
    fields = {
        "id": order_id,
        "symbol": "AAPL",
        "status": "partially_filled",
        "filled_qty": filled,
        "created_at": "2026-11-20T15:00:00Z",
        "submitted_at": "2026-11-20T15:00:00Z",
        "updated_at": "2026-11-20T15:00:00Z",
    }
    return fields | changes


def fill(order_id: str, cumulative: str, qty: str, second: int) -> dict[str, Any]:
    return {
        "id": f"{order_id}-{cumulative}",
        "order_id": order_id,
        "type": "partial_fill",
        "qty": qty,
        "cum_qty": cumulative,
        "price": "99",
        "transaction_time": f"2026-11-20T15:00:{second:02}Z",
    }


def test_executions_of_several_orders_come_in_the_order_in_which_they_happened() -> None:
    """Order by order, the position would seem to have gone another way."""
    watched = OpenOrders()
    for order_id in ("a", "b"):
        watched.watch(order_id)
    for each in (fill("a", "5", "5", 10), fill("b", "5", "5", 11), fill("a", "7", "2", 12)):
        watched.add_fill(each)
    messages = watched.messages([order("a", "7"), order("b", "5")], "account", paper=True)
    told = [(each.order_data["id"], each.update.get("cum_qty")) for each in messages]
    assert told == [("a", None), ("b", None), ("a", "5"), ("b", "5"), ("a", "7")]


def test_an_order_is_incomplete_until_its_executions_add_up() -> None:
    """Alpaca may list them later than the order says that they were."""
    watched = OpenOrders()
    watched.watch("a")
    assert not watched.knows_all(order("a", "7"))
    watched.add_fill(fill("a", "5", "5", 10))
    assert not watched.knows_all(order("a", "7"))
    watched.add_fill(fill("a", "7", "2", 12))
    assert watched.knows_all(order("a", "7"))


def test_executions_are_asked_for_since_the_last_that_were_all_known() -> None:
    """Not since a week ago, and never by this machine's clock."""
    watched = OpenOrders()
    watched.watch("a")
    born = moment_ns(order("a", "0"), "created_at")
    assert watched.ask_since_ns([order("a", "5")]) == born - OVERLAP_NS
    later = order("a", "0", updated_at="2026-11-21T10:00:00Z")
    assert watched.knows_all(later)
    seen = moment_ns(later, "updated_at")
    assert watched.ask_since_ns([order("a", "5")]) == seen - OVERLAP_NS


def test_an_order_is_born_as_alpaca_first_showed_it() -> None:
    """With its legs: they say whose the legs are."""
    watched = OpenOrders()
    watched.watch("a", order("a", "0", legs=[{"id": "leg"}]))
    first = watched.messages([order("a", "0", legs=None)], "account", paper=True)[0]
    assert first.order_data["legs"] == [{"id": "leg"}]


def test_each_thing_is_told_once() -> None:
    """However often it is looked at: the queue to the bus is for news."""
    watched = OpenOrders()
    watched.watch("a")
    watched.add_fill(fill("a", "5", "5", 10))
    working = order("a", "5")
    assert len(watched.messages([working], "account", paper=True)) == 2
    assert watched.messages([working], "account", paper=True) == []
    watched.add_fill(fill("a", "7", "2", 12))
    ended = order("a", "7", status="canceled", canceled_at="2026-11-20T15:01:00Z")
    told = watched.messages([ended], "account", paper=True)
    assert [each.event for each in told] == ["partial_fill", "canceled"]
