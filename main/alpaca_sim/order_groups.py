"""Bracket, oco and oto: what happens to one order when another of its group fills or ends.

- The exits of a bracket or oto are `held` until the entry is completely filled. Then the first exit
  goes to the venue. The stop-loss beside a take-profit stays `held`; the venue's owner watches its
  price, so that the two never both work for the same shares.
- An exit that fills ends its sibling; one that fills in part leaves the sibling the rest.
- An entry that ends unfilled ends its exits, and an exit that ends takes its sibling with it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .matching import Quote, is_triggered, trigger
from .orders import Order, OrderGroup

if TYPE_CHECKING:
    from .order_desk import OrderDesk


def after_execution(desk: OrderDesk, order: Order, now_ns: int) -> None:
    """An order of a group was executed, in part or completely."""
    group = order.group
    if group is None:
        return
    if order is group.entry:
        if order.filled_ns is not None:
            activate(desk, group, now_ns)
        return
    for sibling in group.sibling_exits(order):
        if order.filled_ns is not None:
            desk.end(sibling, "canceled", now_ns)
        elif sibling.qty is not None:
            sibling.qty = sibling.filled_qty + order.leaves_qty
    desk.settle(*group.exits)


def after_end(desk: OrderDesk, order: Order, event: str, now_ns: int) -> None:
    """An order of a group was canceled, expired or rejected."""
    group = order.group
    if group is None:
        return
    following = "expired" if event == "expired" else "canceled"
    for exit_order in group.exits:
        if exit_order is not order and exit_order.is_open:
            desk.end(exit_order, following, now_ns)


def activate(desk: OrderDesk, group: OrderGroup, now_ns: int) -> None:
    """The entry is filled: the first exit goes to the venue, a second one is watched."""
    waiting = [order for order in group.exits if order.status == "held"]
    if waiting:
        desk.start_work(waiting[0], now_ns)
    for stop_loss in waiting[1:]:
        watch(desk, stop_loss)
    desk.settle(*group.exits)


def watch(desk: OrderDesk, stop_loss: Order) -> None:
    """From now on quotes may trigger this held stop-loss."""
    desk.watched_stops.setdefault(stop_loss.symbol, []).append(stop_loss)


def watch_stops(desk: OrderDesk, symbol: str, quote: Quote, now_ns: int) -> None:
    """Trigger the held stop-losses that this quote reaches; forget those that ended."""
    if desk.phase != "regular":
        return
    still: list[Order] = []
    for stop_loss in desk.watched_stops.pop(symbol, ()):
        if not stop_loss.is_open:
            continue
        if stop_loss.status == "held" and is_triggered(stop_loss, quote):
            _start_stop_loss(desk, stop_loss, quote, now_ns)
        else:
            still.append(stop_loss)
    if still:
        desk.watched_stops[symbol] = still


def _start_stop_loss(desk: OrderDesk, stop_loss: Order, quote: Quote, now_ns: int) -> None:
    group = stop_loss.group
    siblings = group.sibling_exits(stop_loss) if group is not None else []
    for sibling in siblings:
        desk.move(sibling, "canceled", now_ns)
    trigger(stop_loss, quote, desk.config.collars)
    desk.start_work(stop_loss, now_ns)


def swap(desk: OrderDesk, old: Order, new: Order) -> None:
    """A replacement takes the replaced order's place in the group."""
    group = old.group
    if group is None:
        return
    new.group = group
    group.put_in_place_of(old, new)
    watched = desk.watched_stops.get(new.symbol, [])
    desk.watched_stops[new.symbol] = [new if order is old else order for order in watched]
    desk.settle(*group.exits)
