"""Pure: a ladder as a table, before anything is sent."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal

from .rungs import PriceGrid, build_rungs, profit_price
from .state import plain
from .terms import LadderTerms, Side


@dataclass(frozen=True, kw_only=True)
class PlanLine:
    """One rung. `exits`: quantity and price of its profit orders; `cost`: of all rungs so far."""

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
                (part.size, profit_price(terms, rung.entry_price, part)) for part in rung.slices
            ]
        made = sum(
            (terms.side.sign * qty * (price - rung.entry_price) for qty, price in exits), Decimal(0)
        )
        lines.append(
            PlanLine(
                component=rung.component,
                size=str(plain(rung.size)),
                entry=f"{rung.entry_price:f}",
                cost=f"{cost:,.2f}",
                exits=tuple((str(plain(qty)), f"{price:f}") for qty, price in exits),
                profit=f"{made:.2f}",
                profit_cents=made,
            )
        )
    return lines
