"""What a client asks for in POST and PATCH /v2/orders, decoded and checked in itself.

Numbers come as strings or as JSON numbers. Nothing here knows the account, market or asset.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, cast, get_args

from .body_fields import choice_of, decimal_of, flag_of, object_of, required_choice_of, text_of
from .orders import OrderType, Side, TimeInForce
from .refusals import invalid, unprocessable

OrderClass = Literal["", "simple", "bracket", "oco", "oto", "mleg"]
PositionIntent = Literal["buy_to_open", "buy_to_close", "sell_to_open", "sell_to_close"]

MAX_CLIENT_ORDER_ID = 128
_PRICE_FIELDS = ("limit_price", "stop_price", "trail_price", "trail_percent")
_ALLOWED_PRICES: Mapping[str, tuple[str, ...]] = {
    "market": (),
    "limit": ("limit_price",),
    "stop": ("stop_price",),
    "stop_limit": ("limit_price", "stop_price"),
    "trailing_stop": ("trail_price", "trail_percent"),
}


@dataclass(frozen=True, kw_only=True)
class StopLoss:
    stop_price: Decimal
    limit_price: Decimal | None = None


@dataclass(frozen=True, kw_only=True)
class Ticket:
    """A well-formed order request."""

    symbol: str
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    qty: Decimal | None = None
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    extended_hours: bool = False
    client_order_id: str | None = None
    order_class: OrderClass = ""
    take_profit: Decimal | None = None
    stop_loss: StopLoss | None = None
    position_intent: PositionIntent | None = None

    @property
    def is_fractional(self) -> bool:
        """Asks for parts of shares, or for money's worth."""
        return self.qty is None or self.qty != self.qty.to_integral_value()


@dataclass(frozen=True, kw_only=True)
class Change:
    """A well-formed replace request; None leaves the order's own value."""

    qty: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail: Decimal | None = None
    time_in_force: TimeInForce | None = None
    client_order_id: str | None = None


def parse_ticket(fields: Mapping[str, object]) -> Ticket:
    """Read POST /v2/orders. Raises Refusal with Alpaca's text for the first fault."""
    order_class = choice_of(fields, "order_class", get_args(OrderClass), "")
    if order_class == "mleg":
        raise unprocessable("order_class mleg is only allowed for options, which are not traded")
    _refuse_unsupported(fields, "advanced_instructions", "legs")
    symbol = text_of(fields, "symbol")
    if not symbol:
        raise invalid("symbol is required")
    order_type = _order_type(fields)
    ticket = Ticket(
        symbol=symbol,
        side=cast(Side, required_choice_of(fields, "side", get_args(Side), "invalid side")),
        type=order_type,
        time_in_force=cast(
            TimeInForce,
            required_choice_of(
                fields, "time_in_force", get_args(TimeInForce), "invalid time_in_force"
            ),
        ),
        qty=decimal_of(fields, "qty"),
        notional=decimal_of(fields, "notional"),
        limit_price=decimal_of(fields, "limit_price"),
        stop_price=decimal_of(fields, "stop_price"),
        trail_price=decimal_of(fields, "trail_price"),
        trail_percent=decimal_of(fields, "trail_percent"),
        extended_hours=flag_of(fields, "extended_hours"),
        client_order_id=_client_order_id(fields),
        order_class=cast(OrderClass, "" if order_class == "simple" else order_class),
        take_profit=_take_profit(fields),
        stop_loss=_stop_loss(fields),
        position_intent=cast(
            "PositionIntent | None",
            choice_of(fields, "position_intent", get_args(PositionIntent), None),
        ),
    )
    _check_quantity(ticket)
    if not (order_class == "oco" and order_type == "limit" and ticket.limit_price is None):
        _check_prices(order_type, {name: getattr(ticket, name) for name in _PRICE_FIELDS})
    return ticket


def parse_change(fields: Mapping[str, object]) -> Change:
    """Read PATCH /v2/orders/{id}. Raises Refusal."""
    _refuse_unsupported(fields, "advanced_instructions")
    if decimal_of(fields, "notional") is not None:
        raise unprocessable("notional orders cannot be replaced")
    time_in_force = None
    if fields.get("time_in_force") is not None:
        time_in_force = required_choice_of(
            fields, "time_in_force", get_args(TimeInForce), "invalid time_in_force"
        )
    change = Change(
        qty=decimal_of(fields, "qty"),
        limit_price=decimal_of(fields, "limit_price"),
        stop_price=decimal_of(fields, "stop_price"),
        trail=decimal_of(fields, "trail"),
        time_in_force=cast("TimeInForce | None", time_in_force),
        client_order_id=_client_order_id(fields),
    )
    for name in ("qty", "limit_price", "stop_price", "trail"):
        _check_positive(name, getattr(change, name))
    return change


def check_prices(order_type: OrderType, prices: Mapping[str, Decimal | None]) -> None:
    """Whether an order of this type has the prices that it needs and no others. Raises Refusal."""
    _check_prices(order_type, prices)


def _refuse_unsupported(fields: Mapping[str, object], *names: str) -> None:
    """What this venue does not do is refused, not ignored."""
    for name in names:
        if fields.get(name):
            raise unprocessable(f"{name} is not supported")


def _order_type(fields: Mapping[str, object]) -> OrderType:
    name = "type" if fields.get("type") is not None else "order_type"
    return cast(
        OrderType, required_choice_of(fields, name, get_args(OrderType), "invalid order type")
    )


def _check_quantity(ticket: Ticket) -> None:
    if ticket.qty is None and ticket.notional is None:
        raise invalid("qty or notional is required")
    if ticket.qty is not None and ticket.notional is not None:
        raise invalid("only one of qty or notional is accepted")
    _check_positive("qty", ticket.qty)
    _check_positive("notional", ticket.notional)


def _check_positive(name: str, value: Decimal | None) -> None:
    if value is not None and value <= 0:
        raise invalid(f"{name} must be > 0")


def _check_prices(order_type: OrderType, prices: Mapping[str, Decimal | None]) -> None:
    _check_required_prices(order_type, prices)
    allowed = _ALLOWED_PRICES[order_type]
    for name in _PRICE_FIELDS:
        value = prices.get(name)
        if value is None:
            continue
        if name not in allowed:
            if order_type == "market":
                raise invalid("market orders require no stop or limit price")
            raise invalid(f"{order_type.replace('_', ' ')} orders must not have {name}")
        _check_positive(name, value)


def _check_required_prices(order_type: OrderType, prices: Mapping[str, Decimal | None]) -> None:
    has_limit = prices.get("limit_price") is not None
    has_stop = prices.get("stop_price") is not None
    trails = sum(prices.get(name) is not None for name in ("trail_price", "trail_percent"))
    if order_type == "limit" and not has_limit:
        raise invalid("limit orders require a limit price")
    if order_type == "stop" and not has_stop:
        raise invalid("stop orders require a stop price")
    if order_type == "stop_limit" and not (has_limit and has_stop):
        raise invalid("stop limit orders require both stop and limit price")
    if order_type == "trailing_stop" and trails != 1:
        raise invalid("trailing stop orders must specify one of trail_price or trail_percent")


def _take_profit(fields: Mapping[str, object]) -> Decimal | None:
    part = object_of(fields, "take_profit")
    if part is None:
        return None
    price = decimal_of(part, "limit_price", "take_profit.limit_price")
    if price is None:
        raise invalid("take_profit.limit_price is required")
    _check_positive("take_profit.limit_price", price)
    return price


def _stop_loss(fields: Mapping[str, object]) -> StopLoss | None:
    part = object_of(fields, "stop_loss")
    if part is None:
        return None
    stop = decimal_of(part, "stop_price", "stop_loss.stop_price")
    limit = decimal_of(part, "limit_price", "stop_loss.limit_price")
    if stop is None:
        raise invalid("stop_loss.stop_price is required")
    _check_positive("stop_loss.stop_price", stop)
    _check_positive("stop_loss.limit_price", limit)
    return StopLoss(stop_price=stop, limit_price=limit)


def _client_order_id(fields: Mapping[str, object]) -> str | None:
    client_order_id = text_of(fields, "client_order_id")
    if client_order_id and len(client_order_id) > MAX_CLIENT_ORDER_ID:
        raise invalid(f"client_order_id must be no more than {MAX_CLIENT_ORDER_ID} characters")
    return client_order_id or None
