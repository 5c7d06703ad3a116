"""What a scale_t is told: one frozen config, checked as a whole."""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Final

from ..utils.redis.constants import CLIENT_ID_PATTERN, MAX_LEASE_S, normalize_ticker
from ..utils.redis.errors import InvalidTicker
from .rungs import price_step

MAX_RUNGS: Final = 1_000
MAX_REQUESTS_PER_MINUTE: Final = 200  # what Alpaca allows the whole account
MAX_AMOUNT: Final = 1_000_000_000
_CENT: Final = Decimal("0.01")


class ScaleTConfigError(ValueError):
    """One or more parameters are wrong; `problems` names them all. The program exits with 2."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        listed = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"These scale_t parameters are wrong:\n{listed}")


@dataclass(frozen=True, kw_only=True)
class ScaleTConfig:
    """A long ladder on one stock. Quantities in shares, prices and increments in dollars.

    Raises:
        ScaleTConfigError: naming every bad parameter.
    """

    ticker: str
    max_position: Decimal
    component: Decimal = Decimal(10)
    increment: Decimal = Decimal("0.05")
    start_price: Decimal | None = None  # None: the first price that may set the last price
    client_id: str = "scale-t"
    cancel_entries_on_stop: bool = True
    requests_per_minute: int = 60
    lease_s: int = 60

    def __post_init__(self) -> None:
        if problems := [*_name_problems(self), *_amount_problems(self), *_limit_problems(self)]:
            raise ScaleTConfigError(problems)
        object.__setattr__(self, "ticker", normalize_ticker(self.ticker))

    @classmethod
    def from_text(  # noqa: PLR0913  (the command line's own words)
        cls,
        *,
        ticker: str,
        max_position: str,
        component: str = "10",
        increment: str = "0.05",
        start_price: str | None = None,
        client_id: str = "scale-t",
        cancel_entries_on_stop: bool = True,
        requests_per_minute: int = 60,
    ) -> ScaleTConfig:
        """From words as a person types them.

        Raises:
            ScaleTConfigError: naming every bad parameter.
        """
        return cls(
            ticker=ticker,
            max_position=_number(max_position),
            component=_number(component),
            increment=_number(increment),
            start_price=None if start_price is None else _number(start_price),
            client_id=client_id,
            cancel_entries_on_stop=cancel_entries_on_stop,
            requests_per_minute=requests_per_minute,
        )


def _number(text: str) -> Decimal:
    """What is no number becomes NaN, which is named together with all other faults."""
    try:
        return Decimal(text.strip())
    except InvalidOperation:
        return Decimal("NaN")


def _name_problems(config: ScaleTConfig) -> list[str]:
    problems = []
    try:
        if "/" in normalize_ticker(config.ticker):
            problems.append(f"ticker {config.ticker}: this version trades stocks, not crypto")
    except InvalidTicker as error:
        problems.append(f"ticker: {error}")
    if not re.fullmatch(CLIENT_ID_PATTERN, config.client_id):
        problems.append(f"client_id {config.client_id[:70]!r} must match {CLIENT_ID_PATTERN}")
    return problems


def _amount_problems(config: ScaleTConfig) -> list[str]:
    amounts = {
        "max_position": config.max_position,
        "component": config.component,
        "increment": config.increment,
        "start_price": config.start_price,
    }
    bad = {
        name
        for name, amount in amounts.items()
        if amount is not None and not (amount.is_finite() and 0 < amount <= MAX_AMOUNT)
    }
    problems = [
        f"{name} must be a number above 0, at most {MAX_AMOUNT:,}"
        for name in amounts
        if name in bad
    ]
    if not bad & {"max_position", "component"}:
        problems += _size_problems(config.max_position, config.component)
    if not bad & {"increment", "start_price"}:
        problems += _price_problems(config.increment, config.start_price)
    return problems


def _size_problems(max_position: Decimal, component: Decimal) -> list[str]:
    problems = []
    if component > max_position:
        problems.append(f"component {component} is more than max_position {max_position}")
    if max_position / component > MAX_RUNGS:
        problems.append(
            f"max_position {max_position} in components of {component} "
            f"makes more than {MAX_RUNGS} rungs"
        )
    # Alpaca keeps nine decimals of a fractional share
    for name, amount in {"max_position": max_position, "component": component}.items():
        if amount != round(amount, 9):
            problems.append(f"{name} {amount} has more than nine decimals")
    return problems


def _price_problems(increment: Decimal, start_price: Decimal | None) -> list[str]:
    if start_price is None:
        if increment % _CENT:
            return [f"increment {increment} is finer than a cent: give a start_price below $1"]
        return []
    step = price_step(start_price)
    return [
        f"{name} {amount} is not a multiple of Alpaca's price step {step} at ${start_price}"
        for name, amount in {"start_price": start_price, "increment": increment}.items()
        if amount % step
    ]


def _limit_problems(config: ScaleTConfig) -> list[str]:
    problems = []
    if not 1 <= config.requests_per_minute <= MAX_REQUESTS_PER_MINUTE:
        problems.append(f"requests_per_minute must be 1 to {MAX_REQUESTS_PER_MINUTE}")
    if not 3 <= config.lease_s <= MAX_LEASE_S:
        problems.append(f"lease_s must be 3 to {MAX_LEASE_S}")
    return problems
