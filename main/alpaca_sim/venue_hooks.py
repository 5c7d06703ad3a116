"""What a test, a fault scenario or a person in Alpaca's app does to the account (U20, U21, U22).

Nothing here is reachable by the trading API. Each takes the venue's own road where there is one, so
that books and events stay right.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from typing import TYPE_CHECKING

from .matching import tick_of
from .order_desk import RaceOutcome
from .order_request import parse_ticket
from .order_requests import request_cancel
from .order_states import TRANSITIONS, IllegalTransition
from .order_trading import execute_now, work_soon
from .orders import Order
from .wire_numbers import NINE_PLACES, ROUNDING, ZERO, number

if TYPE_CHECKING:
    from .venue import TradingVenue

_ENDS = frozenset({"canceled", "expired", "rejected"})
_EXECUTIONS = frozenset({"fill", "partial_fill"})
_RESUMING = frozenset({"order_cancel_rejected", "order_replace_rejected"})


class UnknownOrder(Exception):
    """A hook was called for an order that the venue does not have. The caller's fault."""

    retry = False


def inject_event(venue: TradingVenue, order_id: str, event: str, now_ns: int) -> None:
    """Let this event happen to an order now, whatever the market does.

    Raises UnknownOrder, and IllegalTransition where the table of order_states has no such step;
    nothing has changed then.
    """
    desk, order = venue.desk, _order(venue, order_id)
    if event not in TRANSITIONS:
        raise IllegalTransition(order.id, order.status, event)
    if event in _EXECUTIONS:
        execute_now(desk, order, now_ns, part=event == "partial_fill")
    elif event in _ENDS:
        desk.end(order, event, now_ns)
    elif event == "new":
        desk.start_work(order, now_ns)
    elif event == "pending_cancel":
        request_cancel(desk, order, now_ns)
    else:
        desk.move(order, event, now_ns)
        if event in _RESUMING:
            work_soon(desk, order, now_ns)


def lose_next_race(venue: TradingVenue, outcome: RaceOutcome, order_id: str | None) -> None:
    """Decide the next cancel or replace of an order, or of any order (U22).

    `fill`: it fills before the venue answers; `partial_fill`: a part does, then it ends as asked;
    `refuse`: the venue says no and the order goes on; `late_fill`: it ends as asked, and an
    execution comes after that.
    """
    if order_id is not None:
        _order(venue, order_id)
    venue.desk.races[order_id] = outcome


def order_by_hand(venue: TradingVenue, fields: Mapping[str, object], now_ns: int) -> Order:
    """An order from Alpaca's app (U21): as POST /v2/orders, with an id that no client chose.

    Raises Refusal.
    """
    ticket = parse_ticket({**fields, "client_order_id": None})
    return venue.intake.submit(ticket, now_ns)


def split(venue: TradingVenue, symbol: str, new_per_old: Decimal, now_ns: int) -> None:
    """A split overnight (U20): `new_per_old` 4 makes four shares of one, 0.1 one of ten.

    Positions keep their cost. Open orders are `restated`: what is left of them has more shares at a
    lower price; one that is left with no share is canceled.
    """
    if new_per_old <= 0:
        raise ValueError("new_per_old must be > 0")
    desk, before = venue.desk, venue.ledger.qty(symbol)
    desk.quotes.pop(symbol, None)
    venue.ledger.split(symbol, new_per_old)
    for order in venue.store.open_orders(symbol):
        if order.is_open:
            _restate(venue, order, new_per_old, now_ns)
    desk.rebook(symbol, now_ns)
    change = venue.ledger.qty(symbol) - before
    if change:
        venue.activities.record_other(
            "SPLIT", now_ns, net_amount=ZERO, symbol=symbol, qty=number(change)
        )


def _restate(venue: TradingVenue, order: Order, new_per_old: Decimal, now_ns: int) -> None:
    if order.qty is not None:
        unit = Decimal(1) if order.qty == order.qty.to_integral_value() else NINE_PLACES
        leaves = ROUNDING.multiply(order.leaves_qty, new_per_old)
        leaves = leaves.quantize(unit, ROUND_DOWN, context=ROUNDING)
        if not leaves:
            venue.desk.end(order, "canceled", now_ns)
            return
        order.qty = order.filled_qty + leaves
    for name in ("limit_price", "stop_price", "trail_price", "hwm", "collar"):
        price = getattr(order, name)
        if price is not None:
            setattr(order, name, _divided(price, new_per_old, is_crypto=order.is_crypto))
    order.reserve_price = ROUNDING.divide(order.reserve_price, new_per_old)
    venue.desk.move(order, "restated", now_ns)


def _divided(price: Decimal, by: Decimal, *, is_crypto: bool) -> Decimal:
    quotient = ROUNDING.divide(price, by)
    tick = tick_of(quotient, is_crypto=is_crypto)
    return max(quotient.quantize(tick, ROUND_HALF_EVEN, context=ROUNDING), tick)


def rename(venue: TradingVenue, symbol: str, new_symbol: str, now_ns: int) -> None:
    """A ticker's new name (U20): the position goes with it, open orders are canceled.

    Raises ValueError if the old ticker is unknown.
    """
    asset = venue.assets.find(symbol)
    if asset is None:
        raise ValueError(f"unknown ticker: {symbol}")
    for order in venue.store.open_orders(symbol):
        if order.is_open:
            venue.desk.end(order, "canceled", now_ns)
    renamed = replace(asset, symbol=new_symbol)
    venue.assets.add(replace(asset, status="inactive", tradable=False))
    venue.assets.add(renamed)
    venue.desk.quotes.pop(symbol, None)
    venue.ledger.rename(symbol, renamed)
    venue.activities.record_other("NC", now_ns, net_amount=ZERO, symbol=new_symbol, qty="0")


def set_halted(venue: TradingVenue, symbol: str, halted: bool, now_ns: int) -> None:
    """A trading halt (U18): orders are taken but do not trade until it ends."""
    venue.desk.set_halted(symbol, halted, now_ns)


def _order(venue: TradingVenue, order_id: str) -> Order:
    order = venue.store.find(order_id)
    if order is None:
        raise UnknownOrder(f"no order {order_id}")
    return order
