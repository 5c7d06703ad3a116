"""The desk: moves orders through their life. Every change of an order's status happens in `move`.

A step that takes time is put on the schedule and looks at the order again when it runs, because an
execution, a cancel or the end of the session may have come first. That is how the races of the
real venue arise here: nothing is staged. Executions are in order_trading, what clients ask of an
open order in order_requests, groups in order_groups, phases of the day in order_sessions.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from random import Random
from typing import Literal

from . import order_groups, order_trading
from .activities import ActivityLog
from .config import SessionPhase
from .ledger import Ledger
from .margin import held_of, reserve_of
from .matching import Quote, RestingOrders
from .new_york_day import misses_auction
from .order_states import WORKING, IllegalTransition, next_status
from .orders import AUCTION_TIMES, Order, OrderStore
from .schedule import Schedule
from .trade_updates import TradeUpdates
from .venue_config import VenueConfig
from .venue_ids import VenueIds
from .wire_numbers import EXACT, ZERO

_AFTER_FILL = frozenset({"fill", "calculated", "order_cancel_rejected", "order_replace_rejected"})
RaceOutcome = Literal["fill", "partial_fill", "refuse", "late_fill"]
OrderStep = Callable[["OrderDesk", Order, int], None]


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
        self.updates = updates
        self.ids = ids
        self.chance = Random(f"{config.seed}/fills")
        # Orders that wait in the market, by symbol: of the regular session, and of any session.
        self.resting: dict[str, RestingOrders] = {}
        self.resting_extended: dict[str, RestingOrders] = {}
        self.halted: set[str] = set()
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
            self.later(self.config.acknowledge_delay_ns, now_ns, OrderDesk._reject, order)
        elif not self.may_be_sent(order):
            self.move(order, "accepted", now_ns)
        else:
            self.move(order, "pending_new", now_ns, is_told=self.config.tells_pending_new)
            self.later(self.config.acknowledge_delay_ns, now_ns, OrderDesk._acknowledge, order)

    def _misses_auction(self, order: Order, now_ns: int) -> bool:
        tif = order.time_in_force
        return self.config.auction_cutoffs and tif in AUCTION_TIMES and misses_auction(tif, now_ns)

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
        if order.time_in_force not in AUCTION_TIMES:
            self.later(self.config.fill_delay_ns, now_ns, order_trading.work, order)

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
            and order.time_in_force not in AUCTION_TIMES
            and order.symbol not in self.halted
        )

    def resting_for(self, order: Order) -> RestingOrders:
        always = order.is_crypto or order.extended_hours
        books = self.resting_extended if always else self.resting
        return books.setdefault(order.symbol, RestingOrders())

    def rebook(self, symbol: str, now_ns: int) -> None:
        """Build a symbol's resting orders anew, after their prices were changed."""
        self.resting.pop(symbol, None)
        self.resting_extended.pop(symbol, None)
        for order in self.store.open_orders(symbol):
            order.is_resting = False
            if order.status in WORKING and order.time_in_force not in AUCTION_TIMES:
                self.later(0, now_ns, order_trading.work, order)

    def set_halted(self, symbol: str, halted: bool, now_ns: int) -> None:
        """While a symbol is halted its orders rest, whatever its quotes are."""
        if halted:
            self.halted.add(symbol)
        elif symbol in self.halted:
            self.halted.remove(symbol)
            self.rebook(symbol, now_ns)

    # ---- ends ----------------------------------------------------------------------------

    def end(self, order: Order, event: str, now_ns: int) -> None:
        """`canceled`, `expired` or `rejected`, and what that means for its group."""
        self.move(order, event, now_ns)
        order_groups.after_end(self, order, event, now_ns)

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
        order.status = self.check_move(order, event)
        order.updated_ns = now_ns
        _stamp(order, event, now_ns)
        if not order.is_open or order.status not in WORKING:
            order.is_resting = False
        self.settle(order)
        if is_told:
            self.updates.tell(event, order, now_ns, execution)

    def check_move(self, order: Order, event: str) -> str:
        if order.filled_ns is not None and event not in _AFTER_FILL:
            raise IllegalTransition(order.id, order.status, event)
        has_executions = order.filled_qty > 0
        return next_status(order.id, order.status, event, has_executions=has_executions)

    def settle(self, *orders: Order) -> None:
        """Keep the books of orders about which anything has changed: reserve, hold, open or not."""
        for order in orders:
            if not order.is_open:
                self.store.close(order)
            reserve = reserve_of(order)
            self.reserved = EXACT.add(self.reserved, EXACT.subtract(reserve, order.reserved))
            order.reserved = reserve
            order.held_qty = held_of(order)
            if order.pending_new is not None:
                self.settle(order.pending_new)

    def later(self, delay_ns: int, now_ns: int, step: OrderStep, order: Order) -> None:
        """Let `step(desk, order, due_ns)` happen after a delay."""
        self.schedule.at(now_ns + delay_ns, partial(step, self, order))


def _stamp(order: Order, event: str, now_ns: int) -> None:
    if event == "canceled":
        order.canceled_ns = now_ns
    elif event == "expired":
        order.expired_ns = now_ns
    elif event == "rejected":
        order.failed_ns = now_ns
