"""The table of an order's life: what may follow what, and that nothing else may."""

from __future__ import annotations

import pytest

from main.alpaca_sim.order_states import (
    CLOSED,
    OPEN,
    RESUME,
    TRANSITIONS,
    UNBORN,
    WORKING,
    IllegalTransition,
    is_legal,
    next_status,
)

# Every event that Alpaca documents or its SDKs know, but for `pending_review`, of which nothing
# else is known, and `partially_filled`, which is a status.
DOCUMENTED = {
    "new",
    "fill",
    "partial_fill",
    "canceled",
    "expired",
    "done_for_day",
    "replaced",
    "accepted",
    "rejected",
    "pending_new",
    "stopped",
    "pending_cancel",
    "pending_replace",
    "calculated",
    "suspended",
    "order_replace_rejected",
    "order_cancel_rejected",
    "held",
    "restated",
}


def test_every_documented_event_has_its_row() -> None:
    assert set(TRANSITIONS) == DOCUMENTED


def test_every_row_names_known_statuses() -> None:
    known = OPEN | CLOSED | {UNBORN}
    for row in TRANSITIONS.values():
        assert set(row) <= known
        assert set(row.values()) <= known | {RESUME}
    assert not OPEN & CLOSED
    assert WORKING <= OPEN


@pytest.mark.parametrize("status", sorted(CLOSED))
def test_an_end_is_an_end(status: str) -> None:
    """But for a late rejection of a request, a late execution, and the settling of a fill."""
    after = {event for event in TRANSITIONS if is_legal(status, event)}
    late = {"order_cancel_rejected", "order_replace_rejected"}
    allowed = {"canceled": late | {"fill", "partial_fill"}, "filled": late | {"calculated"}}
    assert after == allowed.get(status, late)


@pytest.mark.parametrize("status", sorted(OPEN))
def test_every_open_order_can_end(status: str) -> None:
    assert is_legal(status, "canceled")
    assert is_legal(status, "expired")


def test_a_request_under_way_keeps_its_status_through_partial_fills() -> None:
    for status in ("pending_cancel", "pending_replace"):
        assert next_status("id", status, "partial_fill", has_executions=True) == status
        assert next_status("id", status, "fill", has_executions=True) == "filled"


@pytest.mark.parametrize(
    ("event", "status"),
    [
        ("order_cancel_rejected", "pending_cancel"),
        ("order_replace_rejected", "pending_replace"),
        ("new", "suspended"),
        ("new", "done_for_day"),
    ],
)
def test_an_order_goes_back_to_work_as_what_it_was(event: str, status: str) -> None:
    assert next_status("id", status, event, has_executions=False) == "new"
    assert next_status("id", status, event, has_executions=True) == "partially_filled"


def test_an_illegal_step_names_order_status_and_event() -> None:
    with pytest.raises(IllegalTransition, match=r"abc.*'fill' may not follow status 'accepted'"):
        next_status("abc", "accepted", "fill", has_executions=False)
    with pytest.raises(IllegalTransition):
        next_status("abc", "new", "no_such_event", has_executions=False)
