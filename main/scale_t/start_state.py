"""Pure: what a ladder may conclude from its own earlier orders when it starts.

Alpaca's list of orders is the memory. Every own order, open or ended, is taken in, so an order that
is still open is never sent again, and what was entered and not yet left is offered. What it does
not understand, it does not touch: it sends nothing, cancels nothing, and says why
(`NotUnderstood`). That is so when

* an own order cannot be read, or the rungs left more than they entered;
* quantity is held on rungs that do not lie on one ladder of this increment and starting price.

To go on from there, close the rest by hand and give another `client_id`, or the parameters of the
run before. That the account holds less than the ladder owns is no contradiction, but somebody
else's trade: see `session_check.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from ..utils.decimals import decimal_or_none
from ..utils.redis.messages import parse_rfc3339
from .book import ZERO, Book
from .fees import HIGHEST_RATE
from .ladder import Ladder
from .order_ids import parse_order_name
from .rungs import Levels, PriceGrid
from .saved import Saved

_ROUNDED_BY = 3  # price steps that rounding on the way down the ladder may take


class NotUnderstood(Exception):
    """The start state contradicts itself or the parameters. Nothing was sent or cancelled."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        listed = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"scale_t does not understand its own earlier orders:\n{listed}")


def restore(
    ladder: Ladder,
    orders: Sequence[Mapping[str, Any]],
    given: Decimal | None,
    saved: Decimal | None = None,
) -> None:
    """Feed a new ladder with Alpaca's orders of its ticker, and fix its rungs where that is clear.

    `given` is the starting price of the parameters, `saved` that of the run before; both, like the
    orders, from before any split that `ladder.ratio` knows. The rungs stay open (the first eligible
    price fixes them) when nothing is held, no starting price was given, and no one working entry
    tells the old one.

    Raises:
        NotUnderstood: see above.
    """
    take_in(ladder, orders)
    problems = [*_unreadable(ladder.book, orders)]
    if not ladder.terms.existing_position and not ladder.adopted:
        problems += overdrawn(ladder)
    if not problems:
        start_price, problems = _starting_price(ladder, given, saved)
    if problems:
        raise NotUnderstood(problems)
    if start_price is not None:
        ladder.start_at(start_price)


def remember(
    ladder: Ladder, orders: Sequence[Mapping[str, Any]], saved: Saved | None
) -> Saved | None:
    """Give a new ladder what Alpaca's list of orders cannot tell: splits, and what was adopted.

    Returns what still holds of it: nothing for a ladder without any order, for that is a new one.
    """
    prefix = ladder.book.prefix
    own = [each for each in orders if str(each.get("client_order_id")).startswith(prefix)]
    if saved is None or not own:
        return None
    ladder.adopted = {int(rung): qty for rung, qty in saved.adopted.items()}
    owned = sum(ladder.adopted.values(), ladder.terms.existing_position)
    for order in own:
        ratio = _ratio(order, saved)
        ladder.book.ratios[order["client_order_id"]] = ratio
        sign = 1 if order["client_order_id"].startswith(f"{prefix}entry:") else -1
        owned += sign * ratio * (decimal_or_none(order.get("filled_qty")) or 0)
    if owned:
        # What it owns was entered on the old terms; who owns nothing was given new ones.
        ladder.ratio = saved.ratio
    return saved


def take_in(ladder: Ladder, orders: Sequence[Mapping[str, Any]]) -> None:
    """Tell a ladder of Alpaca's orders as they were submitted: the last entry of a rung that it is
    told of is the newest."""

    def place(order: Mapping[str, Any]) -> tuple[int, int]:
        moment = order.get("submitted_at") or order.get("created_at")
        generation = str(order.get("client_order_id")).rpartition(":")[2]
        return (
            parse_rfc3339(str(moment)) if moment else 0,
            int(generation) if generation.isdecimal() else 0,
        )

    for order_data in sorted(orders, key=place):
        ladder.see_order_data(order_data, now=0.0)


def _ratio(order: Mapping[str, Any], saved: Saved) -> Decimal:
    """Of the splits since the order was submitted."""
    submitted_ns, ratio = parse_rfc3339(str(order["submitted_at"])), Decimal(1)
    for split in saved.splits:
        if submitted_ns < parse_rfc3339(split.at):
            ratio *= split.ratio
    return ratio


def _unreadable(book: Book, orders: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    for order_data in orders:
        name = order_data.get("client_order_id")
        ours = isinstance(name, str) and name.startswith(book.prefix)
        if ours and not parse_order_name(book.prefix, name):
            yield f"order {name} is no name of ours"


def overdrawn(ladder: Ladder) -> Iterator[str]:
    """The rungs that left more than they entered, in words. A pair's may have by its fees, for
    they were assumed higher than they were, or lower."""
    terms = ladder.terms
    rate = max(terms.fee_rate, HIGHEST_RATE) if terms.is_crypto else ZERO
    for component, rung in sorted(ladder.book.rungs.items()):
        if rung.held + rung.entered * rate < 0:
            yield f"rung {component} left {-rung.held} more than it entered"


def _starting_price(
    ladder: Ladder, given: Decimal | None, saved: Decimal | None
) -> tuple[Decimal | None, list[str]]:
    """The starting price that fits what is held; what merely works can be cancelled."""
    book = ladder.book
    held = [
        (component, book.basis(component, from_fill=False))
        for component, rung in sorted(book.rungs.items())
        if not ladder.terms.is_dust(rung.held, rung.entered_at)
    ]
    # A ladder that moves is where its orders are, not where it once began.
    fixed = given if ladder.terms.re_anchor is None else None
    if not held and fixed is not None:
        return fixed, []
    working = [
        (order.name.component, order.limit_price)
        for order in book.active("entry")
        if order.limit_price is not None
    ]
    told = held or working
    candidates = [fixed] if fixed is not None else [saved, *_candidates(ladder, told)]
    for candidate in candidates:
        if candidate is not None and told and not _off(ladder, candidate, told):
            return candidate, []
    if not held:
        return given, []
    best = next(each for each in candidates if each is not None)
    return None, [
        f"rung {component} was entered at {price}, which is not on a ladder from {best} "
        f"in steps of {ladder.terms.increment}"
        for component, price in _off(ladder, best, held)
    ]


def _off(
    ladder: Ladder, start: Decimal, prices: Sequence[tuple[int, Decimal]]
) -> list[tuple[int, Decimal]]:
    """The rungs that would not stand where they do, on a ladder from `start`."""
    levels = Levels(ladder.terms, start, ladder.ratio)
    return [
        (component, price) for component, price in prices if levels.entry_price(component) != price
    ]


def _candidates(ladder: Ladder, prices: Sequence[tuple[int, Decimal]]) -> list[Decimal]:
    """The starting prices on which the first of these rungs may stand."""
    if not prices:
        return []
    (component, price), terms = prices[0], ladder.terms
    sign, ratio = terms.side.sign, ladder.ratio
    if terms.increment.percent:
        start = price * ratio / (1 - sign * terms.increment.amount / 100) ** component
    else:
        start = price * ratio + sign * component * terms.increment.amount
    grid = PriceGrid(fixed=terms.price_step)
    middle, step = grid.floor(start), grid.step(start)
    near = [middle + offset * step for offset in range(-_ROUNDED_BY, _ROUNDED_BY + 1)]
    return sorted(near, key=lambda each: abs(each - start))
