"""The desk: moves orders through their life. Every change of an order's status happens here.

A step that takes time is put on the schedule and looks at the order again when it runs, because an
execution, a cancel or the end of the session may have come first. That is how the races of the
real venue arise here: nothing is staged.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from decimal import Decimal
from functools import partial
from random import Random

from . import order_groups
from .activities import ActivityLog
from .config import SessionPhase
from .ledger import Ledger
from .margin import held_of, reserve_of
from .matching import (
    Quote,
    RestingOrders,
    collar_of,
    executable_qty,
    execution_price,
    is_triggered,
    partial_qty,
    trail,
)
from .new_york_day import misses_auction
from .order_states import WORKING, IllegalTransition, next_status
from .order_wire import execution_to_wire
from .orders import Order, OrderStore
from .schedule import Schedule
from .trade_updates import TradeUpdates
from .venue_config import VenueConfig
from .venue_ids import VenueIds
from .wire_numbers import EXACT, ROUNDING, ZERO

_AFTER_FILL = frozenset({"calculated", "order_cancel_rejected", "order_replace_rejected"})
AUCTION = frozenset({"opg", "cls"})
_IMMEDIATE = frozenset({"ioc", "fok"})


class OrderDesk:
    """One account's orders at one venue. Not safe for threads; the caller gives the time."""

    def __init__(
        self,
        config: VenueConfig,
        store: OrderStore,
        ledger: Ledger,
        updates: TradeUpdates,
        activities: ActivityLog,
        ids: VenueIds,
    ) -> None:
        self.config = config
        self.store = store
        self.ledger = ledger
        self.activities = activities
        self.schedule = Schedule()
        self.phase: SessionPhase = config.initial_phase
        self.quotes: dict[str, Quote] = {}
        self.reserved = ZERO
        self._updates = updates
        self._ids = ids
        self._chance = Random(f"{config.seed}/fills")
        # Orders that wait in the market, by symbol: of the regular session, and of any session.
        self._resting: dict[str, RestingOrders] = {}
        self._resting_extended: dict[str, RestingOrders] = {}
        # Stop-loss legs that stay `held` while their sibling works, and opg orders that were sent.
        self.watched_stops: dict[str, list[Order]] = {}
        self.awaiting_open: dict[str, list[Order]] = {}

    # ---- birth ---------------------------------------------------------------------------

    def enter(self, order: Order, now_ns: int) -> None:
        """Take in an admitted order: to the venue if its session is open, else it waits."""
        self.store.add(order)
        if self._misses_auction(order, now_ns):
            self.move(order, "accepted", now_ns)
            self._later(self.config.acknowledge_delay_ns, now_ns, self._reject, order)
        elif not self.may_be_sent(order):
            self.move(order, "accepted", now_ns)
        else:
            self.move(order, "pending_new", now_ns, is_told=self.config.tells_pending_new)
            self._later(self.config.acknowledge_delay_ns, now_ns, self._acknowledge, order)

    def _misses_auction(self, order: Order, now_ns: int) -> bool:
        tif = order.time_in_force
        return self.config.auction_cutoffs and tif in AUCTION and misses_auction(tif, now_ns)

    def hold(self, order: Order, now_ns: int) -> None:
        """Take in a leg that waits for its parent."""
        self.store.add(order)
        self.move(order, "held", now_ns)

    def _acknowledge(self, order: Order, now_ns: int) -> None:
        if order.status in {"accepted", "pending_new"}:
            self.start_work(order, now_ns)

    def _reject(self, order: Order, now_ns: int) -> None:
        if order.status in {"accepted", "pending_new"}:
            self.end(order, "rejected", now_ns)

    def start_work(self, order: Order, now_ns: int) -> None:
        """The venue has the order: `new`, and from now on it may trade."""
        self.move(order, "new", now_ns)
        if order.time_in_force not in AUCTION:
            self._later(self.config.fill_delay_ns, now_ns, self.work, order)

    # ---- sessions ------------------------------------------------------------------------

    def may_be_sent(self, order: Order) -> bool:
        """Whether the venue takes the order in this phase."""
        return (
            order.is_crypto
            or (self.phase == "regular" and order.time_in_force != "opg")
            or (self.phase in {"pre", "post"} and order.extended_hours)
        )

    def may_trade(self, order: Order) -> bool:
        """Whether the order may be executed in this phase outside of an auction."""
        return self.may_be_sent(order) and order.time_in_force not in AUCTION

    def _resting_for(self, order: Order) -> RestingOrders:
        always = order.is_crypto or order.extended_hours
        books = self._resting_extended if always else self._resting
        return books.setdefault(order.symbol, RestingOrders())

    def rebook(self, symbol: str, now_ns: int) -> None:
        """Build a symbol's resting orders anew, after their prices were changed."""
        self._resting.pop(symbol, None)
        self._resting_extended.pop(symbol, None)
        for order in self.store.open_orders(symbol):
            order.is_resting = False
            if order.status in WORKING and order.time_in_force not in AUCTION:
                self._later(0, now_ns, self.work, order)

    # ---- the market ----------------------------------------------------------------------

    def on_quote(self, symbol: str, quote: Quote, now_ns: int) -> None:
        """Fill or trigger what this quote reaches."""
        self.quotes[symbol] = quote
        self.ledger.see_quote(symbol, quote)
        if symbol in self.watched_stops:
            order_groups.watch_stops(self, symbol, quote, now_ns)
        for order in self.awaiting_open.pop(symbol, ()):
            self.auction(order, now_ns)
        reached: list[Order] = []
        extended = self._resting_extended.get(symbol)
        if extended is not None and ("/" in symbol or self.phase != "closed"):
            reached += extended.take_reached(quote)
        regular = self._resting.get(symbol)
        if regular is not None and self.phase == "regular":
            reached += regular.take_reached(quote)
        for order in reached:
            self.work(order, now_ns)

    def work(self, order: Order, now_ns: int) -> None:
        """Let an order trade against the quote, and rest if it cannot."""
        if order.is_resting or order.status not in WORKING or order.filled_ns is not None:
            return
        if not self.may_trade(order):
            self._resting_for(order).rest(order)
            return
        quote = self.quotes.get(order.symbol)
        if quote is not None:
            self.trigger(order, quote)
            if not order.awaits_trigger and self._trade(order, quote, now_ns):
                return
        if order.time_in_force in _IMMEDIATE:
            self.end(order, "canceled", now_ns)
        else:
            self._resting_for(order).rest(order)

    def auction(self, order: Order, now_ns: int) -> None:
        """Trade an opg or cls order once against the quote; what is left is canceled."""
        if order.status not in WORKING or order.filled_ns is not None:
            return
        quote = self.quotes.get(order.symbol)
        if quote is None or not self._trade(order, quote, now_ns):
            self.end(order, "canceled", now_ns)

    def trigger(self, order: Order, quote: Quote) -> None:
        """Turn a stop whose price is reached into the market or limit order that it waits to be."""
        if not order.awaits_trigger:
            return
        if order.type == "trailing_stop":
            trail(order, quote)
        if is_triggered(order, quote):
            order.is_triggered = True
            below, above = self.config.buy_stop_collar_below_50, self.config.buy_stop_collar_from_50
            order.collar = collar_of(order, below, above)

    def _trade(self, order: Order, quote: Quote, now_ns: int) -> bool:
        """Execute if marketable. False if the order has to wait for another quote."""
        price = execution_price(order, quote, self.config.slippage)
        if price is None:
            return False
        asked = executable_qty(order, price)
        wanted = self._closable(order, asked)
        if wanted <= 0:
            self.end(order, "canceled", now_ns)
            return True
        qty = wanted
        if order.time_in_force != "fok" and self._chance.random() < self.config.partial_fill_rate:
            qty = partial_qty(wanted, self._chance)
        self.execute(order, price, qty, now_ns, is_last=qty == asked)
        self._after_partial(order, now_ns)
        return True

    def _after_partial(self, order: Order, now_ns: int) -> None:
        if order.filled_ns is not None or not order.is_open:
            return
        if order.time_in_force in {"ioc", *AUCTION}:
            self.end(order, "canceled", now_ns)
        else:
            self._later(self.config.partial_fill_pause_ns, now_ns, self.work, order)

    def _closable(self, order: Order, wanted: Decimal) -> Decimal:
        """A closing order never trades more than there is to close."""
        if not order.is_closing:
            return wanted
        return min(wanted, abs(self.ledger.qty(order.symbol)))

    def execute(
        self, order: Order, price: Decimal, qty: Decimal, now_ns: int, *, is_last: bool
    ) -> None:
        """Book one execution of the order and tell of it."""
        fee = ROUNDING.multiply(ROUNDING.multiply(price, qty), self.config.fee_rate)
        event = "fill" if is_last else "partial_fill"
        self._check_move(order, event)
        position = self.ledger.execute(order.asset, order.side, qty, price, fee)
        order.filled_qty = EXACT.add(order.filled_qty, qty)
        order.filled_cost = EXACT.add(order.filled_cost, EXACT.multiply(qty, price))
        if is_last:
            order.filled_ns = now_ns
        execution_id = self._ids.uuid()
        told = execution_to_wire(
            execution_id=execution_id, price=price, qty=qty, position_qty=position.qty
        )
        self.move(order, event, now_ns, told)
        self.activities.record_fill(order, execution_id, price, qty, event, now_ns)
        order_groups.after_execution(self, order, now_ns)

    # ---- ends, requests and their races --------------------------------------------------

    def end(self, order: Order, event: str, now_ns: int) -> None:
        """`canceled`, `expired` or `rejected`, and what that means for its group."""
        self.move(order, event, now_ns)
        order_groups.after_end(self, order, event, now_ns)

    def request_cancel(self, order: Order, now_ns: int, *, at_once: bool = False) -> None:
        """A client asks to cancel an open order. It may still fill until the venue answers."""
        order.cancel_requested_ns = now_ns
        if at_once or order.status in {"accepted", "held"}:
            self.end(order, "canceled", now_ns)
            return
        self.move(order, "pending_cancel", now_ns, is_told=self.config.tells_pending_cancel)
        self._later(self.config.cancel_delay_ns, now_ns, self._finish_cancel, order)

    def _finish_cancel(self, order: Order, now_ns: int) -> None:
        if order.status == "pending_cancel":
            self.end(order, "canceled", now_ns)
        elif order.status in {"filled", "expired", "replaced"}:
            self.move(order, "order_cancel_rejected", now_ns)

    def request_replace(self, old: Order, new: Order, now_ns: int) -> None:
        """A client asks to replace an open order. The old one may still fill until then."""
        self.store.add(new)
        was_held = old.status == "held"
        birth = "held" if was_held else "pending_new"
        self.move(new, birth, now_ns, is_told=self.config.tells_pending_new)
        self.move(old, "pending_replace", now_ns, is_told=self.config.tells_pending_replace)
        step = partial(self._finish_replace, old, new)
        self.schedule.at(now_ns + self.config.replace_delay_ns, step)

    def _finish_replace(self, old: Order, new: Order, now_ns: int) -> None:
        if old.status != "pending_replace" or not new.is_open:
            if new.is_open:
                self.end(new, "rejected", now_ns)
            self.move(old, "order_replace_rejected", now_ns)
            return
        old.replaced_by, old.replaced_ns = new.id, now_ns
        self.move(old, "replaced", now_ns)
        if old.group is not None:
            order_groups.swap(self, old, new)
        if new.status == "pending_new":
            self.start_work(new, now_ns)

    # ---- the one place where a status changes --------------------------------------------

    def move(
        self,
        order: Order,
        event: str,
        now_ns: int,
        execution: Mapping[str, object] | None = None,
        *,
        is_told: bool = True,
    ) -> None:
        """Apply one event by the state table, keep the books, and tell the stream.

        Raises IllegalTransition, and then nothing has changed.
        """
        order.status = self._check_move(order, event)
        order.updated_ns = now_ns
        _stamp(order, event, now_ns)
        if not order.is_open or order.status not in WORKING:
            order.is_resting = False
        self._settle_books(order)
        if is_told:
            self._updates.tell(event, order, now_ns, execution)

    def _check_move(self, order: Order, event: str) -> str:
        if order.filled_ns is not None and event not in {*_AFTER_FILL, "fill"}:
            raise IllegalTransition(order.id, order.status, event)
        has_executions = order.filled_qty > 0
        return next_status(order.id, order.status, event, has_executions=has_executions)

    def _settle_books(self, order: Order) -> None:
        """What the order reserves and holds, after anything about it changed."""
        if not order.is_open:
            self.store.close(order)
        reserve = reserve_of(order)
        self.reserved = EXACT.add(self.reserved, reserve - order.reserved)
        order.reserved = reserve
        order.held_qty = held_of(order)

    def settle(self, orders: list[Order]) -> None:
        """Keep the books of orders whose group changed."""
        for order in orders:
            self._settle_books(order)

    def _later(
        self, delay_ns: int, now_ns: int, step: Callable[[Order, int], None], order: Order
    ) -> None:
        self.schedule.at(now_ns + delay_ns, partial(step, order))


def _stamp(order: Order, event: str, now_ns: int) -> None:
    if event == "canceled":
        order.canceled_ns = now_ns
    elif event == "expired":
        order.expired_ns = now_ns
    elif event == "rejected":
        order.failed_ns = now_ns
