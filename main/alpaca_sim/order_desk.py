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
from typing import Literal

from . import order_groups
from .activities import ActivityLog
from .config import SessionPhase
from .ledger import Ledger
from .margin import held_of, margin_of, reserve_of
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
from .order_states import WORKING, IllegalTransition, is_legal, next_status
from .order_wire import execution_to_wire
from .orders import Order, OrderStore
from .schedule import Schedule
from .trade_updates import TradeUpdates
from .venue_config import VenueConfig
from .venue_ids import VenueIds
from .wire_numbers import EXACT, ROUNDING, ZERO

_AFTER_FILL = frozenset({"fill", "calculated", "order_cancel_rejected", "order_replace_rejected"})
AUCTION = frozenset({"opg", "cls"})
_IMMEDIATE = frozenset({"ioc", "fok"})


RaceOutcome = Literal["fill", "partial_fill", "refuse", "late_fill"]


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
        self._halted: set[str] = set()
        # What a test decided about the next cancel or replace, by order id; None is any order.
        self.races: dict[str | None, RaceOutcome] = {}
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
        return (
            self.may_be_sent(order)
            and order.time_in_force not in AUCTION
            and order.symbol not in self._halted
        )

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

    def set_halted(self, symbol: str, halted: bool, now_ns: int) -> None:
        """While a symbol is halted its orders rest, whatever its quotes are."""
        if halted:
            self._halted.add(symbol)
        elif symbol in self._halted:
            self._halted.remove(symbol)
            self.rebook(symbol, now_ns)

    # ---- the market ----------------------------------------------------------------------

    def on_quote(self, symbol: str, quote: Quote, now_ns: int) -> None:
        """Fill or trigger what this quote reaches."""
        self.quotes[symbol] = quote
        self.ledger.see_quote(symbol, quote)
        if symbol in self._halted:
            return
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
            if not self._is_affordable(order, quote, now_ns):
                return
            self.trigger(order, quote)
            if not order.awaits_trigger and self._trade(order, quote, now_ns):
                return
        if order.time_in_force in _IMMEDIATE:
            self.end(order, "canceled", now_ns)
        else:
            self._resting_for(order).rest(order)

    def _is_affordable(self, order: Order, quote: Quote, now_ns: int) -> bool:
        """An order that came before any quote is checked when the first one comes."""
        if order.reserve_price or order.is_closing or order.notional is not None:
            return True
        order.reserve_price = quote.price_for("buy") or quote.mid
        self._settle_books(order)
        config = self.config
        margin = margin_of(self.ledger, self.reserved, config.multiplier, config.maintenance_rate)
        if margin.equity - margin.margin_used - self.reserved >= 0:
            return True
        self.end(order, "rejected", now_ns)
        return False

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

    def execute_now(self, order: Order, now_ns: int, *, part: bool) -> bool:
        """Execute all or a part that is left, at the quote or else at the order's own price.

        False if there is nothing to execute: no price, or a position that is gone. Raises
        IllegalTransition where the order may not trade.
        """
        self._check_move(order, "partial_fill" if part else "fill")
        quote = self.quotes.get(order.symbol)
        price = execution_price(order, quote, ZERO) if quote is not None else None
        price = price or order.limit_price or order.stop_price
        if price is None and quote is not None:
            price = quote.price_for(order.side)
        if price is None:
            return False
        asked = executable_qty(order, price)
        qty = self._closable(order, asked)
        if part:
            qty = partial_qty(qty, self._chance)
        if qty <= 0 or (part and qty == asked):
            return False
        self.execute(order, price, qty, now_ns, is_last=qty == asked)
        return True

    def work_soon(self, order: Order, now_ns: int) -> None:
        """Look at the order again as the next step."""
        self._later(0, now_ns, self.work, order)

    # ---- ends, requests and their races --------------------------------------------------

    def end(self, order: Order, event: str, now_ns: int) -> None:
        """`canceled`, `expired` or `rejected`, and what that means for its group."""
        self.move(order, event, now_ns)
        order_groups.after_end(self, order, event, now_ns)

    def request_cancel(self, order: Order, now_ns: int, *, at_once: bool = False) -> None:
        """A client asks to cancel an open order. It may still fill until the venue answers."""
        at_once = at_once or order.status in {"accepted", "held"}
        self._check_move(order, "canceled" if at_once else "pending_cancel")
        order.cancel_requested_ns = now_ns
        if at_once:
            self.end(order, "canceled", now_ns)
            return
        self.move(order, "pending_cancel", now_ns, is_told=self.config.tells_pending_cancel)
        self._later(self.config.cancel_delay_ns, now_ns, self._finish_cancel, order)

    def _finish_cancel(self, order: Order, now_ns: int) -> None:
        outcome = self._race_of(order)
        if order.status == "pending_cancel" and outcome == "refuse":
            self.move(order, "order_cancel_rejected", now_ns)
            self.work_soon(order, now_ns)
            return
        if order.status == "pending_cancel":
            self._race_ahead(order, outcome, now_ns)
        if order.status == "pending_cancel":
            self.end(order, "canceled", now_ns)
            if outcome == "late_fill":
                self._later(self.config.fill_delay_ns, now_ns, self._fill_late, order)
        elif order.status in {"filled", "expired", "replaced"}:
            self.move(order, "order_cancel_rejected", now_ns)

    def _race_of(self, order: Order) -> RaceOutcome | None:
        key = order.id if order.id in self.races else None
        return self.races.pop(key, None)

    def _race_ahead(self, order: Order, outcome: RaceOutcome | None, now_ns: int) -> None:
        """What a test made come before the venue's answer."""
        if outcome in {"fill", "partial_fill"} and order.status in WORKING:
            self.execute_now(order, now_ns, part=outcome == "partial_fill")

    def _fill_late(self, order: Order, now_ns: int) -> None:
        if order.status == "canceled" and order.filled_ns is None:
            self.execute_now(order, now_ns, part=False)

    def request_replace(self, old: Order, new: Order, now_ns: int) -> None:
        """A client asks to replace an open order. The old one may still fill until then."""
        birth = "held" if old.status == "held" else "pending_new"
        new.pending_old, old.pending_new = old, new
        self.store.add(new)
        self.move(new, birth, now_ns, is_told=self.config.tells_pending_new)
        self.move(old, "pending_replace", now_ns, is_told=self.config.tells_pending_replace)
        step = partial(self._finish_replace, old, new, old.filled_qty)
        self.schedule.at(now_ns + self.config.replace_delay_ns, step)

    def _finish_replace(self, old: Order, new: Order, filled_then: Decimal, now_ns: int) -> None:
        outcome = self._race_of(old)
        if old.status == "pending_replace":
            self._race_ahead(old, outcome, now_ns)
        new.pending_old = old.pending_new = None
        is_lost = old.status != "pending_replace" or outcome == "refuse" or not new.is_open
        if is_lost or not self._keeps_a_rest(new, old.filled_qty - filled_then):
            self._lose_replace(old, new, now_ns)
            return
        old.replaced_by, old.replaced_ns = new.id, now_ns
        self.move(old, "replaced", now_ns)
        if old.group is not None:
            order_groups.swap(self, old, new)
        if new.status == "pending_new":
            self.start_work(new, now_ns)
        self._settle_books(new)

    def _keeps_a_rest(self, new: Order, executed: Decimal) -> bool:
        """Take from the replacement what the old order got while it was under way."""
        if new.qty is None or self.config.replacement_qty == "original":
            return True
        if executed >= new.qty:
            return False
        new.qty -= executed
        return True

    def _lose_replace(self, old: Order, new: Order, now_ns: int) -> None:
        if new.is_open:
            event = "rejected" if is_legal(new.status, "rejected") else "canceled"
            self.end(new, event, now_ns)
        self.move(old, "order_replace_rejected", now_ns)
        self.work_soon(old, now_ns)

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
        if order.filled_ns is not None and event not in _AFTER_FILL:
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
        if order.pending_new is not None:
            self._settle_books(order.pending_new)

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
