"""What clients ask of an open order: cancel and replace, and the races that these can lose."""

from __future__ import annotations

from decimal import Decimal
from functools import partial
from typing import TYPE_CHECKING

from . import order_groups
from .order_states import WORKING, is_legal
from .order_trading import execute_now, work_soon
from .orders import Order

if TYPE_CHECKING:
    from .order_desk import OrderDesk, RaceOutcome


def request_cancel(desk: OrderDesk, order: Order, now_ns: int, *, at_once: bool = False) -> None:
    """A client asks to cancel an open order. It may still fill until the venue answers."""
    at_once = at_once or order.status in {"accepted", "held"}
    desk.check_move(order, "canceled" if at_once else "pending_cancel")
    order.cancel_requested_ns = now_ns
    if at_once:
        desk.end(order, "canceled", now_ns)
        return
    desk.move(order, "pending_cancel", now_ns, is_told=desk.config.tells_pending_cancel)
    desk.later(desk.config.cancel_delay_ns, now_ns, _finish_cancel, order)


def _finish_cancel(desk: OrderDesk, order: Order, now_ns: int) -> None:
    outcome = _race_of(desk, order)
    if order.status == "pending_cancel" and outcome == "refuse":
        desk.move(order, "order_cancel_rejected", now_ns)
        work_soon(desk, order, now_ns)
        return
    if order.status == "pending_cancel":
        _race_ahead(desk, order, outcome, now_ns)
    if order.status == "pending_cancel":
        desk.end(order, "canceled", now_ns)
        if outcome == "late_fill":
            desk.later(desk.config.fill_delay_ns, now_ns, _fill_late, order)
    elif order.status in {"filled", "expired", "replaced"}:
        desk.move(order, "order_cancel_rejected", now_ns)


def _race_of(desk: OrderDesk, order: Order) -> RaceOutcome | None:
    key = order.id if order.id in desk.races else None
    return desk.races.pop(key, None)


def _race_ahead(desk: OrderDesk, order: Order, outcome: RaceOutcome | None, now_ns: int) -> None:
    """What a test made come before the venue's answer."""
    if outcome in {"fill", "partial_fill"} and order.status in WORKING:
        execute_now(desk, order, now_ns, part=outcome == "partial_fill")


def _fill_late(desk: OrderDesk, order: Order, now_ns: int) -> None:
    if order.status == "canceled" and order.filled_ns is None:
        execute_now(desk, order, now_ns, part=False)


def request_replace(desk: OrderDesk, old: Order, new: Order, now_ns: int) -> None:
    """A client asks to replace an open order. The old one may still fill until then."""
    birth = "held" if old.status == "held" else "pending_new"
    new.pending_old, old.pending_new = old, new
    desk.store.add(new)
    desk.move(new, birth, now_ns, is_told=desk.config.tells_pending_new)
    desk.move(old, "pending_replace", now_ns, is_told=desk.config.tells_pending_replace)
    step = partial(_finish_replace, desk, old, new, old.filled_qty)
    desk.schedule.at(now_ns + desk.config.replace_delay_ns, step)


def _finish_replace(
    desk: OrderDesk, old: Order, new: Order, filled_then: Decimal, now_ns: int
) -> None:
    outcome = _race_of(desk, old)
    if old.status == "pending_replace":
        _race_ahead(desk, old, outcome, now_ns)
    new.pending_old = old.pending_new = None
    is_lost = old.status != "pending_replace" or outcome == "refuse" or not new.is_open
    if is_lost or not _keeps_a_rest(desk, new, old.filled_qty - filled_then):
        _lose_replace(desk, old, new, now_ns)
        return
    old.replaced_by, old.replaced_ns = new.id, now_ns
    desk.move(old, "replaced", now_ns)
    if old.group is not None:
        order_groups.swap(desk, old, new)
    if new.status == "pending_new":
        desk.start_work(new, now_ns)
    desk.settle(new)


def _keeps_a_rest(desk: OrderDesk, new: Order, executed: Decimal) -> bool:
    """Take from the replacement what the old order got while it was under way."""
    if new.qty is None or desk.config.replacement_qty == "original":
        return True
    if executed >= new.qty:
        return False
    new.qty -= executed
    return True


def _lose_replace(desk: OrderDesk, old: Order, new: Order, now_ns: int) -> None:
    if new.is_open:
        event = "rejected" if is_legal(new.status, "rejected") else "canceled"
        desk.end(new, event, now_ns)
    if is_legal(old.status, "order_replace_rejected"):  # a test may have told it already
        desk.move(old, "order_replace_rejected", now_ns)
    work_soon(desk, old, now_ns)
