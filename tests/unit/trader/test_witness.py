"""What REST tells of an order, as the stream would have told it."""

from __future__ import annotations

from typing import Any

from main.trader.witness import messages_of

ORDER: dict[str, Any] = {
    "id": "o-1",
    "symbol": "AAPL",
    "status": "canceled",
    "filled_qty": "6",
    "submitted_at": "2026-11-20T10:00:00.5-05:00",
    "canceled_at": "2026-11-20T15:01:00Z",
}


def fill(cumulative: str, qty: str) -> dict[str, Any]:
    return {
        "id": f"f-{cumulative}",
        "type": "partial_fill",
        "qty": qty,
        "cum_qty": cumulative,
        "price": "99",
        "transaction_time": "2026-11-20T15:00:30Z",
    }


def test_birth_executions_and_end_in_their_order() -> None:
    """Whatever the order in which REST lists them; moments in UTC."""
    messages = messages_of(ORDER, [fill("6", "2"), fill("4", "4")], "account", paper=True)
    assert [(each.event, each.update.get("cum_qty")) for each in messages] == [
        ("new", None),
        ("partial_fill", "4"),
        ("partial_fill", "6"),
        ("canceled", None),
    ]
    assert messages[0].timestamp == "2026-11-20T15:00:00.500000000Z"
    assert messages[-1].timestamp == "2026-11-20T15:01:00.000000000Z"


def test_the_end_waits_for_executions_that_are_not_listed_yet() -> None:
    """Alpaca may list them a moment after the order says that they were."""
    messages = messages_of(ORDER, [fill("4", "4")], "account", paper=True)
    assert [each.event for each in messages] == ["new", "partial_fill"]


def test_executions_that_are_newer_than_the_order_are_told_all_the_same() -> None:
    """They were asked for after it; and no message says less than they do."""
    messages = messages_of(
        ORDER | {"status": "new", "filled_qty": "4"},
        [fill("4", "4"), fill("6", "2")],
        "account",
        paper=True,
    )
    assert [each.order_data["filled_qty"] for each in messages] == ["6", "6", "6"]
