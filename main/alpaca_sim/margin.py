"""What the account can afford: margin of the positions, of the open orders, and what is left.

One rule for every kind of account: an asset takes `rate` of its value out of the equity, and what
is left, times the multiplier, is the buying power. The rate is 1/multiplier, and 1 for what cannot
be bought on margin. With multiplier 1 and no short position this is the cash; with 2 it is
Alpaca's `max(equity - initial_margin, 0) * 2`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from .assets import Asset
from .ledger import Ledger
from .orders import Order
from .wire_numbers import NINE_PLACES, ROUNDING, ZERO

_ONE = Decimal(1)
_HALF = Decimal("0.5")


@dataclass(frozen=True, kw_only=True)
class Margin:
    """The account's figures at one moment."""

    cash: Decimal
    equity: Decimal
    long_value: Decimal
    short_value: Decimal
    margin_used: Decimal
    initial_margin: Decimal
    maintenance_margin: Decimal
    reserved: Decimal
    multiplier: Decimal

    @property
    def free_margin(self) -> Decimal:
        """Equity that neither positions nor open orders take."""
        return max(self.equity - self.margin_used - self.reserved, ZERO)

    @property
    def buying_power(self) -> Decimal:
        return ROUNDING.multiply(self.free_margin, self.multiplier)

    @property
    def regt_buying_power(self) -> Decimal:
        return ROUNDING.multiply(self.free_margin, min(self.multiplier, Decimal(2)))

    @property
    def non_marginable_buying_power(self) -> Decimal:
        """For crypto, which takes its whole price."""
        return self.free_margin


def margin_rate(asset: Asset, multiplier: int) -> Decimal:
    """The part of the asset's value that it takes out of the equity."""
    return _ONE / multiplier if asset.marginable and multiplier > 1 else _ONE


def margin_of(
    ledger: Ledger, reserved: Decimal, multiplier: int, maintenance_rate: Decimal
) -> Margin:
    """Everything recomputed from the books."""
    long_value = short_value = used = initial = maintenance = ZERO
    for position in ledger.positions():
        value = ledger.market_value(position)
        size = abs(value)
        long_value += max(value, ZERO)
        short_value += min(value, ZERO)
        used += ROUNDING.multiply(size, margin_rate(position.asset, multiplier))
        initial += ROUNDING.multiply(size, _HALF if position.asset.marginable else _ONE)
        rate = maintenance_rate if position.asset.marginable else _ONE
        maintenance += ROUNDING.multiply(size, rate)
    return Margin(
        cash=ledger.cash,
        equity=ledger.cash + long_value + short_value,
        long_value=long_value,
        short_value=short_value,
        margin_used=used,
        initial_margin=initial,
        maintenance_margin=maintenance,
        reserved=reserved,
        multiplier=Decimal(multiplier),
    )


def reserve_of(order: Order) -> Decimal:
    """The margin that an open order that opens a position takes; zero for a closing one.

    While an order is being replaced the larger of the two counts: the new one adds what it has over
    the old.
    """
    own = _own_reserve(order)
    if order.pending_old is not None:
        return max(own - _own_reserve(order.pending_old), ZERO)
    return own


def held_of(order: Order) -> Decimal:
    """The quantity of a position that an open closing order holds; of a replacement as above.

    Two exits of one group hold the same shares: the first that is still open holds them.
    """
    own = _own_hold(order)
    if order.pending_old is None:
        return own
    held_by_old = _own_hold(order.pending_old)
    is_second_exit = order.pending_old.group is not None and not held_by_old
    return ZERO if is_second_exit else max(own - held_by_old, ZERO)


def _own_reserve(order: Order) -> Decimal:
    if order.is_closing or not order.is_open:
        return ZERO
    value = (
        order.leaves_notional
        if order.notional is not None
        else ROUNDING.multiply(order.leaves_qty, order.reserve_price)
    )
    margin = ROUNDING.multiply(value, order.reserve_rate)
    return margin.quantize(NINE_PLACES, context=ROUNDING)


def _own_hold(order: Order) -> Decimal:
    if not order.is_closing or not order.is_open or _waits_for_entry(order):
        return ZERO
    if order.group is not None and order in order.group.exits:
        first = next(exit_order for exit_order in order.group.exits if exit_order.is_open)
        if first is not order:
            return ZERO
    if order.notional is None:
        return order.leaves_qty
    price = order.reserve_price
    if not price:
        return ZERO
    return ROUNDING.divide(order.leaves_notional, price).quantize(NINE_PLACES, context=ROUNDING)


def _waits_for_entry(order: Order) -> bool:
    group = order.group
    return group is not None and group.entry is not None and group.entry.filled_ns is None


def held_qty(orders: Iterable[Order]) -> Decimal:
    """What a symbol's open orders hold of its position."""
    return sum((order.held_qty for order in orders), ZERO)
