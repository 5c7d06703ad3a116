"""Pure: what an order asks for, checked before it leaves, and as Alpaca's request fields.

Quantities and prices are `Decimal` and become strings: a float would cut a fraction of a share.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Literal, TypeAlias, get_args

from .answers import OrderData
from .decimals import decimal_or_none, plain

Side: TypeAlias = Literal["buy", "sell"]
OrderType: TypeAlias = Literal["market", "limit", "stop", "stop_limit", "trailing_stop"]
TimeInForce: TypeAlias = Literal["day", "gtc", "opg", "cls", "ioc", "fok"]
OrderClass: TypeAlias = Literal["", "simple", "bracket", "oco", "oto"]
PositionIntent: TypeAlias = Literal["buy_to_open", "buy_to_close", "sell_to_open", "sell_to_close"]

MAX_CLIENT_ORDER_ID: Final = 128  # characters, Alpaca's rule
_PRICES: Final[dict[str, frozenset[str]]] = {
    "market": frozenset(),
    "limit": frozenset({"limit_price"}),
    "stop": frozenset({"stop_price"}),
    "stop_limit": frozenset({"limit_price", "stop_price"}),
    "trailing_stop": frozenset(),
}
_NUMBERS: Final = (
    "qty",
    "notional",
    "limit_price",
    "stop_price",
    "trail_price",
    "trail_percent",
    "take_profit_price",
    "stop_loss_price",
    "stop_loss_limit_price",
)


class InvalidTerms(ValueError):
    """An order that cannot be sent as it is. The caller's fault; `problems` names every one."""

    retry = False

    def __init__(self, what: str, problems: list[str]) -> None:
        self.problems = problems
        super().__init__(f"{what}: " + "; ".join(problems))


@dataclass(frozen=True, kw_only=True)
class OrderTerms:
    """One new order. Either `qty` (shares, or coins) or `notional` (USD).

    A bracket has `take_profit_price` and `stop_loss_price`, an oto one of them, an oco both (its
    own `limit_price` is then the take-profit's).

    Raises:
        InvalidTerms: all that is wrong with it.
    """

    symbol: str
    side: Side
    qty: Decimal | None = None
    notional: Decimal | None = None
    type: OrderType = "market"
    time_in_force: TimeInForce = "day"
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    extended_hours: bool = False
    order_class: OrderClass = ""
    take_profit_price: Decimal | None = None
    stop_loss_price: Decimal | None = None
    stop_loss_limit_price: Decimal | None = None
    position_intent: PositionIntent | None = None

    def __post_init__(self) -> None:
        problems = [*_bad_choices(self), *_bad_numbers(self)]
        problems = problems or [*_bad_amount(self), *_bad_prices(self), *_bad_legs(self)]
        if problems:
            raise InvalidTerms(f"{self.symbol or 'an order'} cannot be sent", problems)

    def fields(self, client_order_id: str) -> dict[str, Any]:
        """The body of `POST /v2/orders`.

        Raises:
            InvalidTerms: an id that Alpaca would not take.
        """
        check_client_order_id(client_order_id)
        numbers = ("qty", "notional", "limit_price", "stop_price", "trail_price", "trail_percent")
        body: dict[str, Any] = {
            "symbol": self.symbol,
            "side": self.side,
            "type": self.type,
            "time_in_force": self.time_in_force,
            "client_order_id": client_order_id,
        }
        body |= {name: plain(n) for name in numbers if (n := getattr(self, name)) is not None}
        if self.extended_hours:
            body["extended_hours"] = True
        if self.position_intent is not None:
            body["position_intent"] = self.position_intent
        return body | self._legs()

    def _legs(self) -> dict[str, Any]:
        if self.order_class in ("", "simple"):
            return {}
        legs: dict[str, Any] = {"order_class": self.order_class}
        if self.take_profit_price is not None:
            legs["take_profit"] = {"limit_price": plain(self.take_profit_price)}
        if self.stop_loss_price is not None:
            legs["stop_loss"] = {"stop_price": plain(self.stop_loss_price)}
            if self.stop_loss_limit_price is not None:
                legs["stop_loss"]["limit_price"] = plain(self.stop_loss_limit_price)
        return legs

    def fit(self, order_data: OrderData) -> bool:
        """Whether an order object is of these terms: same symbol, side and amount."""
        symbol = str(order_data.get("symbol", ""))
        return (
            symbol.replace("/", "") == self.symbol.replace("/", "")
            and order_data.get("side") == self.side
            and self.notional == decimal_or_none(order_data.get("notional"))
            # a notional order gets its quantity only later, if at all
            and self.qty in (None, decimal_or_none(order_data.get("qty")))
        )


@dataclass(frozen=True, kw_only=True)
class ReplaceTerms:
    """What is to change of a working order; None stays as it is. `qty` must be whole shares.

    Raises:
        InvalidTerms: all that is wrong with it.
    """

    qty: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail: Decimal | None = None
    time_in_force: TimeInForce | None = None

    def __post_init__(self) -> None:
        problems = _not_positive(self, ("qty", "limit_price", "stop_price", "trail"))
        if self.qty is not None and not problems and self.qty != self.qty.to_integral_value():
            problems.append(f"qty must be whole shares, not {plain(self.qty)}")
        if self.time_in_force not in (None, *get_args(TimeInForce)):
            problems.append(_choice("time_in_force", self.time_in_force, get_args(TimeInForce)))
        if not problems and not any(
            getattr(self, field.name) for field in dataclasses.fields(self)
        ):
            problems.append("nothing is to change: give qty, limit_price, stop_price or trail")
        if problems:
            raise InvalidTerms("the order cannot be replaced", problems)

    def fields(self, client_order_id: str) -> dict[str, Any]:
        """The body of `PATCH /v2/orders/{id}`; the id is the new order's."""
        check_client_order_id(client_order_id)
        body: dict[str, Any] = {"client_order_id": client_order_id}
        for name in ("qty", "limit_price", "stop_price", "trail"):
            if (number := getattr(self, name)) is not None:
                body[name] = plain(number)
        if self.time_in_force is not None:
            body["time_in_force"] = self.time_in_force
        return body


def check_client_order_id(client_order_id: str) -> None:
    """Raises:
    InvalidTerms: it is empty, too long, or not printable.
    """
    fits = 0 < len(client_order_id) <= MAX_CLIENT_ORDER_ID
    if not fits or not client_order_id.isprintable():
        told = client_order_id[:20] + ("…" if len(client_order_id) > 20 else "")
        raise InvalidTerms(
            f"client_order_id {told!r}",
            [f"must be 1 to {MAX_CLIENT_ORDER_ID} printable characters"],
        )


def _bad_choices(terms: OrderTerms) -> Iterator[str]:
    if not isinstance(terms.symbol, str) or not terms.symbol.strip():
        yield "symbol is missing"
    for name, allowed in (
        ("side", get_args(Side)),
        ("type", get_args(OrderType)),
        ("time_in_force", get_args(TimeInForce)),
        ("order_class", get_args(OrderClass)),
        ("position_intent", (None, *get_args(PositionIntent))),
    ):
        value = getattr(terms, name)
        if value not in allowed:
            yield _choice(name, value, allowed)


def _choice(name: str, value: object, allowed: tuple[object, ...]) -> str:
    listed = ", ".join(str(each) for each in allowed if each)
    return f"{name} must be one of {listed}, not {value!r}"


def _bad_numbers(terms: OrderTerms) -> list[str]:
    return _not_positive(terms, _NUMBERS)


def _not_positive(terms: object, names: tuple[str, ...]) -> list[str]:
    problems = []
    for name in names:
        number = getattr(terms, name)
        if number is None:
            continue
        if not isinstance(number, Decimal):
            problems.append(f"{name} must be a Decimal, not {type(number).__name__}")
        elif not number.is_finite() or number <= 0:
            problems.append(f"{name} must be > 0, not {number}")
    return problems


def _bad_amount(terms: OrderTerms) -> Iterator[str]:
    if terms.qty is None and terms.notional is None:
        yield "qty or notional is required"
    elif terms.qty is not None and terms.notional is not None:
        yield "only one of qty or notional is accepted"
    if terms.notional is not None and terms.type != "market" and terms.time_in_force != "day":
        yield "a notional order must be a day order"


def _bad_prices(terms: OrderTerms) -> Iterator[str]:
    needed = _PRICES[terms.type]
    if terms.order_class == "oco":
        needed = frozenset()
    for name in ("limit_price", "stop_price"):
        given = getattr(terms, name) is not None
        if name in needed and not given:
            yield f"a {terms.type} order needs a {name}"
        if given and name not in needed and terms.order_class != "oco":
            yield f"a {terms.type} order takes no {name}"
    trails = (terms.trail_price is not None) + (terms.trail_percent is not None)
    if terms.type == "trailing_stop" and trails != 1:
        yield "a trailing_stop order needs one of trail_price or trail_percent"
    if terms.type != "trailing_stop" and trails:
        yield f"a {terms.type} order takes no trail"


def _bad_legs(terms: OrderTerms) -> Iterator[str]:
    takes = terms.take_profit_price is not None
    stops = terms.stop_loss_price is not None
    if terms.stop_loss_limit_price is not None and not stops:
        yield "stop_loss_limit_price needs a stop_loss_price"
    if terms.order_class in ("bracket", "oco") and not (takes and stops):
        yield f"a {terms.order_class} order needs take_profit_price and stop_loss_price"
    if terms.order_class == "oto" and takes == stops:
        yield "an oto order needs one of take_profit_price or stop_loss_price"
    if terms.order_class in ("", "simple") and (takes or stops):
        yield "take_profit_price and stop_loss_price need an order_class: bracket, oco or oto"
