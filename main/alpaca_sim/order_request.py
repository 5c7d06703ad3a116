"""What a client asks for in POST and PATCH /v2/orders, decoded and checked in itself.

Numbers come as strings or as JSON numbers. Nothing here knows the account, market or asset.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal, cast, get_args

from .orders import OrderType, Side, TimeInForce
from .refusals import bad_body, invalid, unprocessable
from .wire_numbers import bounded, parse_decimal

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


def decode_body(body: bytes) -> dict[str, object]:
    """The JSON object of a request, with exact decimals. Raises Refusal."""
    try:
        decoded = json.loads(
            body, parse_float=Decimal, parse_int=Decimal, parse_constant=_refuse_constant
        )
    except (ValueError, ArithmeticError, RecursionError):
        raise bad_body() from None
    if not isinstance(decoded, dict):
        raise bad_body()
    return decoded


def _refuse_constant(name: str) -> object:
    raise ValueError(name)


def parse_ticket(fields: Mapping[str, object]) -> Ticket:
    """Read POST /v2/orders. Raises Refusal with Alpaca's text for the first fault."""
    order_class = _choice(fields, "order_class", get_args(OrderClass), "")
    if order_class == "mleg":
        raise unprocessable("order_class mleg is only allowed for options, which are not traded")
    symbol = _text(fields, "symbol")
    if not symbol:
        raise invalid("symbol is required")
    order_type = _order_type(fields)
    ticket = Ticket(
        symbol=symbol,
        side=cast(Side, _required_choice(fields, "side", get_args(Side), "invalid side")),
        type=order_type,
        time_in_force=cast(
            TimeInForce,
            _required_choice(
                fields, "time_in_force", get_args(TimeInForce), "invalid time_in_force"
            ),
        ),
        qty=_decimal(fields, "qty"),
        notional=_decimal(fields, "notional"),
        limit_price=_decimal(fields, "limit_price"),
        stop_price=_decimal(fields, "stop_price"),
        trail_price=_decimal(fields, "trail_price"),
        trail_percent=_decimal(fields, "trail_percent"),
        extended_hours=_flag(fields, "extended_hours"),
        client_order_id=_client_order_id(fields),
        order_class=cast(OrderClass, "" if order_class == "simple" else order_class),
        take_profit=_take_profit(fields),
        stop_loss=_stop_loss(fields),
        position_intent=cast(
            "PositionIntent | None",
            _choice(fields, "position_intent", get_args(PositionIntent), None),
        ),
    )
    _check_quantity(ticket)
    if not (order_class == "oco" and order_type == "limit" and ticket.limit_price is None):
        _check_prices(order_type, {name: getattr(ticket, name) for name in _PRICE_FIELDS})
    return ticket


def parse_change(fields: Mapping[str, object]) -> Change:
    """Read PATCH /v2/orders/{id}. Raises Refusal."""
    if _decimal(fields, "notional") is not None:
        raise unprocessable("notional orders cannot be replaced")
    time_in_force = None
    if fields.get("time_in_force") is not None:
        time_in_force = _required_choice(
            fields, "time_in_force", get_args(TimeInForce), "invalid time_in_force"
        )
    change = Change(
        qty=_decimal(fields, "qty"),
        limit_price=_decimal(fields, "limit_price"),
        stop_price=_decimal(fields, "stop_price"),
        trail=_decimal(fields, "trail"),
        time_in_force=cast("TimeInForce | None", time_in_force),
        client_order_id=_client_order_id(fields),
    )
    for name in ("qty", "limit_price", "stop_price", "trail"):
        _check_positive(name, getattr(change, name))
    return change


def check_prices(order_type: OrderType, prices: Mapping[str, Decimal | None]) -> None:
    """Whether an order of this type has the prices that it needs and no others. Raises Refusal."""
    _check_prices(order_type, prices)


def _order_type(fields: Mapping[str, object]) -> OrderType:
    name = "type" if fields.get("type") is not None else "order_type"
    return cast(
        OrderType, _required_choice(fields, name, get_args(OrderType), "invalid order type")
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
    part = _object(fields, "take_profit")
    if part is None:
        return None
    price = _decimal(part, "limit_price", "take_profit.limit_price")
    if price is None:
        raise invalid("take_profit.limit_price is required")
    _check_positive("take_profit.limit_price", price)
    return price


def _stop_loss(fields: Mapping[str, object]) -> StopLoss | None:
    part = _object(fields, "stop_loss")
    if part is None:
        return None
    stop = _decimal(part, "stop_price", "stop_loss.stop_price")
    limit = _decimal(part, "limit_price", "stop_loss.limit_price")
    if stop is None:
        raise invalid("stop_loss.stop_price is required")
    _check_positive("stop_loss.stop_price", stop)
    _check_positive("stop_loss.limit_price", limit)
    return StopLoss(stop_price=stop, limit_price=limit)


def _object(fields: Mapping[str, object], name: str) -> Mapping[str, object] | None:
    value = fields.get(name)
    if value is None:
        return None
    if not isinstance(value, dict):
        raise bad_body()
    return value


def _client_order_id(fields: Mapping[str, object]) -> str | None:
    client_order_id = _text(fields, "client_order_id")
    if client_order_id and len(client_order_id) > MAX_CLIENT_ORDER_ID:
        raise invalid(f"client_order_id must be no more than {MAX_CLIENT_ORDER_ID} characters")
    return client_order_id or None


def _text(fields: Mapping[str, object], name: str) -> str | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise bad_body()
    return value


def _flag(fields: Mapping[str, object], name: str) -> bool:
    value = fields.get(name)
    if value is None:
        return False
    if not isinstance(value, bool):
        raise bad_body()
    return value


def _choice(
    fields: Mapping[str, object], name: str, allowed: tuple[str, ...], default: str | None
) -> str | None:
    value = _text(fields, name)
    if value is None or value == "":
        return default
    if value not in allowed:
        raise invalid(f"invalid {name}")
    return value


def _required_choice(
    fields: Mapping[str, object], name: str, allowed: tuple[str, ...], fault: str
) -> str:
    value = _text(fields, name)
    if value not in allowed:
        raise invalid(fault)
    return value


def _decimal(fields: Mapping[str, object], name: str, shown: str = "") -> Decimal | None:
    """A number, or None if it is absent. Bounded, so that the books stay exact."""
    value = fields.get(name)
    if value is None or value == "":
        return None
    shown = shown or name
    try:
        if isinstance(value, Decimal):
            return bounded(value)
        if isinstance(value, str):
            return parse_decimal(value)
    except ValueError as error:
        raise invalid(_number_fault(shown, str(error))) from None
    raise invalid(f"invalid {shown}")


def _number_fault(name: str, reason: str) -> str:
    return f"invalid {name}" if reason == "is not a number" else f"{name} {reason}"
