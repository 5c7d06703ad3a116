"""What a scale_t is told: one frozen config, checked as a whole."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import time
from decimal import Decimal
from pathlib import Path
from typing import Any, Final, Literal

from ..utils.redis.constants import MAX_LEASE_S, normalize_ticker
from ..utils.redis.errors import InvalidTicker
from .terms import Distance, LadderTerms, Side, number
from .terms_check import terms_problems

MAX_REQUESTS_PER_MINUTE: Final = 200  # what Alpaca allows the whole account
_HOURS: Final = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")


class ScaleTConfigError(ValueError):
    """One or more parameters are wrong; `problems` names them all. The program exits with 2."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        listed = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"These scale_t parameters are wrong:\n{listed}")


@dataclass(frozen=True, kw_only=True)
class Hours:
    """Entries only from `start` to `end`, by New York's clock."""

    start: time
    end: time

    def __str__(self) -> str:
        return f"{self.start:%H:%M}-{self.end:%H:%M}"


@dataclass(frozen=True, kw_only=True)
class ScaleTConfig:
    """The ladder's terms, and how it is run. `state_dir` None: the user's own state directory.

    Raises:
        ScaleTConfigError: naming every bad parameter.
    """

    terms: LadderTerms
    start_price: Decimal | None = None  # None: the first price that may set the last price
    hours: Hours | None = None
    cancel_entries_on_stop: bool = True
    adopt: bool = False
    requests_per_minute: int = 60
    max_price_age_s: float = 60.0
    lease_s: int = 60
    state_dir: Path | None = None

    def __post_init__(self) -> None:
        if problems := _problems(self):
            raise ScaleTConfigError(problems)

    @property
    def ticker(self) -> str:
        return self.terms.ticker

    @property
    def client_id(self) -> str:
        return self.terms.client_id

    @classmethod
    def from_text(  # noqa: PLR0913  (the command line's own words)
        cls,
        *,
        ticker: str,
        max_position: str,
        side: str = "long",
        component: str = "10",
        initial: str | None = None,
        increment: str = "0.05",
        profit_offset: str | None = None,
        profit_from: str = "limit",
        restore: bool = True,
        start_price: str | None = None,
        working_entries: int = 1,
        existing_position: str = "0",
        filled_initial: str | None = None,
        randomize: str = "0",
        lowest: str | None = None,
        highest: str | None = None,
        hours: str | None = None,
        session_limit: str | None = None,
        max_loss: str | None = None,
        flatten_on_loss: bool = False,
        re_anchor: int | None = None,
        coin_fee: str = "0.25%",
        client_id: str = "scale-t",
        **running: Any,
    ) -> ScaleTConfig:
        """From words as a person types them; `running` are the fields of how it is run.

        Raises:
            ScaleTConfigError: naming every bad parameter.
        """
        faults: list[str] = []
        step = Distance.parse(increment)
        terms = LadderTerms(
            client_id=client_id,
            ticker=_ticker(ticker, faults),
            max_position=number(max_position),
            component=number(component),
            initial=number(component if initial is None else initial),
            increment=step,
            profit_offset=_offset(profit_offset, step),
            side=_side(side, faults),
            restore=restore,
            profit_from=_basis(profit_from, faults),
            working_entries=working_entries,
            existing_position=number(existing_position),
            filled_initial=_or_none(filled_initial),
            randomize_percent=number(randomize.removesuffix("%")),
            lowest=_or_none(lowest),
            highest=_or_none(highest),
            session_limit=_or_none(session_limit),
            max_loss=_or_none(max_loss),
            flatten_on_loss=flatten_on_loss,
            re_anchor=re_anchor,
            coin_fee=number(coin_fee.removesuffix("%")) / 100,
        )
        between = _hours(hours, faults)
        try:
            config = cls(terms=terms, start_price=_or_none(start_price), hours=between, **running)
        except ScaleTConfigError as error:
            raise ScaleTConfigError([*faults, *error.problems]) from None
        if faults:
            raise ScaleTConfigError(faults)
        return config


def _problems(config: ScaleTConfig) -> list[str]:
    problems = list(terms_problems(config.terms, config.start_price))
    if not 1 <= config.requests_per_minute <= MAX_REQUESTS_PER_MINUTE:
        problems.append(f"requests_per_minute must be 1 to {MAX_REQUESTS_PER_MINUTE}")
    if not 3 <= config.lease_s <= MAX_LEASE_S:
        problems.append(f"lease_s must be 3 to {MAX_LEASE_S}")
    if not 1 <= config.max_price_age_s <= 86_400:
        problems.append("max_price_age must be 1 to 86400 seconds")
    if config.hours is not None and config.terms.is_crypto:
        problems.append("hours are for stocks: crypto trades around the clock")
    return problems


def _ticker(text: str, faults: list[str]) -> str:
    try:
        return normalize_ticker(text)
    except InvalidTicker as error:
        faults.append(f"ticker: {error}")
        return "INVALID"


def _side(text: str, faults: list[str]) -> Side:
    try:
        return Side(text.strip().lower())
    except ValueError:
        faults.append(f"side {text!r} must be long or short")
        return Side.LONG


def _basis(text: str, faults: list[str]) -> Literal["limit", "fill"]:
    if text not in ("limit", "fill"):
        faults.append(f"profit_from {text!r} must be limit or fill")
    return "fill" if text == "fill" else "limit"


def _offset(text: str | None, increment: Distance) -> Distance | None:
    """Without one it is the increment; `none` means no profit orders."""
    if text is None:
        return increment
    return None if text.strip().lower() == "none" else Distance.parse(text)


def _hours(text: str | None, faults: list[str]) -> Hours | None:
    if text is None:
        return None
    found = _HOURS.fullmatch(text.strip())
    if found is None:
        faults.append(f"hours {text!r} must be like 09:45-15:45, New York's time")
        return None
    first, second, third, fourth = map(int, found.groups())
    hours = Hours(start=time(first, second), end=time(third, fourth))
    if hours.start >= hours.end:
        faults.append(f"hours {hours} end before they start")
    return hours


def _or_none(text: str | None) -> Decimal | None:
    return None if text is None else number(text)
