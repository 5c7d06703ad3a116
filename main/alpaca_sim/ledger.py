"""Cash and positions. Pure arithmetic: what the executions imply, exactly, and nothing else.

Cash is the start plus deposits, minus what was paid, plus what was received, minus fees. A
position's quantity is the signed sum of its executions, minus the fees that were taken in coins.
Both are exact. Only the cost basis divides (when part of a position closes) and only it rounds, far
beyond any digit that is shown.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from .assets import Asset
from .matching import Quote
from .orders import Side
from .wire_numbers import EXACT, ROUNDING, ZERO


@dataclass(slots=True, eq=False)
class Position:
    """What is held of one asset: `qty` and `cost` are negative for a short position."""

    asset: Asset
    qty: Decimal = ZERO
    cost: Decimal = ZERO
    # Valued at yesterday's close, for the figures of the day.
    qty_at_open: Decimal = ZERO
    lastday_price: Decimal | None = None
    # Paid (received) for what was traded today, so that today's profit is known.
    bought_today: Decimal = ZERO

    @property
    def average_entry(self) -> Decimal:
        """The mean price at which the position was opened."""
        return ROUNDING.divide(self.cost, self.qty) if self.qty else ZERO


class Ledger:
    """The account's books."""

    def __init__(self, starting_cash: Decimal, *, mark: Literal["mid", "bid_ask"]) -> None:
        self.cash = starting_cash
        self.fees_paid = ZERO
        self._mark = mark
        self._positions: dict[str, Position] = {}
        self._marks: dict[str, Decimal] = {}
        self._quotes: dict[str, Quote] = {}

    # ---- executions and corporate actions ------------------------------------------------

    def execute(
        self,
        asset: Asset,
        side: Side,
        qty: Decimal,
        price: Decimal,
        fee: Decimal = ZERO,
        fee_coins: Decimal = ZERO,
    ) -> Position:
        """Book one execution and give the position as it is then (it may be flat).

        `fee` is taken from the cash, `fee_coins` from what was bought: they cost what it cost.
        """
        signed = qty if side == "buy" else -qty
        paid = EXACT.multiply(signed, price)
        signed = EXACT.subtract(signed, fee_coins)
        self.cash = EXACT.subtract(EXACT.subtract(self.cash, paid), fee)
        self.fees_paid = EXACT.add(self.fees_paid, fee)
        position = self._positions.setdefault(asset.symbol, Position(asset))
        position.cost = _cost_after(position, signed, price)
        position.qty = EXACT.add(position.qty, signed)
        position.bought_today = EXACT.add(position.bought_today, paid)
        self._marks.setdefault(asset.symbol, price)
        return position

    def split(self, symbol: str, new_per_old: Decimal) -> None:
        """Multiply a position's quantity; its cost stays. Quantities round to nine decimals."""
        price = self.price_of(symbol)
        self._quotes.pop(symbol, None)
        self._marks[symbol] = ROUNDING.divide(price, new_per_old)
        position = self._positions.get(symbol)
        if position is None:
            return
        position.qty = _nine_places(ROUNDING.multiply(position.qty, new_per_old))
        position.qty_at_open = _nine_places(ROUNDING.multiply(position.qty_at_open, new_per_old))
        if position.lastday_price is not None:
            position.lastday_price = ROUNDING.divide(position.lastday_price, new_per_old)

    def rename(self, old: str, asset: Asset) -> None:
        """A ticker's new name: the position goes with it."""
        self._marks[asset.symbol] = self.price_of(old)
        self._marks.pop(old, None)
        self._quotes.pop(old, None)
        position = self._positions.pop(old, None)
        if position is not None:
            position.asset = asset
            self._positions[asset.symbol] = position

    # ---- marks ---------------------------------------------------------------------------

    def see_quote(self, symbol: str, quote: Quote) -> None:
        """Remember what the symbol is worth now."""
        self._quotes[symbol] = quote

    def price_of(self, symbol: str) -> Decimal:
        """The price at which a position of the symbol is valued; zero if it never had one."""
        quote = self._quotes.get(symbol)
        if quote is None:
            return self._marks.get(symbol, ZERO)
        position = self._positions.get(symbol)
        if self._mark == "bid_ask" and position is not None and position.qty:
            side: Side = "sell" if position.qty > 0 else "buy"
            return quote.price_for(side) or quote.mid
        return quote.mid

    def roll_day(self) -> None:
        """A new trading day: what is held now is held from yesterday, at the price of now."""
        for symbol, position in [*self._positions.items()]:
            if not position.qty:
                del self._positions[symbol]
                continue
            position.qty_at_open = position.qty
            position.lastday_price = self.price_of(symbol)
            position.bought_today = ZERO

    # ---- reading -------------------------------------------------------------------------

    def position(self, symbol: str) -> Position | None:
        """The position, or None when flat."""
        position = self._positions.get(symbol)
        return position if position is not None and position.qty else None

    def qty(self, symbol: str) -> Decimal:
        """The signed quantity held."""
        position = self._positions.get(symbol)
        return position.qty if position is not None else ZERO

    def positions(self) -> Iterator[Position]:
        """Every position that is not flat, in order of opening."""
        return (position for position in [*self._positions.values()] if position.qty)

    def market_value(self, position: Position) -> Decimal:
        """Signed worth of one position."""
        return ROUNDING.multiply(position.qty, self.price_of(position.asset.symbol))

    def equity(self) -> Decimal:
        """Cash and the worth of all positions."""
        total = self.cash
        for position in self.positions():
            total = ROUNDING.add(total, self.market_value(position))
        return total


def _cost_after(position: Position, signed: Decimal, price: Decimal) -> Decimal:
    """Cost of the position after an execution: adding pays the price, closing frees its share."""
    if position.qty * signed >= 0:
        return ROUNDING.add(position.cost, ROUNDING.multiply(signed, price))
    remaining = EXACT.add(position.qty, signed)
    if remaining * position.qty <= 0:
        return ROUNDING.multiply(remaining, price)
    return ROUNDING.divide(ROUNDING.multiply(position.cost, remaining), position.qty)


def _nine_places(value: Decimal) -> Decimal:
    return value.quantize(Decimal("0.000000001"), context=ROUNDING)
