"""Executions: what a quote does to the orders that wait, and what a trade does to the books."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING

from . import crypto_fees, order_groups
from .margin import margin_of
from .matching import (
    Quote,
    executable_qty,
    execution_price,
    partial_qty,
    trigger,
)
from .order_states import WORKING
from .order_wire import execution_to_wire
from .orders import AUCTION_TIMES, Order
from .wire_numbers import EXACT, ZERO

if TYPE_CHECKING:
    from .order_desk import OrderDesk

_IMMEDIATE = frozenset({"ioc", "fok"})


def on_quote(desk: OrderDesk, symbol: str, quote: Quote, now_ns: int) -> None:
    """Fill or trigger what this quote reaches."""
    desk.quotes[symbol] = quote
    desk.ledger.see_quote(symbol, quote)
    if symbol in desk.halted:
        return
    if symbol in desk.watched_stops:
        order_groups.watch_stops(desk, symbol, quote, now_ns)
    for order in desk.awaiting_open.pop(symbol, ()):
        auction(desk, order, now_ns)
    reached: list[Order] = []
    extended = desk.resting_extended.get(symbol)
    if extended is not None and ("/" in symbol or desk.phase != "closed"):
        reached += extended.take_reached(quote)
    regular = desk.resting.get(symbol)
    if regular is not None and desk.phase == "regular":
        reached += regular.take_reached(quote)
    for order in reached:
        work(desk, order, now_ns)


def work(desk: OrderDesk, order: Order, now_ns: int) -> None:
    """Let an order trade against the quote, and rest if it cannot."""
    if order.is_resting or order.status not in WORKING or order.filled_ns is not None:
        return
    if not desk.may_trade(order):
        desk.resting_for(order).rest(order)
        return
    quote = desk.quotes.get(order.symbol)
    if quote is not None:
        if not _is_affordable(desk, order, quote, now_ns):
            return
        trigger(order, quote, desk.config.collars)
        if not order.awaits_trigger and _trade(desk, order, quote, now_ns):
            return
    if order.time_in_force in _IMMEDIATE:
        desk.end(order, "canceled", now_ns)
    else:
        desk.resting_for(order).rest(order)


def _is_affordable(desk: OrderDesk, order: Order, quote: Quote, now_ns: int) -> bool:
    """An order that came before any quote is checked when the first one comes."""
    if order.reserve_price or order.is_closing or order.notional is not None:
        return True
    order.reserve_price = quote.price_for("buy") or quote.mid
    desk.settle(order)
    config = desk.config
    margin = margin_of(desk.ledger, desk.reserved, config.multiplier, config.maintenance_rate)
    if margin.equity - margin.margin_used - desk.reserved >= 0:
        return True
    desk.end(order, "rejected", now_ns)
    return False


def auction(desk: OrderDesk, order: Order, now_ns: int) -> None:
    """Trade an opg or cls order once against the quote; what is left is canceled."""
    if order.status not in WORKING or order.filled_ns is not None:
        return
    quote = desk.quotes.get(order.symbol)
    if quote is None or not _trade(desk, order, quote, now_ns):
        desk.end(order, "canceled", now_ns)


def _trade(desk: OrderDesk, order: Order, quote: Quote, now_ns: int) -> bool:
    """Execute if marketable. False if the order has to wait for another quote."""
    price = execution_price(order, quote, desk.config.slippage)
    if price is None:
        return False
    asked = executable_qty(order, price)
    wanted = _closable(desk, order, asked)
    if wanted <= 0 or (wanted < asked and order.time_in_force == "fok"):
        desk.end(order, "canceled", now_ns)
        return True
    qty = wanted
    if order.time_in_force != "fok" and desk.chance.random() < desk.config.partial_fill_rate:
        qty = partial_qty(wanted, desk.chance)
    _execute(desk, order, price, qty, now_ns, is_last=qty == asked)
    _after_partial(desk, order, now_ns)
    return True


def _after_partial(desk: OrderDesk, order: Order, now_ns: int) -> None:
    if order.filled_ns is not None or not order.is_open:
        return
    if order.time_in_force in {"ioc", *AUCTION_TIMES}:
        desk.end(order, "canceled", now_ns)
    else:
        desk.later(desk.config.partial_fill_pause_ns, now_ns, work, order)


def _closable(desk: OrderDesk, order: Order, wanted: Decimal) -> Decimal:
    """A closing order never trades more than there is to close."""
    if not order.is_closing:
        return wanted
    return min(wanted, abs(desk.ledger.qty(order.symbol)))


def _execute(
    desk: OrderDesk, order: Order, price: Decimal, qty: Decimal, now_ns: int, *, is_last: bool
) -> None:
    """Book one execution of the order and tell of it."""
    fee = crypto_fees.fee_of(desk.config, order, price, qty)
    event = "fill" if is_last else "partial_fill"
    desk.check_move(order, event)
    position = desk.ledger.execute(order.asset, order.side, qty, price, fee.cash, fee.coins)
    order.filled_qty = EXACT.add(order.filled_qty, qty)
    order.filled_cost = EXACT.add(order.filled_cost, EXACT.multiply(qty, price))
    if is_last:
        order.filled_ns = now_ns
    execution_id = desk.ids.uuid()
    told = execution_to_wire(
        execution_id=execution_id, price=price, qty=qty, position_qty=position.qty
    )
    desk.move(order, event, now_ns, told)
    desk.activities.record_fill(order, execution_id, price, qty, event, now_ns)
    crypto_fees.post(desk, order, price, fee, now_ns)
    order_groups.after_execution(desk, order, now_ns)


def execute_now(desk: OrderDesk, order: Order, now_ns: int, *, part: bool) -> bool:
    """Execute all or a part that is left, at the quote or else at the order's own price.

    False if there is nothing to execute: no price, or a position that is gone. Raises
    IllegalTransition where the order may not trade.
    """
    desk.check_move(order, "partial_fill" if part else "fill")
    quote = desk.quotes.get(order.symbol)
    price = execution_price(order, quote, ZERO) if quote is not None else None
    price = price or order.limit_price or order.stop_price
    if price is None and quote is not None:
        price = quote.price_for(order.side)
    if price is None:
        return False
    asked = executable_qty(order, price)
    qty = _closable(desk, order, asked)
    if part:
        qty = partial_qty(qty, desk.chance)
    if qty <= 0 or (part and qty == asked):
        return False
    _execute(desk, order, price, qty, now_ns, is_last=qty == asked)
    return True


def work_soon(desk: OrderDesk, order: Order, now_ns: int) -> None:
    """Look at the order again as the next step."""
    desk.later(0, now_ns, work, order)
