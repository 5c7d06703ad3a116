"""Pure: profit and loss of one ladder, to the cent, from its own orders alone.

A pair's fees are in it: as Alpaca listed them, until then as `fees.py` assumes. What live accounts
pay for stocks (a regulator's cents on sales) is not: Alpaca charges it by the day.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from .book import ZERO, Book
from .terms import Side


@dataclass(frozen=True, kw_only=True)
class Profit:
    """Dollars. `realised` is what closed quantity made; `open` what the held one makes at `mark`,
    None without a mark."""

    realised: Decimal
    open: Decimal | None
    cost: Decimal  # what the held quantity was entered at

    @property
    def total(self) -> Decimal:
        return self.realised + (self.open or ZERO)


def total_profit(book: Book, side: Side, mark: Decimal) -> Decimal:
    """Realised and open together: quick, for every price."""
    return side.sign * (book.flow + book.position * mark)


def profit_of(book: Book, side: Side, mark: Decimal | None) -> Profit:
    """`mark`: the last price, by which the held quantity is valued."""
    cost = sum((rung.held_cost() for rung in book.rungs.values()), ZERO)
    unrealised = None if mark is None else side.sign * (book.position * mark - cost)
    return Profit(realised=side.sign * (book.flow + cost), open=unrealised, cost=cost)
