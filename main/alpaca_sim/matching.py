"""Matching against quotes: what is marketable, at which price, how much, and the resting orders.

The model is the paper account's: an order fills only against the quote, never against other orders,
and the quote's size is not looked at. A limit order gets the better of its limit and the quote.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import ROUND_DOWN, ROUND_HALF_EVEN, Decimal
from heapq import heapify, heappop, heappush
from random import Random
from typing import NamedTuple

from .orders import Order, Side
from .wire_numbers import EXACT, NINE_PLACES, ROUNDING, ZERO

_CENT = Decimal("0.01")
_HUNDREDTH_CENT = Decimal("0.0001")
_ONE = Decimal(1)
_DOLLAR = Decimal(1)
_FIFTY = Decimal(50)
_FIRST_SWEEP = 64


class Quote(NamedTuple):
    """The best bid and offer of one symbol. A side of zero or less is missing."""

    bid: Decimal
    ask: Decimal
    bid_size: Decimal
    ask_size: Decimal
    at_ns: int

    def price_for(self, side: Side) -> Decimal | None:
        """What a buyer pays, or a seller gets."""
        price = self.ask if side == "buy" else self.bid
        return price if price > 0 else None

    @property
    def mid(self) -> Decimal:
        """The middle; with one side missing, the other."""
        if self.bid > 0 and self.ask > 0:
            return ROUNDING.divide(EXACT.add(self.bid, self.ask), Decimal(2))
        return max(self.bid, self.ask)


class Collars(NamedTuple):
    """How far above its stop price a triggered buy stop may trade, as fractions."""

    below_50: Decimal
    from_50: Decimal


def tick_of(price: Decimal, *, is_crypto: bool) -> Decimal:
    """The smallest step of a price."""
    if is_crypto:
        return NINE_PLACES
    return _CENT if price >= _DOLLAR else _HUNDREDTH_CENT


def execution_price(order: Order, quote: Quote, slippage: Decimal) -> Decimal | None:
    """The price at which the order trades now, or None if it is not marketable."""
    price = quote.price_for(order.side)
    if price is None:
        return None
    limit = order.working_limit
    if limit is None:
        return _slipped(price, order, slippage)
    is_marketable = price <= limit if order.side == "buy" else price >= limit
    return price if is_marketable else None


def _slipped(price: Decimal, order: Order, slippage: Decimal) -> Decimal:
    if not slippage:
        return price
    factor = _ONE + slippage if order.side == "buy" else _ONE - slippage
    tick = tick_of(price, is_crypto=order.is_crypto)
    return ROUNDING.multiply(price, factor).quantize(tick, ROUND_HALF_EVEN, context=ROUNDING)


def executable_qty(order: Order, price: Decimal) -> Decimal:
    """All that the order still wants at this price. A notional order buys what its money buys."""
    if order.qty is not None:
        return order.leaves_qty
    shares = ROUNDING.divide(order.leaves_notional, price)
    return shares.quantize(NINE_PLACES, ROUND_DOWN, context=ROUNDING)


def partial_qty(wanted: Decimal, chance: Random) -> Decimal:
    """A random part of it that leaves something; whole shares stay whole."""
    unit = _ONE if wanted == wanted.to_integral_value() else NINE_PLACES
    units = int(wanted / unit)
    return unit * chance.randint(1, units - 1) if units > 1 else wanted


def is_triggered(order: Order, quote: Quote) -> bool:
    """Whether the quote has reached the order's stop price: ask for a buy, bid for a sale."""
    price = quote.price_for(order.side)
    if price is None or order.stop_price is None:
        return False
    return price >= order.stop_price if order.side == "buy" else price <= order.stop_price


def trail(order: Order, quote: Quote) -> None:
    """Move a trailing stop's high (low) water mark, and its stop price with it."""
    price = quote.price_for(order.side)
    if price is None:
        return
    better = max if order.side == "sell" else min
    mark = price if order.hwm is None else better(order.hwm, price)
    if mark == order.hwm and order.stop_price is not None:
        return
    order.hwm = mark
    distance = order.trail_price
    if distance is None:
        percent = order.trail_percent if order.trail_percent is not None else ZERO
        distance = ROUNDING.divide(ROUNDING.multiply(mark, percent), Decimal(100))
    stop = mark - distance if order.side == "sell" else mark + distance
    tick = tick_of(stop, is_crypto=order.is_crypto)
    order.stop_price = max(stop.quantize(tick, ROUND_HALF_EVEN, context=ROUNDING), tick)


def trigger(order: Order, quote: Quote, collars: Collars) -> None:
    """Turn a stop whose price is reached into the market or limit order that it waits to be."""
    if not order.awaits_trigger:
        return
    if order.type == "trailing_stop":
        trail(order, quote)
    if is_triggered(order, quote):
        order.is_triggered = True
        order.collar = _collar_of(order, collars)


def _collar_of(order: Order, collars: Collars) -> Decimal | None:
    """The limit that a triggered buy stop gets; sales and stop limits get none."""
    stop = order.stop_price
    if stop is None or order.type not in {"stop", "trailing_stop"} or order.side == "sell":
        return None
    rate = collars.below_50 if stop < _FIFTY else collars.from_50
    tick = tick_of(stop, is_crypto=order.is_crypto)
    limit = ROUNDING.multiply(stop, _ONE + rate)
    return limit.quantize(tick, ROUND_HALF_EVEN, context=ROUNDING)


class _PriceHeap:
    """Orders by a price, the first to become reachable on top.

    Entries of orders that left are dropped when they come to the top, and all at once whenever the
    heap has doubled, so that it never holds more than twice what rests.
    """

    def __init__(self, *, falling: bool) -> None:
        self._sign = -1 if falling else 1
        self._heap: list[tuple[Decimal, int, Order]] = []
        self._sweep_at = _FIRST_SWEEP

    def push(self, price: Decimal, order: Order) -> None:
        if len(self._heap) >= self._sweep_at:
            self._heap = [entry for entry in self._heap if entry[2].is_resting]
            heapify(self._heap)
            self._sweep_at = max(2 * len(self._heap), _FIRST_SWEEP)
        heappush(self._heap, (self._sign * price, order.seq, order))

    def __len__(self) -> int:
        return len(self._heap)

    def pop_reached(self, price: Decimal) -> list[Order]:
        """Take out every order whose price the market has come to."""
        reached: list[Order] = []
        bound = self._sign * price
        while self._heap and (self._heap[0][0] <= bound or not self._heap[0][2].is_resting):
            order = heappop(self._heap)[2]
            if order.is_resting:
                order.is_resting = False
                reached.append(order)
        return reached


@dataclass(slots=True)
class RestingOrders:
    """The orders of one symbol that wait for a better quote.

    `is_resting` is set here and cleared by whoever takes the order away: that is how the entries of
    ended orders are known as stale, and how an order that came back is taken once only.
    """

    at_market: dict[str, Order] = field(default_factory=dict)
    trailing: dict[str, Order] = field(default_factory=dict)
    # A buy limit is reached by a falling ask, a buy stop by a rising one.
    buy_limits: _PriceHeap = field(default_factory=lambda: _PriceHeap(falling=True))
    sell_limits: _PriceHeap = field(default_factory=lambda: _PriceHeap(falling=False))
    buy_stops: _PriceHeap = field(default_factory=lambda: _PriceHeap(falling=False))
    sell_stops: _PriceHeap = field(default_factory=lambda: _PriceHeap(falling=True))

    def rest(self, order: Order) -> None:
        """Add an order that is not resting yet."""
        order.is_resting = True
        if order.type == "trailing_stop" and order.awaits_trigger:
            self.trailing[order.id] = order
        elif order.awaits_trigger and order.stop_price is not None:
            stops = self.buy_stops if order.side == "buy" else self.sell_stops
            stops.push(order.stop_price, order)
        elif order.working_limit is not None:
            limits = self.buy_limits if order.side == "buy" else self.sell_limits
            order.has_rested = order.limit_price is not None
            limits.push(order.working_limit, order)
        else:
            self.at_market[order.id] = order

    def take_reached(self, quote: Quote) -> list[Order]:
        """Take out what this quote fills or triggers, oldest first; trailing stops trail."""
        reached = self._take_reached_trailing(quote)
        ask, bid = quote.price_for("buy"), quote.price_for("sell")
        if ask is not None:
            reached += _reached_buys(self, ask)
        if bid is not None:
            reached += _reached_sales(self, bid)
        for order in [*self.at_market.values()]:
            if not order.is_resting:
                del self.at_market[order.id]
            elif quote.price_for(order.side) is not None:
                order.is_resting = False
                reached.append(self.at_market.pop(order.id))
        reached.sort(key=lambda order: order.seq)
        return reached

    def _take_reached_trailing(self, quote: Quote) -> list[Order]:
        reached: list[Order] = []
        for order in [*self.trailing.values()]:
            if order.is_resting:
                trail(order, quote)
                if not is_triggered(order, quote):
                    continue
                order.is_resting = False
                reached.append(order)
            del self.trailing[order.id]
        return reached


def _reached_buys(resting: RestingOrders, ask: Decimal) -> list[Order]:
    return resting.buy_limits.pop_reached(ask) + resting.buy_stops.pop_reached(ask)


def _reached_sales(resting: RestingOrders, bid: Decimal) -> list[Order]:
    return resting.sell_limits.pop_reached(bid) + resting.sell_stops.pop_reached(bid)
