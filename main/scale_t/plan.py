"""Pure: a ladder as a table, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from .fees import cents_of, coins_of
from .rungs import PriceGrid, build_rungs, profit_price
from .state import plain
from .terms import LadderTerms, Side


@dataclass(frozen=True, kw_only=True)
class PlanLine:
    """One rung. `exits`: quantity and price of its profit orders; `cost`: of all rungs so far;
    `profit`: of a round, after the fees of a pair."""

    component: int
    size: str
    entry: str
    cost: str
    exits: tuple[tuple[str, str], ...]
    profit: str
    profit_cents: Decimal


def lines_of(terms: LadderTerms, start_price: Decimal) -> list[PlanLine]:
    """The rungs from `start_price` on, with what each full round of a rung makes."""
    grid = PriceGrid(fixed=terms.price_step)
    start = grid.floor(start_price) if terms.side is Side.LONG else grid.ceil(start_price)
    lines, cost = [], Decimal(0)
    for rung in build_rungs(terms, start):
        cost += rung.size * rung.entry_price
        exits: list[tuple[Decimal, Decimal]] = []
        if terms.profit_offset is not None:
            exits = [
                (_received(terms, part.size), profit_price(terms, rung.entry_price, part))
                for part in rung.slices
            ]
        made = sum((terms.side.sign * qty * price for qty, price in exits), Decimal(0))
        made -= sum((cents_of(qty * price, terms.fee_rate) for qty, price in exits), Decimal(0))
        made -= terms.side.sign * rung.size * rung.entry_price if exits else 0
        lines.append(
            PlanLine(
                component=rung.component,
                size=str(plain(rung.size)),
                entry=f"{rung.entry_price:f}",
                cost=f"{cost:,.2f}",
                exits=tuple((str(plain(qty)), f"{price:f}") for qty, price in exits),
                profit=f"{made + 0:.2f}" if round(made, 2) else "0.00",
                profit_cents=made,
            )
        )
    return lines


def _received(terms: LadderTerms, size: Decimal) -> Decimal:
    """What an entry of this size leaves to be sold."""
    return terms.orderable(size - coins_of(size, terms.fee_rate)) if terms.fee_rate else size
