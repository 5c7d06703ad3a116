"""Pure: what a ladder is asked to do, in the words of ScaleTrader where it has them."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from enum import Enum
from typing import Literal, TypeAlias

from .fees import HIGHEST_RATE

TimeInForce: TypeAlias = Literal["day", "gtc"]
_HUNDRED = Decimal(100)


class Side(Enum):
    """Long buys at falling prices and sells dearer; short sells at rising ones, buys cheaper."""

    LONG = "long"
    SHORT = "short"

    @property
    def sign(self) -> int:
        """+1 for long, -1 for short: a profit is `sign` times what the price rises."""
        return 1 if self is Side.LONG else -1


@dataclass(frozen=True)
class Distance:
    """How far apart two prices are: in dollars, or in percent of the one it is measured from."""

    amount: Decimal
    percent: bool = False

    @classmethod
    def parse(cls, text: str) -> Distance:
        """`"0.05"` or `"0.5%"`. What is no number becomes NaN, for the config to name."""
        words = text.strip()
        percent = words.endswith("%")
        return cls(number(words.removesuffix("%")), percent)

    def of(self, price: Decimal) -> Decimal:
        """In dollars, at this price."""
        return price * self.amount / _HUNDRED if self.percent else self.amount

    def __str__(self) -> str:
        return f"{self.amount:f}{'%' if self.percent else ''}"


@dataclass(frozen=True, kw_only=True)
class LadderTerms:
    """Quantities in shares (coins for crypto), prices in dollars.

    `profit_offset` None: no profit orders. `existing_position` is owned at the start already, as
    the front of the ladder; `filled_initial` is how much of the initial component an earlier run
    had bought. `re_anchor`: how many increments the price must have run away from a ladder that
    owns nothing, before it starts anew there; None: never. `price_step` None: a stock's;
    `qty_step`, `least_qty`: of an order for a pair, None and 0 for any. `coin_fee`: of a pair's
    execution, as a part of 1, as long as Alpaca has not listed it; 0.0025 is the dearest there is.
    """

    client_id: str
    ticker: str
    max_position: Decimal
    component: Decimal
    initial: Decimal
    increment: Distance
    profit_offset: Distance | None
    side: Side = Side.LONG
    restore: bool = True
    profit_from: Literal["limit", "fill"] = "limit"
    working_entries: int = 1
    existing_position: Decimal = Decimal(0)
    filled_initial: Decimal | None = None
    randomize_percent: Decimal = Decimal(0)
    lowest: Decimal | None = None
    highest: Decimal | None = None
    session_limit: Decimal | None = None
    max_loss: Decimal | None = None
    flatten_on_loss: bool = False
    re_anchor: int | None = None
    price_step: Decimal | None = None
    qty_step: Decimal | None = None
    least_qty: Decimal = Decimal(0)
    coin_fee: Decimal = HIGHEST_RATE

    @property
    def is_crypto(self) -> bool:
        return "/" in self.ticker

    @property
    def time_in_force(self) -> TimeInForce:
        """Stocks `day`: Alpaca may reprice GTC orders at corporate actions. Crypto has no day."""
        return "gtc" if self.is_crypto else "day"

    @property
    def fee_rate(self) -> Decimal:
        """What is assumed of each execution. Stocks cost nothing."""
        return self.coin_fee if self.is_crypto else Decimal(0)

    def orderable(self, qty: Decimal) -> Decimal:
        """What of this quantity an order can be for; 0 where it is less than any order."""
        if self.qty_step:
            qty -= qty % self.qty_step
        return qty if qty >= self.least_qty else Decimal(0)

    def is_dust(self, qty: Decimal, price: Decimal | None) -> bool:
        """Whether no order can sell so little of a pair: it is carried, and reported."""
        if not self.is_crypto:
            return qty <= 0
        sold = self.orderable(qty)
        return sold <= 0 or (price is not None and sold * price < self.least_cost)

    @property
    def least_cost(self) -> Decimal:
        """An order worth less is refused by Alpaca, so an exit waits until it is worth more."""
        return Decimal(10) if self.is_crypto else Decimal(1)


def number(text: str) -> Decimal:
    """What is no number becomes NaN, so that it is named together with all other faults."""
    try:
        return Decimal(text.strip().replace("_", ""))
    except InvalidOperation:
        return Decimal("NaN")
