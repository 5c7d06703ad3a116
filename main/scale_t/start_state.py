"""Pure: what a ladder may conclude from its own earlier orders when it starts.

Alpaca's list of orders is the only memory. Every own order, open or ended, is taken in, so an
order that is still open is never sent again, and what was bought and not yet sold is offered.
What this version does not understand, it does not touch: it sends nothing, cancels nothing, and
says why (`NotUnderstood`). That is so when

* an own order cannot be read, or the rungs sold more than they bought;
* quantity is held on rungs that do not lie on one ladder of this increment and starting price;
* the account holds less than the ladder owns: somebody else sold it.

To go on from there, sell the rest by hand and give another `client_id`, or the parameters of the
run before. The complete consumer will add `existing_position` and `filled_initial`, adopting the
account's position, profit from the fill's price, and the check before each session (splits, names).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from .book import ZERO, Book
from .ladder import Ladder
from .order_ids import parse_order_name


class NotUnderstood(Exception):
    """The start state contradicts itself or the parameters. Nothing was sent or cancelled."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        listed = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"scale_t does not understand its own earlier orders:\n{listed}")


def restore(
    ladder: Ladder,
    orders: Sequence[Mapping[str, Any]],
    account_qty: Decimal,
    start_price: Decimal | None,
) -> None:
    """Feed a new ladder with Alpaca's orders of its ticker, and fix its rungs where that is clear.

    The rungs stay open (the first eligible price fixes them) when nothing is held, no starting
    price was given, and no one working entry tells the old one.

    Raises:
        NotUnderstood: see above.
    """
    for order_data in orders:
        ladder.see_order_data(order_data, now=0.0)
    book = ladder.book
    problems = [*_unreadable(book, orders), *_impossible(book, account_qty)]
    if not problems:
        start_price, problems = _starting_price(ladder, start_price)
    if problems:
        raise NotUnderstood(problems)
    if start_price is not None:
        ladder.start_at(start_price)


def _unreadable(book: Book, orders: Sequence[Mapping[str, Any]]) -> list[str]:
    names = (order_data.get("client_order_id") for order_data in orders)
    mine = (name for name in names if isinstance(name, str) and name.startswith(book.prefix))
    return [
        f"order {name} is no name of ours"
        for name in mine
        if not parse_order_name(book.prefix, name)
    ]


def _impossible(book: Book, account_qty: Decimal) -> list[str]:
    problems = [
        f"rung {component} sold {-held} more than it bought"
        for component, held in sorted(book.held.items())
        if held < 0
    ]
    if not problems and book.position > max(account_qty, ZERO):
        problems.append(f"it owns {book.position}, but the account holds {account_qty}")
    return problems


def _starting_price(ladder: Ladder, given: Decimal | None) -> tuple[Decimal | None, list[str]]:
    """The starting price that fits what is held; what merely works can be cancelled."""
    book, increment = ladder.book, ladder.terms.increment
    held = {
        component: book.bought_at(component) + component * increment
        for component, qty in book.held.items()
        if qty > 0
    }
    if held:
        told = given if given is not None else next(iter(held.values()))
        wrong = [
            f"rung {component} was bought at {book.bought_at(component)}, which is not on a ladder "
            f"from {told} in steps of {increment}"
            for component, implied in sorted(held.items())
            if implied != told
        ]
        return told, wrong
    if given is None:
        working = book.active("entry")
        implied_prices = {e.limit_price + e.name.component * increment for e in working}
        given = implied_prices.pop() if len(implied_prices) == 1 else None
    return given, []
