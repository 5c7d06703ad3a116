"""What an execution of a crypto pair costs, and how the account is told. Stocks cost nothing.

Documented: https://docs.alpaca.markets/docs/crypto-fees. The fee is a rate by the account's volume
of 30 days (the highest tier: maker 0.15 %, taker 0.25 %), taken from what is received: of a buy in
the coin, of a sale in the quote currency. Orders and executions tell nothing of it. Activities of
type CFEE do, later: "end of day" says the page; paper accounts of 2026 list them after seconds,
some after hours. Those also show what is not documented: each execution has a fee of its own, a
coin's is rounded up at the ninth decimal, a dollar's up to the cent, and the row of a dollar fee
names no symbol.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from typing import TYPE_CHECKING

from .orders import Order
from .wire_numbers import NINE_PLACES, ROUNDING, ZERO, number

if TYPE_CHECKING:
    from .order_desk import OrderDesk
    from .venue_config import VenueConfig

_CENT = Decimal("0.01")


@dataclass(frozen=True, kw_only=True)
class Fee:
    """Of one execution: dollars from the cash, coins from what was bought."""

    cash: Decimal = ZERO
    coins: Decimal = ZERO


def fee_of(config: VenueConfig, order: Order, price: Decimal, qty: Decimal) -> Fee:
    """A limit order that had to wait in the book is a maker, everything else a taker."""
    value = ROUNDING.multiply(price, qty)
    if not order.is_crypto:
        return Fee(cash=ROUNDING.multiply(value, config.fee_rate))
    rate = config.crypto_maker_fee if order.has_rested else config.crypto_taker_fee
    if order.side == "buy":
        return Fee(coins=_up(ROUNDING.multiply(qty, rate), NINE_PLACES))
    return Fee(cash=_up(ROUNDING.multiply(value, rate), _CENT))


def post(desk: OrderDesk, order: Order, price: Decimal, fee: Fee, now_ns: int) -> None:
    """Let the activity of a pair's fee appear when the configuration says."""
    if not order.is_crypto or not (fee.cash or fee.coins):
        return
    delay_ns = desk.config.crypto_fee_posted_after_ns
    if not delay_ns:
        _record(desk, order, price, fee, now_ns)
        return
    desk.schedule.at(now_ns + delay_ns, lambda due_ns: _record(desk, order, price, fee, due_ns))


def _record(desk: OrderDesk, order: Order, price: Decimal, fee: Fee, now_ns: int) -> None:
    if fee.cash:
        desk.activities.record_fee(
            now_ns, net_amount=-fee.cash, description="Coin Pair Transaction Fee (USD)"
        )
        return
    desk.activities.record_fee(
        now_ns,
        net_amount=ZERO,
        description="Coin Pair Transaction Fee (Non USD)",
        symbol=order.symbol.replace("/", ""),
        qty=number(-fee.coins),
        price=number(price),
    )


def _up(value: Decimal, unit: Decimal) -> Decimal:
    return value.quantize(unit, rounding=ROUND_CEILING, context=ROUNDING)
