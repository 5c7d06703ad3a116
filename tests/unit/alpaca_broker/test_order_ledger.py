"""Every order event is published exactly once, whoever told it, and however often."""

from __future__ import annotations

from typing import Any

import pytest

from main.alpaca_broker.order_ledger import OrderLedger

LATER_NS = 2_000_000_000_000_000_000
AT = "2026-11-20T15:00:00.5Z"


def order(order_id: str = "o1", status: str = "new", filled_qty: str = "0", **more: Any) -> Any:
    moments = {"submitted_at": AT, "updated_at": AT, "canceled_at": AT}
    return {"id": order_id, "status": status, "filled_qty": filled_qty, **moments, **more}


def update(event: str, filled_qty: str = "0", **more: Any) -> dict[str, Any]:
    return {"event": event, "order": order(filled_qty=filled_qty), **more}


def fill(cum_qty: str, kind: str = "partial_fill") -> dict[str, Any]:
    """An activity, as REST tells an execution."""
    return {"id": f"20261120::{cum_qty}", "order_id": "o1", "type": kind, "cum_qty": cum_qty,
            "qty": "1", "price": "100.10", "transaction_time": AT}  # fmt: skip


def take(ledger: OrderLedger, *updates: dict[str, Any]) -> list[bool]:
    """Which of these the stream's reader would publish."""
    taken = []
    for one in updates:
        taken.append(ledger.admits(one))
        if taken[-1]:
            ledger.note(one)
    return taken


def test_an_event_with_a_known_id_is_a_repeat() -> None:
    ledger = OrderLedger()
    assert take(ledger, *[update("new", event_id="e1")] * 2) == [True, False]
    assert take(ledger, *[update("fill", "1", execution_id="x1")] * 2) == [True, False]


def test_an_execution_without_an_id_is_known_by_what_is_filled_up_to_it() -> None:
    ledger = OrderLedger()
    events = [update("partial_fill", qty) for qty in ("1", "1.0", "2")]
    assert take(ledger, *events) == [True, False, True]


def test_an_execution_with_a_new_id_is_new_also_when_its_orders_snapshot_runs_ahead() -> None:
    """Two executions at once: both may carry the order as it is after the second."""
    ledger = OrderLedger()
    events = [update("partial_fill", "2", execution_id=x) for x in ("x1", "x2")]
    assert take(ledger, *events) == [True, True]


def test_what_rest_brought_first_is_dropped_when_the_stream_brings_it_late() -> None:
    ledger = OrderLedger()
    (missed,) = ledger.missing(
        order(status="partially_filled", filled_qty="1"), [fill("1")], LATER_NS
    )
    ledger.note(missed, recovered=True)
    assert take(ledger, update("partial_fill", "1", execution_id="x1")) == [False]
    assert take(ledger, update("fill", "2", execution_id="x2")) == [True]


@pytest.mark.parametrize("broken", [None, {}, {"id": None}, "an order"])
def test_updates_that_name_no_order_are_never_taken_for_each_other(broken: object) -> None:
    ledger = OrderLedger()
    assert take(ledger, *[{"event": "fill", "order": broken}] * 3) == [True, True, True]
    assert ledger.open_orders() == set(), "there is nothing to ask REST for"


def test_rest_tells_what_the_stream_did_not_and_no_more() -> None:
    ledger = OrderLedger()
    take(ledger, update("new"), update("partial_fill", "1", execution_id="x1"))
    fills = [fill("1"), fill("2"), fill("3", "fill")]
    missed = ledger.missing(order(status="filled", filled_qty="3"), fills, LATER_NS)
    assert [(m["event"], m["cum_qty"]) for m in missed] == [("partial_fill", "2"), ("fill", "3")]
    for one in missed:
        ledger.note(one, recovered=True)
    assert ledger.missing(order(status="filled", filled_qty="3"), fills, LATER_NS) == []


def test_an_order_is_new_before_it_fills_and_ends_after() -> None:
    missed = OrderLedger().missing(order(status="new", filled_qty="1"), [fill("1")], LATER_NS)
    assert [m["event"] for m in missed] == ["new", "partial_fill"]
    missed = OrderLedger().missing(order(status="canceled", filled_qty="1"), [fill("1")], LATER_NS)
    assert [m["event"] for m in missed] == ["partial_fill", "canceled"]


def test_what_may_still_be_on_its_way_is_left_to_the_stream() -> None:
    before_ns = 1_700_000_000_000_000_000
    assert OrderLedger().missing(order(), [fill("1")], before_ns) == []


def test_an_order_stays_open_until_it_is_seen_to_end() -> None:
    ledger = OrderLedger()
    take(ledger, update("new"))
    assert ledger.open_orders() == {"o1"}
    take(ledger, update("fill", "1", execution_id="x1"))
    assert ledger.open_orders() == set()


def test_a_fill_after_a_cancel_is_published() -> None:
    """U22: a real possibility."""
    ledger = OrderLedger()
    events = [update("new"), update("canceled"), update("fill", "1", execution_id="x1")]
    assert take(ledger, *events) == [True, True, True]


def test_executions_that_were_all_told_are_not_told_again_for_a_snapshot_that_ran_ahead() -> None:
    ledger = OrderLedger()
    ahead = {"id": "o", "filled_qty": "10", "status": "filled"}
    for number in (1, 2):
        ledger.note({"event": "fill", "execution_id": f"e{number}", "qty": "5", "order": ahead})
    fills = [
        {"cum_qty": "5", "qty": "5", "type": "partial_fill", "transaction_time": MOMENT},
        {"cum_qty": "10", "qty": "5", "type": "fill", "transaction_time": MOMENT},
    ]
    assert ledger.missing(ahead, fills, FAR) == []


def test_one_execution_that_was_told_does_not_stand_for_another() -> None:
    ledger = OrderLedger()
    order = {"id": "o", "filled_qty": "10", "status": "filled"}
    ledger.note({"event": "fill", "execution_id": "e2", "qty": "5", "order": order})
    fills = [
        {"cum_qty": "5", "qty": "5", "type": "partial_fill", "transaction_time": MOMENT},
        {"cum_qty": "10", "qty": "5", "type": "fill", "transaction_time": MOMENT},
    ]
    assert [update["cum_qty"] for update in ledger.missing(order, fills, FAR)] == ["5"]


MOMENT, FAR = "2026-11-20T15:00:00Z", 4_000_000_000_000_000_000


def test_an_execution_behind_a_snapshot_that_ran_ahead_is_found() -> None:
    """The stream told the first with the order as it was after the second, and dropped that one."""
    ledger = OrderLedger()
    order = {"id": "o", "filled_qty": "3", "status": "filled"}
    ledger.note({"event": "partial_fill", "execution_id": "e1", "qty": "1", "order": order})
    fills = [
        {"cum_qty": "1", "qty": "1", "type": "partial_fill", "transaction_time": MOMENT},
        {"cum_qty": "3", "qty": "2", "type": "fill", "transaction_time": MOMENT},
    ]
    assert [update["cum_qty"] for update in ledger.missing(order, fills, FAR)] == ["3"]


def test_of_two_equal_executions_the_one_that_was_told_is_known_by_its_moment() -> None:
    ledger = OrderLedger()
    order = {"id": "o", "filled_qty": "2", "status": "filled"}
    told = {"event": "fill", "execution_id": "e1", "qty": "1", "timestamp": MOMENT}
    ledger.note({**told, "order": order})
    later = "2026-11-20T15:00:01Z"
    fills = [
        {"cum_qty": "1", "qty": "1", "type": "partial_fill", "transaction_time": MOMENT},
        {"cum_qty": "2", "qty": "1", "type": "fill", "transaction_time": later},
    ]
    assert [update["cum_qty"] for update in ledger.missing(order, fills, FAR)] == ["2"]
