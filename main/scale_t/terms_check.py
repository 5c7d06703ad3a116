"""Pure: what is wrong with a ladder's terms, all of it at once and in words."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from ..utils.redis.constants import CLIENT_ID_PATTERN
from .rungs import MAX_RUNGS, PriceGrid
from .terms import Distance, LadderTerms, Side

MAX_AMOUNT: Final = 1_000_000_000
MAX_WORKING_ENTRIES: Final = 20
MAX_RANDOMIZE: Final = 55  # ScaleTrader's
MAX_COIN_FEE: Final = Decimal("0.05")
_HUNDRED: Final = Decimal(100)
_LEAST: Final = Decimal("1e-12")  # less is none, and beyond what 28 digits can divide


def terms_problems(terms: LadderTerms, start_price: Decimal | None) -> Iterator[str]:
    """Every fault, for a person to mend."""
    if not re.fullmatch(CLIENT_ID_PATTERN, terms.client_id):
        yield f"client_id {terms.client_id[:70]!r} must match {CLIENT_ID_PATTERN}"
    amounts = _amounts(terms, start_price)
    bad = {name for name, amount in amounts.items() if not _is_amount(amount)}
    for name in sorted(bad):
        yield f"{name} must be a number above 0, at most {MAX_AMOUNT:,}"
    if "component" in bad:
        bad.add("initial")
    if not bad & {"max_position", "component", "initial"}:
        yield from _size_problems(terms)
    if not bad & {"component", "increment", "profit_offset", "start_price"}:
        yield from _price_problems(terms, start_price)
    if not bad & {"component", "initial", "increment", "profit_offset"}:
        yield from _slice_problems(terms)
    if not bad & {"lowest", "highest", "start_price"}:
        yield from _range_problems(terms, start_price)
    yield from _choice_problems(terms)
    yield from _restart_problems(terms, sizes_known=not bad & {"max_position", "initial"})


def _amounts(terms: LadderTerms, start_price: Decimal | None) -> dict[str, Decimal]:
    """What must be a number above zero, by the name that the user knows."""
    offset = None if terms.profit_offset is None else terms.profit_offset.amount
    given = {
        "max_position": terms.max_position,
        "component": terms.component,
        "initial": terms.initial,
        "increment": terms.increment.amount,
        "profit_offset": offset,
        "start_price": start_price,
        "lowest": terms.lowest,
        "highest": terms.highest,
        "session_limit": terms.session_limit,
        "max_loss": terms.max_loss,
    }
    # What was not given is what another is: its fault said once is enough.
    if _same(terms.initial, terms.component):
        del given["initial"]
    if offset is not None and _same(offset, terms.increment.amount):
        del given["profit_offset"]
    return {name: amount for name, amount in given.items() if amount is not None}


def _same(one: Decimal, other: Decimal) -> bool:
    return one == other or (one.is_nan() and other.is_nan())


def _is_amount(amount: Decimal) -> bool:
    return amount.is_finite() and _LEAST <= amount <= MAX_AMOUNT


def _size_problems(terms: LadderTerms) -> Iterator[str]:
    if terms.component > terms.max_position:
        yield f"component {terms.component} is more than max_position {terms.max_position}"
    elif terms.initial > terms.max_position:
        yield f"initial {terms.initial} is more than max_position {terms.max_position}"
    if max(terms.max_position / terms.component, terms.initial / terms.component) > MAX_RUNGS:
        yield (
            f"max_position {terms.max_position} in components of {terms.component} "
            f"makes more than {MAX_RUNGS} rungs"
        )
    sizes = {"max_position": terms.max_position, "component": terms.component}
    if terms.initial != terms.component:
        sizes["initial"] = terms.initial
    for name, amount in sizes.items():
        # Alpaca keeps nine decimals of a fractional share
        if amount != round(amount, 9):
            yield f"{name} {amount} has more than nine decimals"
        elif (
            terms.side is Side.SHORT
            and not terms.is_crypto
            and amount != amount.to_integral_value()
        ):
            yield f"{name} {amount}: Alpaca sells only whole shares short"


def _price_problems(terms: LadderTerms, start_price: Decimal | None) -> Iterator[str]:
    distances = {"increment": terms.increment}
    if terms.profit_offset is not None and terms.profit_offset != terms.increment:
        distances["profit_offset"] = terms.profit_offset
    for name, distance in distances.items():
        if distance.percent and distance.amount >= _HUNDRED:
            yield f"{name} {distance} must be less than 100%"
        elif not terms.is_crypto:
            yield from _step_problems(name, distance, start_price)
    if start_price is not None and terms.component * start_price < terms.least_cost:
        yield (
            f"component {terms.component} at {start_price} is less than the ${terms.least_cost} "
            "that Alpaca's smallest order costs"
        )
    if start_price is not None and not terms.is_crypto:
        step = PriceGrid().step(start_price)
        if start_price % step:
            yield (
                f"start_price {start_price} is not a multiple of Alpaca's price step {step} "
                f"at ${start_price}"
            )


def _step_problems(name: str, distance: Distance, start_price: Decimal | None) -> Iterator[str]:
    if distance.percent:
        if start_price is not None and distance.of(start_price) < PriceGrid().step(start_price):
            yield f"{name} {distance} is less than Alpaca's price step at ${start_price}"
        return
    if start_price is None:
        if distance.amount % PriceGrid().step(Decimal(1)):
            yield f"{name} {distance} is finer than a cent: give a start_price below $1"
        return
    step = PriceGrid().step(start_price)
    if distance.amount % step:
        yield (
            f"{name} {distance} is not a multiple of Alpaca's price step {step} at ${start_price}"
        )


def _slice_problems(terms: LadderTerms) -> Iterator[str]:
    """The last slice of a large initial component must still leave a profit."""
    offset, increment = terms.profit_offset, terms.increment
    if offset is None or offset.percent != increment.percent:
        return
    further = -(-terms.initial // terms.component) - 1
    if further > 0 and offset.amount <= further * increment.amount:
        yield (
            f"profit_offset {offset} leaves no profit for slice {further + 1} of the initial "
            f"component, which asks {further} increments less: it must be more than "
            f"{further * increment.amount:f}"
        )


def _range_problems(terms: LadderTerms, start_price: Decimal | None) -> Iterator[str]:
    lowest, highest = terms.lowest, terms.highest
    if lowest is not None and highest is not None and lowest >= highest:
        yield f"lowest {lowest} must be below highest {highest}"
    if start_price is None:
        return
    if lowest is not None and start_price < lowest:
        yield f"start_price {start_price} is below lowest {lowest}"
    if highest is not None and start_price > highest:
        yield f"start_price {start_price} is above highest {highest}"


def _choice_problems(terms: LadderTerms) -> Iterator[str]:
    if not 1 <= terms.working_entries <= MAX_WORKING_ENTRIES:
        yield f"working_entries must be 1 to {MAX_WORKING_ENTRIES}"
    percent = terms.randomize_percent
    if not (percent.is_finite() and 0 <= percent <= MAX_RANDOMIZE):
        yield f"randomize must be 0 to {MAX_RANDOMIZE} percent"
    if terms.is_crypto:
        yield from _pair_problems(terms)
    if terms.re_anchor is not None and not 1 <= terms.re_anchor <= MAX_RUNGS:
        yield f"re_anchor must be 1 to {MAX_RUNGS} increments"
    if terms.flatten_on_loss and terms.max_loss is None:
        yield "flatten_on_loss needs max_loss"


def _pair_problems(terms: LadderTerms) -> Iterator[str]:
    if terms.side is Side.SHORT:
        yield f"{terms.ticker}: Alpaca sells no crypto short, so pairs are for long ladders only"
    if not terms.ticker.endswith("/USD"):
        yield f"{terms.ticker}: only pairs against USD, for profit and fees are counted in dollars"
    if not (terms.coin_fee.is_finite() and 0 <= terms.coin_fee <= MAX_COIN_FEE):
        yield f"coin_fee must be 0 to {MAX_COIN_FEE * 100:.0f} percent"


def _restart_problems(terms: LadderTerms, sizes_known: bool) -> Iterator[str]:
    existing, filled = terms.existing_position, terms.filled_initial
    if not existing.is_finite() or existing < 0:
        yield "existing_position must be a number, 0 or more"
        return
    if sizes_known and existing > terms.max_position:
        yield f"existing_position {existing} is more than max_position {terms.max_position}"
    if (existing or filled is not None) and (terms.profit_offset is None or not terms.restore):
        yield "existing_position and filled_initial need profit orders and restore"
    if existing and terms.re_anchor is not None:
        yield "existing_position is a ladder that stands, re_anchor one that moves: choose one"
    if filled is None or not (sizes_known and terms.initial.is_finite()):
        return
    if not filled.is_finite() or not existing <= filled <= terms.initial:
        yield (
            f"filled_initial must be from existing_position {existing} to initial {terms.initial}"
        )
    elif existing >= terms.initial:
        yield f"filled_initial is for an existing_position below initial {terms.initial}"
