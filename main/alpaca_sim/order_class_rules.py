"""What bracket, oco and oto orders must have besides what every order must."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

from .admission import Admitted
from .order_request import Ticket
from .refusals import invalid, unprocessable

_CENT = Decimal("0.01")


def oco_as_limit(ticket: Ticket) -> Ticket:
    """An oco names its take-profit beside the order: it is the order's own limit.

    Raises Refusal.
    """
    if ticket.order_class != "oco":
        return ticket
    if ticket.take_profit is None:
        raise invalid("oco orders require take_profit.limit_price")
    if ticket.stop_loss is None:
        raise invalid("oco orders require stop_loss.stop_price")
    if ticket.type != "limit":
        raise unprocessable("oco orders must be limit orders")
    return replace(ticket, limit_price=ticket.take_profit)


def check_class(ticket: Ticket, admitted: Admitted) -> None:
    """Whether the order fits its class. Raises Refusal."""
    kind = ticket.order_class
    if not kind:
        if ticket.take_profit is not None or ticket.stop_loss is not None:
            raise unprocessable("simple orders must not have take_profit or stop_loss")
        return
    if ticket.time_in_force not in {"day", "gtc"}:
        raise unprocessable(f"{kind} orders must be DAY or GTC orders")
    if ticket.extended_hours:
        raise unprocessable("extended hours order must be DAY or GTC limit orders")
    if kind == "oco":
        if not admitted.is_closing:
            raise unprocessable("oco orders must be exit orders")
    elif admitted.is_closing:
        raise unprocessable(f"{kind} orders must be entry orders")
    _check_legs(ticket)
    _check_leg_prices(ticket, admitted)


def _check_legs(ticket: Ticket) -> None:
    has_profit, has_stop = ticket.take_profit is not None, ticket.stop_loss is not None
    if ticket.order_class == "bracket" and not has_profit:
        raise invalid("bracket orders require take_profit.limit_price")
    if ticket.order_class == "bracket" and not has_stop:
        raise invalid("bracket orders require stop_loss.stop_price")
    if ticket.order_class == "oto" and has_profit == has_stop:
        raise invalid("oto orders require either take_profit or stop_loss")


def _check_leg_prices(ticket: Ticket, admitted: Admitted) -> None:
    """The take-profit lies on the side of profit, the stop-loss on the side of loss."""
    exits_by_selling = (ticket.side == "buy") != (ticket.order_class == "oco")
    stop = ticket.stop_loss.stop_price if ticket.stop_loss is not None else None
    profit = ticket.take_profit
    if stop is not None and profit is not None:
        if exits_by_selling and profit <= stop:
            raise unprocessable("take_profit.limit_price must be > stop_loss.stop_price")
        if not exits_by_selling and profit >= stop:
            raise unprocessable("take_profit.limit_price must be < stop_loss.stop_price")
    base = ticket.limit_price if ticket.type == "limit" else admitted.reserve_price
    if ticket.order_class == "oco" or base is None or not base:
        return
    if exits_by_selling and stop is not None and stop > base - _CENT:
        raise unprocessable("stop_loss.stop_price must be <= base_price - 0.01")
    if exits_by_selling and profit is not None and profit < base + _CENT:
        raise unprocessable("take_profit.limit_price must be >= base_price + 0.01")
    if not exits_by_selling and stop is not None and stop < base + _CENT:
        raise unprocessable("stop_loss.stop_price must be >= base_price + 0.01")
    if not exits_by_selling and profit is not None and profit > base - _CENT:
        raise unprocessable("take_profit.limit_price must be <= base_price - 0.01")
