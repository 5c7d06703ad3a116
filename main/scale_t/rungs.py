"""Pure: the fixed prices of a ladder, on Alpaca's price steps.

Alpaca takes at most two decimals from $1 on and four below (alpaca-protocol, "Sub-penny"); a pair
of crypto has a step of its own.

The initial component may be larger than the others. Its profit orders are then sliced to the
subsequent size, as if each slice had been an entry of its own, one level further along the ladder:
800 at 26.28 in slices of 400, an increment of 0.02 and an offset of 0.20 are sold at 26.48 and
26.46.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_EVEN, Decimal

from .terms import LadderTerms, Side

_CENT = Decimal("0.01")
_HUNDREDTH_OF_A_CENT = Decimal("0.0001")
_NINE_DECIMALS = Decimal("0.000000001")
MAX_RUNGS = 1_000


@dataclass(frozen=True, kw_only=True)
class PriceGrid:
    """Where limit prices may stand. `fixed` None: a stock's steps."""

    fixed: Decimal | None = None

    def step(self, price: Decimal) -> Decimal:
        """The smallest difference between two limit prices at this price."""
        if self.fixed is not None:
            return self.fixed
        return _CENT if price >= 1 else _HUNDREDTH_OF_A_CENT

    def floor(self, price: Decimal) -> Decimal:
        """For who buys: never pay more than asked."""
        return self._round(price, ROUND_FLOOR)

    def ceil(self, price: Decimal) -> Decimal:
        """For who sells: never take less than asked."""
        return self._round(price, ROUND_CEILING)

    def _round(self, price: Decimal, rounding: str) -> Decimal:
        step = self.step(price)
        return (price / step).quantize(Decimal(1), rounding=rounding) * step


@dataclass(frozen=True, kw_only=True)
class Slice:
    """A part of a rung that has a profit order of its own; `nearer` is what it asks for less."""

    size: Decimal
    nearer: Decimal


@dataclass(frozen=True, kw_only=True)
class Rung:
    """One component: entered at `entry_price`, and left in `slices`."""

    component: int
    size: Decimal
    entry_price: Decimal
    slices: tuple[Slice, ...]


def build_rungs(
    terms: LadderTerms, start_price: Decimal, ratio: Decimal = Decimal(1)
) -> tuple[Rung, ...]:
    """The rungs from the starting price on; their sizes add up to the maximum position.

    The last one takes what a whole component would exceed. The ladder ends early where the price
    would no longer be positive. After a split of `ratio` to one, `start_price` is still the old
    one: prices are divided and quantities multiplied here.
    """
    levels = Levels(terms, start_price, ratio)
    rungs: list[Rung] = []
    for component, size in enumerate(_sizes(terms)):
        price = levels.entry_price(component)
        if price <= 0:
            break
        rungs.append(
            Rung(
                component=component,
                size=size * ratio,
                entry_price=price,
                slices=tuple(_slices(terms, levels, component, size, ratio)),
            )
        )
    return tuple(rungs)


class Levels:
    """The prices of an endless ladder, before and after rounding."""

    def __init__(
        self, terms: LadderTerms, start_price: Decimal, ratio: Decimal = Decimal(1)
    ) -> None:
        self._terms, self._ratio = terms, ratio
        self._start = start_price / ratio
        self._grid = PriceGrid(fixed=terms.price_step)

    def level(self, number: int) -> Decimal:
        increment, sign = self._terms.increment, self._terms.side.sign
        if increment.percent:
            return self._start * (1 - sign * increment.amount / 100) ** number
        return self._start - sign * number * increment.amount / self._ratio

    def entry_price(self, component: int) -> Decimal:
        price = self.level(component)
        return self._grid.floor(price) if self._terms.side is Side.LONG else self._grid.ceil(price)


def profit_price(
    terms: LadderTerms, basis: Decimal, part: Slice, ratio: Decimal = Decimal(1)
) -> Decimal:
    """What the slice is offered at, when its entry stood (or filled) at `basis`.

    Never at a loss: at least one price step better than the basis, and of a pair so much better
    that the fees of both ways are paid.
    """
    assert terms.profit_offset is not None
    grid, sign = PriceGrid(fixed=terms.price_step), terms.side.sign
    offset = terms.profit_offset.of(basis)
    if not terms.profit_offset.percent:
        offset /= ratio
    asked = basis + sign * (offset - part.nearer)
    if terms.side is Side.LONG:
        least = grid.floor(basis) + grid.step(basis)
        if terms.fee_rate:
            least = max(least, grid.ceil(basis / (1 - terms.fee_rate) ** 2))
        return max(grid.ceil(asked), least)
    most = grid.ceil(basis)
    return max(min(grid.floor(asked), most - grid.step(most)), grid.step(Decimal(0)))


def _sizes(terms: LadderTerms) -> Iterator[Decimal]:
    """The components' sizes, drawn once: the same terms always give the same."""
    draw = random.Random(f"{terms.client_id}:{terms.ticker}")
    left, wanted = terms.max_position, terms.initial
    while left > 0:
        size = min(left, _vary(wanted, terms.randomize_percent, draw))
        yield size
        left, wanted = left - size, terms.component


def _vary(size: Decimal, percent: Decimal, draw: random.Random) -> Decimal:
    if not percent:
        return size
    # Whole shares stay whole; and nothing becomes nothing.
    unit = Decimal(1) if size == size.to_integral_value() else _NINE_DECIMALS
    factor = 1 + percent * Decimal(draw.randint(-1_000, 1_000)) / 100_000
    return max(unit, (size * factor).quantize(unit, rounding=ROUND_HALF_EVEN))


def _slices(
    terms: LadderTerms, levels: Levels, component: int, size: Decimal, ratio: Decimal
) -> Iterator[Slice]:
    left, number = size, 0
    while left > 0:
        part = min(left, max(terms.component, size / MAX_RUNGS) if component == 0 else left)
        nearer = abs(levels.level(component) - levels.level(component + number))
        yield Slice(size=part * ratio, nearer=nearer)
        left, number = left - part, number + 1
