"""Pure: the fixed prices of a ladder, on Alpaca's price steps.

Alpaca takes at most two decimals from $1 on and four below (alpaca-protocol, "Sub-penny").
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

_CENT = Decimal("0.01")
_HUNDREDTH_OF_A_CENT = Decimal("0.0001")


def price_step(price: Decimal) -> Decimal:
    """The smallest difference between two limit prices at this price."""
    return _CENT if price >= 1 else _HUNDREDTH_OF_A_CENT


def floor_to_step(price: Decimal) -> Decimal:
    """For a buy: never pay more than asked."""
    return price.quantize(price_step(price), rounding=ROUND_FLOOR)


def ceil_to_step(price: Decimal) -> Decimal:
    """For a sell: never take less than asked."""
    return price.quantize(price_step(price), rounding=ROUND_CEILING)


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One component: bought at `entry_price`, sold at `profit_price`."""

    component: int
    size: Decimal
    entry_price: Decimal
    profit_price: Decimal


def build_rungs(
    start_price: Decimal, increment: Decimal, component: Decimal, max_position: Decimal
) -> tuple[Rung, ...]:
    """The rungs from the starting price down; their sizes add up to `max_position`.

    The last one takes what a whole component would exceed. The ladder ends early where the price
    would no longer be positive.
    """
    rungs: list[Rung] = []
    left, price = max_position, floor_to_step(start_price)
    while left > 0 and price > 0:
        rungs.append(
            Rung(
                component=len(rungs),
                size=min(component, left),
                entry_price=price,
                profit_price=ceil_to_step(price + increment),
            )
        )
        left -= rungs[-1].size
        price -= increment
    return tuple(rungs)
