"""What the phases of the trading day do to orders: opening, auctions, expiry, the next day.

Orders that are `accepted` wait for a session that has not begun; no end of a session touches them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .config import SessionPhase
from .order_trading import auction

if TYPE_CHECKING:
    from .order_desk import OrderDesk

_DAY_TIMES = frozenset({"day", "opg", "cls", "ioc", "fok"})


def change_phase(desk: OrderDesk, phase: SessionPhase, now_ns: int) -> None:
    """Move the desk to another phase of the trading day."""
    before = desk.phase
    if phase == before:
        return
    if before == "regular":
        _closing_auction(desk, now_ns)
        _expire(desk, now_ns, extended=False)
    desk.phase = phase
    if phase == "closed":
        _expire(desk, now_ns, extended=True)
        _expire_old(desk, now_ns)
    elif phase == "regular":
        _bring_back(desk, now_ns)
    _send_waiting(desk, now_ns)


def _send_waiting(desk: OrderDesk, now_ns: int) -> None:
    """Orders whose session has begun go to the venue; opg orders wait for the first quote."""
    for order in desk.store.open_orders():
        if order.status != "accepted":
            continue
        if order.time_in_force == "opg" and desk.phase == "regular":
            desk.start_work(order, now_ns)
            desk.awaiting_open.setdefault(order.symbol, []).append(order)
        elif desk.may_be_sent(order):
            desk.start_work(order, now_ns)


def _closing_auction(desk: OrderDesk, now_ns: int) -> None:
    for order in desk.store.open_orders():
        if order.time_in_force == "cls":
            auction(desk, order, now_ns)


def _expire(desk: OrderDesk, now_ns: int, *, extended: bool) -> None:
    for order in desk.store.open_orders():
        if (
            order.is_open
            and not order.is_crypto
            and order.status not in {"accepted", "held"}
            and order.time_in_force in _DAY_TIMES
            and order.extended_hours == extended
        ):
            desk.end(order, "expired", now_ns)


def _expire_old(desk: OrderDesk, now_ns: int) -> None:
    """A gtc order does not live for ever."""
    for order in desk.store.open_orders():
        is_old = order.time_in_force == "gtc" and order.expires_ns <= now_ns
        if order.is_open and is_old and order.status != "held":
            desk.end(order, "expired", now_ns)


def _bring_back(desk: OrderDesk, now_ns: int) -> None:
    for order in desk.store.open_orders():
        if order.is_open and order.status in {"done_for_day", "calculated"}:
            desk.start_work(order, now_ns)
