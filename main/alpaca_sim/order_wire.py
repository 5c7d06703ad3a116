"""Orders and stream events as JSON objects, with every key that Alpaca sends."""

from __future__ import annotations

from decimal import Decimal

from .orders import Order, is_leg
from .wire_numbers import (
    number,
    optional_number,
    optional_timestamp,
    timestamp,
)


def order_to_wire(order: Order, *, nested: bool = False) -> dict[str, object]:
    """The order object of REST and stream: numbers as strings, times RFC 3339.

    With `nested` a parent carries its legs; otherwise `legs` is null.
    """
    legs = None
    if nested and order.group is not None and not is_leg(order):
        legs = [order_to_wire(leg) for leg in order.group.legs]
    return {
        "id": order.id,
        "client_order_id": order.client_order_id,
        "created_at": timestamp(order.created_ns),
        "updated_at": timestamp(order.updated_ns),
        "submitted_at": timestamp(order.submitted_ns),
        "filled_at": optional_timestamp(order.filled_ns),
        "expired_at": optional_timestamp(order.expired_ns),
        "expires_at": timestamp(order.expires_ns),
        "cancel_requested_at": optional_timestamp(order.cancel_requested_ns),
        "canceled_at": optional_timestamp(order.canceled_ns),
        "failed_at": optional_timestamp(order.failed_ns),
        "replaced_at": optional_timestamp(order.replaced_ns),
        "replaced_by": order.replaced_by,
        "replaces": order.replaces,
        "asset_id": order.asset.id,
        "symbol": order.asset.symbol,
        "asset_class": order.asset.asset_class,
        "notional": optional_number(order.notional),
        "qty": optional_number(order.qty),
        "filled_qty": number(order.filled_qty),
        "filled_avg_price": optional_number(order.average_price),
        "order_class": order.order_class,
        "order_type": order.type,
        "type": order.type,
        "side": order.side,
        "position_intent": order.position_intent,
        "time_in_force": order.time_in_force,
        "limit_price": optional_number(order.limit_price),
        "stop_price": optional_number(order.stop_price),
        "status": order.status,
        "extended_hours": order.extended_hours,
        "legs": legs,
        "trail_percent": optional_number(order.trail_percent),
        "trail_price": optional_number(order.trail_price),
        "hwm": optional_number(order.hwm),
        "ratio_qty": None,
        "subtag": None,
        "source": None,
    }


def execution_to_wire(
    *, execution_id: str, price: Decimal, qty: Decimal, position_qty: Decimal
) -> dict[str, object]:
    """The keys that a `fill` or `partial_fill` event has besides: of this execution alone."""
    return {
        "execution_id": execution_id,
        "price": number(price),
        "qty": number(qty),
        "position_qty": number(position_qty),
    }
