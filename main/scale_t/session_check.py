"""Pure: before each session, what is the same as when the ladder was last seen, and what is not?

A 10:1 split would make every rung a bargain, and a ladder would buy them all. So before it sends
anything in a new session, it compares what Alpaca says with what it knew: the account's quantity,
the asset's status, the previous close. What nothing explains holds it until a person says
`resume --confirm`.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final

from .fees import HIGHEST_RATE
from .saved import Saved
from .terms import LadderTerms, Side

JUMP: Final = Decimal("0.20")
_LARGEST_RATIO: Final = 200
_ROUND: Final = Decimal("0.001")


@dataclass(frozen=True, kw_only=True)
class Clock:
    """Whether the market is open, and which day it is in New York."""

    is_open: bool
    session: str


@dataclass(frozen=True, kw_only=True)
class LatestTrade:
    """The latest trade that may set the last price, by REST."""

    price: Decimal
    timestamp: str


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What Alpaca says. `split_change`: by how much splits changed the account's quantity since
    the ladder was last seen; `corporate`: kinds of its corporate actions since then."""

    session: str  # the day, by New York's calendar
    account_qty: Decimal
    status: str = "active"
    tradable: bool = True
    shortable: bool = True
    fractionable: bool = True
    previous_close: Decimal | None = None
    latest_price: Decimal | None = None
    split_change: Decimal = Decimal(0)
    corporate: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """`problems`: none means that the session may begin. `ratio`: of the split that was found, or
    that the figures look like. `short_of`: how much less the account has than the ladder owns."""

    problems: tuple[str, ...] = ()
    ratio: Decimal | None = None
    short_of: Decimal = Decimal(0)
    facts: Facts | None = field(default=None, repr=False)


def compare(
    terms: LadderTerms, own_qty: Decimal, own_price: Decimal | None, saved: Saved | None, now: Facts
) -> Verdict:
    """`own_qty`: by our own orders; `own_price`: what its newest entry stood at, where nothing was
    saved."""
    ratio = _ratio(terms, own_qty, saved, now)
    problems = [*_asset_problems(terms, now)]
    if now.corporate:
        named = ", ".join(now.corporate)
        told = f": {ratio:f} for 1" if ratio is not None else ""
        problems.append(f"a corporate action since it was last seen ({named}{told})")
    elif ratio is not None:
        problems.append(
            f"the account holds {now.account_qty}, which looks like a split of {ratio:f} for 1"
        )
    before = saved.last_price if saved is not None and saved.last_price else own_price
    problems += _jumps(before if own_qty or saved else None, now)
    held = terms.side.sign * now.account_qty
    short_of = max(Decimal(0), own_qty - held)
    if short_of <= own_qty * HIGHEST_RATE and terms.is_crypto:
        short_of = Decimal(0)  # a fee that is not listed yet, and more than was assumed
    if held < 0 and not own_qty:
        other = "short" if terms.side is Side.LONG else "long"
        problems.append(
            f"the account is {other} by {-held} of {terms.ticker}: an entry would close that"
        )
    elif short_of and ratio is None:
        problems.append(
            f"it owns {own_qty} by its own orders, but the account holds {now.account_qty}: "
            "somebody else traded; --adopt takes the account's quantity over"
        )
    return Verdict(problems=tuple(problems), ratio=ratio, short_of=short_of, facts=now)


def _asset_problems(terms: LadderTerms, now: Facts) -> list[str]:
    problems = []
    if now.status != "active" or not now.tradable:
        problems.append(f"Alpaca says that {terms.ticker} is {now.status}, and not to be traded")
    if terms.side is Side.SHORT and not now.shortable:
        problems.append(f"{terms.ticker} cannot be sold short")
    sizes = (terms.component, terms.initial, terms.max_position)
    whole = all(size == size.to_integral_value() for size in sizes)
    if not whole and not now.fractionable:
        problems.append(f"{terms.ticker} is not traded in fractions of a share")
    return problems


def _jumps(before: Decimal | None, now: Facts) -> list[str]:
    for name, price in (("previous close", now.previous_close), ("last trade", now.latest_price)):
        if before and price and abs(price / before - 1) >= JUMP:
            percent = (price / before - 1) * 100
            return [f"the {name} is {price}, {percent:+.0f}% from the {before} that it last saw"]
    return []


def _ratio(terms: LadderTerms, own_qty: Decimal, saved: Saved | None, now: Facts) -> Decimal | None:
    """Of a split: told by Alpaca's activities, or plain from the account's quantity."""
    before = now.account_qty - now.split_change
    if terms.is_crypto:
        return None  # coins do not split
    if now.split_change and before:
        return _rounded(now.account_qty / before)
    if saved is None or not saved.own_qty or now.corporate:
        return None
    expected = saved.account_qty + terms.side.sign * (own_qty - saved.own_qty)
    if not expected or now.account_qty / expected <= 0:
        return None
    ratio = now.account_qty / expected
    for candidate in (ratio, 1 / ratio):
        whole = candidate.to_integral_value()
        if 2 <= whole <= _LARGEST_RATIO and abs(candidate - whole) < _ROUND:
            return _rounded(ratio)
    return None


def _rounded(ratio: Decimal) -> Decimal:
    """Alpaca's quantities have nine decimals, so what they give has a rounding error."""
    near = ratio.quantize(_ROUND)
    return near.normalize() if near else ratio
