"""Pure: what one owner holds of one symbol, at average cost, and what each execution does to it.

A position is named after the execution that opened it (`<order id>:<cumulative quantity>`), so that
whoever sees the same executions in the same order gives it the same name, and no name comes twice.
An execution that goes through zero closes one position and opens the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Context, Decimal
from typing import Final, Literal, TypeAlias

import msgspec

ZERO: Final = Decimal(0)
_ARITHMETIC: Final = Context(prec=40)
_PRICE_PLACES: Final = Decimal("1E-9")

Direction: TypeAlias = Literal["LONG", "SHORT"]
ChangeKind: TypeAlias = Literal["opened", "modified", "partially_closed", "closed"]


@dataclass(frozen=True, kw_only=True)
class PositionChange:
    """What an execution did. `qty` is what this change moved, `remaining` what is held after it.

    Quantities are positive; `direction` says which way. `pnl` is what was realised here, in USD.
    """

    kind: ChangeKind
    position_id: str
    direction: Direction
    qty: Decimal
    remaining: Decimal
    price: Decimal
    entry_price: Decimal
    pnl: Decimal = ZERO


class Holding(msgspec.Struct, kw_only=True):
    """One owner's position in one symbol: `qty` is negative for a short one, 0 for none."""

    position_id: str = ""
    qty: Decimal = ZERO
    cost: Decimal = ZERO  # of what is held: the sum of quantity times price, positive

    @property
    def entry_price(self) -> Decimal:
        """The average cost of one share, to nine decimals."""
        return _rounded(_ARITHMETIC.divide(self.cost, abs(self.qty))) if self.qty else ZERO

    def apply(self, name: str, signed_qty: Decimal, price: Decimal) -> list[PositionChange]:
        """Take in one execution, a sale with a negative quantity; `name` is the execution's."""
        if not signed_qty:
            return []
        if self.qty * signed_qty >= 0:
            return [self._grow(name, signed_qty, price)]
        closing = min(abs(signed_qty), abs(self.qty))
        changes = [self._shrink(closing, price)]
        rest = abs(signed_qty) - closing
        if rest:
            changes.append(self._grow(name, rest.copy_sign(signed_qty), price))
        return changes

    def _grow(self, name: str, signed_qty: Decimal, price: Decimal) -> PositionChange:
        opens = not self.qty
        if opens:
            self.position_id = name
        self.qty = _ARITHMETIC.add(self.qty, signed_qty)
        self.cost = _ARITHMETIC.add(self.cost, _ARITHMETIC.multiply(abs(signed_qty), price))
        return PositionChange(
            kind="opened" if opens else "modified",
            position_id=self.position_id,
            direction=self._direction,
            qty=abs(signed_qty),
            remaining=abs(self.qty),
            price=price,
            entry_price=self.entry_price,
        )

    def _shrink(self, closing: Decimal, price: Decimal) -> PositionChange:
        entry_price, direction, held = self.entry_price, self._direction, abs(self.qty)
        cost_of_closed = self.cost
        if closing != held:
            cost_of_closed = _ARITHMETIC.divide(_ARITHMETIC.multiply(self.cost, closing), held)
        proceeds = _ARITHMETIC.multiply(closing, price)
        gain = _ARITHMETIC.subtract(proceeds, cost_of_closed)
        self.qty = (held - closing).copy_sign(self.qty) if closing != held else ZERO
        self.cost = _ARITHMETIC.subtract(self.cost, cost_of_closed) if self.qty else ZERO
        return PositionChange(
            kind="partially_closed" if self.qty else "closed",
            position_id=self.position_id,
            direction=direction,
            qty=closing,
            remaining=abs(self.qty),
            price=price,
            entry_price=entry_price,
            pnl=_rounded(gain if direction == "LONG" else -gain),
        )

    @property
    def _direction(self) -> Direction:
        return "LONG" if self.qty > 0 else "SHORT"


def _rounded(number: Decimal) -> Decimal:
    """To nine decimals, Alpaca's finest, and without zeros that mean nothing."""
    rounded = number.quantize(_PRICE_PLACES, context=_ARITHMETIC)
    return ZERO if not rounded else rounded.normalize(_ARITHMETIC)
