"""Alpaca's refusals of trading requests: HTTP status, code, exact message.

Codes are reused by Alpaca, so clients match status and message. The texts are the catalogue of
Alpaca's protocol page, section 3; where that is silent, the text that users report.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from .wire_numbers import number

INVALID_INPUT = 40010001
UNPROCESSABLE = 42210000
FORBIDDEN = 40310000
NOT_FOUND = 40410000


class Refusal(Exception):
    """A request that is answered with one of Alpaca's error bodies. The caller's fault."""

    retry = False

    def __init__(
        self, status: int, code: int, message: str, facts: Mapping[str, object] | None = None
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.facts = dict(facts or {})

    def body(self) -> dict[str, object]:
        """The JSON body."""
        return {"code": self.code, "message": self.message, **self.facts}


def bad_body() -> Refusal:
    """The body is not JSON, or not an object."""
    return Refusal(400, 40010000, "request body format is invalid")


def invalid(message: str) -> Refusal:
    """A field is missing or malformed."""
    return Refusal(422, INVALID_INPUT, message)


def unprocessable(message: str) -> Refusal:
    """Well-formed, but against a rule."""
    return Refusal(422, UNPROCESSABLE, message)


def forbidden(message: str, facts: Mapping[str, object] | None = None) -> Refusal:
    """The account may not, or cannot afford it."""
    return Refusal(403, FORBIDDEN, message, facts)


def not_found(message: str) -> Refusal:
    """No such order, position, symbol or endpoint."""
    return Refusal(404, NOT_FOUND, message)


def sub_penny(name: str, price: Decimal) -> Refusal:
    """A stock price with more decimals than its level allows."""
    return unprocessable(
        f"invalid {name} {number(price)}. "
        "sub-penny increment does not fulfill minimum pricing criteria"
    )


def insufficient_buying_power(buying_power: Decimal, cost: Decimal) -> Refusal:
    """An opening order costs more than the account has."""
    facts = {"buying_power": number(buying_power), "cost_basis": number(cost)}
    return forbidden("insufficient buying power", facts)


def insufficient_qty(
    symbol: str, *, requested: Decimal, existing: Decimal, held: Decimal, related: list[str]
) -> Refusal:
    """A closing order asks for more than is not yet held for other orders."""
    available = max(existing - held, Decimal(0))
    facts: dict[str, object] = {
        "available": number(available),
        "existing_qty": number(existing),
        "held_for_orders": number(held),
        "related_orders": related,
        "symbol": symbol,
    }
    return forbidden(
        "insufficient qty available for order "
        f"(requested: {number(requested)}, available: {number(available)})",
        facts,
    )


def insufficient_balance(coin: str, *, requested: Decimal, available: Decimal) -> Refusal:
    """A crypto order asks for more of a coin, or of USD, than there is."""
    return forbidden(
        f"insufficient balance for {coin} "
        f"(requested: {number(requested)}, available: {number(available)})",
        {"available": number(available), "balance": number(available), "symbol": coin},
    )


def wash_trade(existing_order_id: str, reason: str) -> Refusal:
    """An open order of the other side could trade with this one."""
    return forbidden(
        "potential wash trade detected. use complex orders",
        {"existing_order_id": existing_order_id, "reject_reason": reason},
    )
