"""Pure: scale trading on one stock. In come prices, order events and time; out come intents.

The rungs are fixed prices: the starting price, and each next one `increment` lower. One entry
works at a time, on the highest rung that is not full. What it buys is offered one increment above
its rung as portions execute; when that is sold, the rung is free again, an entry further down is
cancelled, and the ladder buys there anew.

Nothing here remembers what to do next: `decide` compares what works with what is wanted, and asks
for the difference. So it does not matter in which order, or how often, events arrive. The rule
that is kept at every moment: own position, plus working entries, plus entries whose fate is not
known, never exceeds the maximum position; and never more is offered than is owned.

All times are seconds of one monotonic clock that the caller chooses.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from ..utils.redis.messages import OrderMessage
from .book import ZERO, Book, OwnOrder
from .intents import Cancel, Intent, LookUp, Place, Stage
from .order_ids import OrderKind
from .rungs import Rung, build_rungs, ceil_to_step
from .waits import GrowingWait

HOLD_FIRST_S: Final = 5.0
HOLD_CAP_S: Final = 300.0
ABSENT_AFTER_S: Final = 30.0  # a request that was lost on the way has long failed by then


@dataclass(frozen=True, kw_only=True)
class LadderTerms:
    """What the ladder is asked to do."""

    client_id: str
    ticker: str
    max_position: Decimal
    component: Decimal
    increment: Decimal


class Ladder:
    """The state of one ladder. Not thread-safe: one thread feeds it and asks it."""

    def __init__(self, terms: LadderTerms) -> None:
        self.terms = terms
        self.book = Book(terms.client_id, terms.ticker)
        self.rungs: tuple[Rung, ...] = ()
        self.entries_allowed = True  # the shell says whether fills would be heard of
        self._stopping = False
        self._cancel_entries = True
        self._holds: defaultdict[tuple[OrderKind, int], GrowingWait] = defaultdict(
            lambda: GrowingWait(HOLD_FIRST_S, HOLD_CAP_S)
        )

    # -- in

    def see_price(self, price: Decimal) -> None:
        """A trade that may set the last price. The first one becomes the starting price."""
        if not self.rungs and price.is_finite() and price > 0:
            self.start_at(price)

    def start_at(self, start_price: Decimal) -> None:
        """Fix the rungs. They never move again."""
        assert not self.rungs, "the rungs are fixed"
        terms = self.terms
        self.rungs = build_rungs(start_price, terms.increment, terms.component, terms.max_position)

    def see_order(self, message: OrderMessage, now: float) -> OwnOrder | None:
        """An order message from the ticker's channel; returns the own order that it is about."""
        return self._note(self.book.apply(message), now)

    def see_order_data(self, order_data: Mapping[str, Any], now: float) -> OwnOrder | None:
        """An order object from a REST answer; returns the own order that it is about."""
        return self._note(self.book.absorb(order_data), now)

    def see_open_orders(
        self, orders: Sequence[Mapping[str, Any]], expected: frozenset[str], now: float
    ) -> None:
        """Alpaca's list of open orders. What was `expected` in it, when it was asked for
        (`working_ids`), and is not there, is looked up."""
        seen = [self.see_order_data(order_data, now) for order_data in orders]
        there = {order.client_order_id for order in seen if order is not None}
        for client_order_id in expected - there:
            order = self.book.get(client_order_id)
            if order is not None and order.pending > 0:
                order.look_up_wanted = True

    def working_ids(self) -> frozenset[str]:
        """The orders that Alpaca has shown and that have not ended."""
        working = [*self.book.active("entry"), *self.book.active("profit")]
        return frozenset(each.client_order_id for each in working if each.stage is Stage.SEEN)

    def see_refused(self, client_order_id: str, reason: str, now: float) -> float:
        """Alpaca did not take the order. The rung waits, longer each time; returns how long."""
        order = self.book.get(client_order_id)
        if order is None or order.stage not in (Stage.SENDING, Stage.UNRESOLVED):
            return 0.0
        order.move(Stage.REFUSED)
        order.refusal = reason
        self.book.settle(order)
        return self._holds[order.name.rung].grow(now)

    def see_unresolved(self, client_order_id: str, now: float, refusal: str | None = None) -> None:
        """The answer was lost: the order may exist. With a `refusal` there is an answer, but one
        that is also given when the order exists already."""
        order = self.book.get(client_order_id)
        if order is not None and order.stage is Stage.SENDING:
            order.move(Stage.UNRESOLVED)
            order.doubtful_since, order.refusal = now, refusal
            order.look_up_wanted = True

    def see_absent(self, client_order_id: str, now: float) -> None:
        """Looked up, and Alpaca does not know it. If only its answer was lost, it may still be on
        its way: for `ABSENT_AFTER_S` it goes on to count."""
        order = self.book.get(client_order_id)
        if order is None:
            return
        if order.stage is Stage.SEEN:
            order.look_up_wanted = False
        elif order.stage is Stage.UNRESOLVED and order.refusal is not None:
            self.see_refused(client_order_id, order.refusal, now)
        elif order.stage is Stage.UNRESOLVED and now - order.doubtful_since >= ABSENT_AFTER_S:
            order.move(Stage.ABSENT)
            self.book.settle(order)

    def look_up(self, client_order_id: str) -> None:
        """Ask Alpaca for this order's truth, if it is not known to have ended: a cancel was not
        confirmed, or nobody may be there to tell us of its end."""
        order = self.book.get(client_order_id)
        if order is not None and order.pending > 0:
            order.look_up_wanted = True

    def stop(self, cancel_entries: bool) -> None:
        """From here on nothing is placed. Profit orders keep working."""
        self._stopping, self._cancel_entries = True, cancel_entries

    # -- out

    def decide(self, now: float, room: int) -> list[Intent]:
        """What to do now, most urgent first, at most `room` requests. What is returned counts as
        asked for; what found no room is wanted again the next time."""
        intents: list[Intent] = []
        for wanted in (self._cancels, self._profits, self._look_ups, self._entries):
            for intent in wanted(now):
                if len(intents) >= room:
                    return intents
                self._ask(intent, now)
                intents.append(intent)
        return intents

    @property
    def position(self) -> Decimal:
        return self.book.position

    @property
    def next_rung(self) -> tuple[Rung, Decimal] | None:
        """Where the ladder wants to buy, and how much: the highest rung that is not full."""
        for rung in self.rungs:
            missing = rung.size - self.book.held[rung.component]
            if missing > 0:
                return rung, missing
        return None

    # -- private: what is wanted

    def _cancels(self, now: float) -> Iterator[Cancel]:
        for order in (*self._unwanted_entries(), *self._unwanted_profits()):
            if order.stage is Stage.SEEN and order.order_id and order.next_cancel.over(now):
                yield Cancel(client_order_id=order.client_order_id, order_id=order.order_id)

    def _unwanted_entries(self) -> list[OwnOrder]:
        working = self.book.active("entry")
        if self._stopping:
            return working if self._cancel_entries else []
        keep = next((order for order in working if self._is_wanted(order)), None)
        return [order for order in working if order is not keep]

    def _is_wanted(self, entry: OwnOrder) -> bool:
        if self.next_rung is None:
            return False
        rung, missing = self.next_rung
        room = self.terms.max_position - self.book.position
        return (
            entry.name.component == rung.component
            and entry.limit_price == rung.entry_price
            and entry.pending <= min(missing, room)
        )

    def _unwanted_profits(self) -> list[OwnOrder]:
        """The newest ones, where more is offered than the rung holds."""
        unwanted = []
        left = dict(self.book.held)
        for order in self.book.active("profit"):
            component = order.name.component
            if order.pending > left.get(component, ZERO):
                unwanted.append(order)
            else:
                left[component] -= order.pending
        return unwanted

    def _profits(self, now: float) -> Iterator[Place]:
        if self._stopping:
            return
        offered = self.book.offered()
        for component, held in list(self.book.held.items()):
            missing = held - offered[component]
            if missing > 0 and self._holds["profit", component].over(now):
                price = ceil_to_step(self.book.bought_at(component) + self.terms.increment)
                yield self._place("profit", component, missing, price)

    def _look_ups(self, now: float) -> Iterator[LookUp]:
        for order in self.book.doubtful():
            if order.next_look_up.over(now):
                yield LookUp(client_order_id=order.client_order_id)

    def _entries(self, now: float) -> Iterator[Place]:
        if self._stopping or not self.entries_allowed or self.next_rung is None:
            return
        if self.book.active("entry"):
            return  # one at a time, and one that is being cancelled may still fill
        rung, missing = self.next_rung
        qty = min(missing, self.terms.max_position - self.book.position)
        if qty > 0 and self._holds["entry", rung.component].over(now):
            yield self._place("entry", rung.component, qty, rung.entry_price)

    def _place(self, kind: OrderKind, component: int, qty: Decimal, limit_price: Decimal) -> Place:
        name = self.book.next_name(kind, component)
        return Place(
            client_order_id=name.text(self.book.prefix),
            kind=kind,
            ticker=self.terms.ticker,
            qty=qty,
            limit_price=limit_price,
        )

    # -- private: what follows

    def _ask(self, intent: Intent, now: float) -> None:
        if isinstance(intent, Place):
            self.book.begin(intent.client_order_id, intent.qty, intent.limit_price)
            return
        order = self.book.get(intent.client_order_id)
        assert order is not None
        if isinstance(intent, Cancel):
            order.cancel_asked = True
            order.next_cancel.grow(now)
        else:
            order.next_look_up.grow(now)

    def _note(self, order: OwnOrder | None, now: float) -> OwnOrder | None:
        """An order that ended short, unasked, was refused or taken away: do not rush to repeat."""
        if order is not None and order.pending == 0 and not order.end_noted:
            order.end_noted = True
            if order.filled >= order.qty:
                self._holds[order.name.rung].reset()
            elif not order.cancel_asked:
                self._holds[order.name.rung].grow(now)
        return order
