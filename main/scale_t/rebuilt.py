"""A ladder of a name, as Alpaca's orders tell it: without the parameters that it ran with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any, Final

from .book import ZERO
from .ladder import Ladder
from .order_ids import order_prefix
from .saved import Saved
from .start_state import NotUnderstood, overdrawn, remember, take_in
from .starting import all_charges, with_steps
from .terms import Distance, LadderTerms, Side
from .venue import Venue

__all__ = ["NotUnderstood", "rebuilt_ladder"]

_LOOKS: Final = 5


def rebuilt_ladder(venue: Venue, client_id: str, ticker: str, saved: Saved | None) -> Ladder:
    """What it owns and what works, of its orders alone: enough to flatten it.

    Raises:
        VenueFailed: no answer.
        TooManyOrders: more than is read.
        UnknownTicker: Alpaca has no such pair.
        NotUnderstood: its orders say that it left more than it entered, or change all the time.
    """
    orders = venue.all_orders(ticker)
    ladder = Ladder(_terms(client_id, ticker, orders))
    if ladder.terms.is_crypto:
        ladder = Ladder(with_steps(ladder.terms, venue.asset(ticker)))
        ladder.book.see_fees(all_charges(venue, ladder.book.prefix, orders))
    remember(ladder, orders, saved)
    take_in(ladder, orders)
    ladder.place_existing()
    if wrong := [*overdrawn(ladder)]:
        raise NotUnderstood(wrong)
    _adopt_shortfall(ladder, venue)
    return ladder


def _adopt_shortfall(ladder: Ladder, venue: Venue) -> None:
    """Where the account holds less: no order crosses zero. What the own orders sold since they were
    listed is no such shortfall, so they are listed again: nothing may have filled in between."""
    for _ in range(_LOOKS):
        account_qty = max(ZERO, ladder.terms.side.sign * venue.position(ladder.terms.ticker))
        if account_qty >= ladder.position:
            return
        before = ladder.position
        take_in(ladder, venue.all_orders(ladder.terms.ticker))
        if ladder.position == before:
            ladder.adopt(account_qty)
            return
    raise NotUnderstood(["they fill while they are looked at: try again"])


def _terms(client_id: str, ticker: str, orders: Sequence[Mapping[str, Any]]) -> LadderTerms:
    prefix = f"{order_prefix(client_id, ticker)}entry:"
    entries = (each for each in orders if str(each.get("client_order_id")).startswith(prefix))
    sells = any(each.get("side") == "sell" for each in entries)
    size = Decimal(1)  # not known, and not needed: nothing is entered
    return LadderTerms(
        client_id=client_id,
        ticker=ticker,
        max_position=size,
        component=size,
        initial=size,
        increment=Distance(size),
        profit_offset=None,
        side=Side.SHORT if sells else Side.LONG,
    )
