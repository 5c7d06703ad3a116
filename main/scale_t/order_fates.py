"""Pure: what becomes of a ladder's orders: sent, lost, refused, seen, ended; and of its mode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from ..utils.answers import Refused
from ..utils.redis.messages import OrderMessage
from ..utils.refusals import Holds, Remedy, rule_for
from .book import Book, OwnOrder
from .intents import Cancel, Intent, Place, Stage
from .modes import MODE_MOVES, IllegalMode, Mode
from .refused import ENDED_UNASKED, SESSION_OVER, consequence_of

ABSENT_AFTER_S: Final = 30.0  # a request that was lost on the way has long failed by then


class OrderFates:
    """The half of a ladder that hears what came of its intents. Not thread-safe."""

    def __init__(self, book: Book) -> None:
        self.book = book
        self.holds = Holds()
        self.mode = Mode.TRADING
        self.reason = ""  # why the mode is what it is

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
            self.look_up(client_order_id)

    def see_refused(self, client_order_id: str, refused: Refused, now: float) -> float:
        """Alpaca did not take the order: what waits, and how long, says `refused.py`.

        Returns the wait in seconds; `inf` when only a person can mend it.
        """
        order = self.book.get(client_order_id)
        if order is None or order.stage not in (Stage.SENDING, Stage.UNRESOLVED):
            return 0.0
        if rule_for(refused).remedy is Remedy.LOOK_UP and order.stage is Stage.SENDING:
            self.see_unresolved(client_order_id, now, refused.reason)
            return 0.0
        order.move(Stage.REFUSED)
        order.refusal = refused.reason
        self.book.settle(order)
        follows = consequence_of(order.name.kind, refused)
        wait_s = self.holds.refuse(order.name.rung, follows.rule, now, refused.retry_after_s)
        changes = follows.mode is Mode.HELD or wait_s == float("inf")
        # On its way out, or in doubt already, it stays what it is: that is stricter.
        if follows.mode is not None and changes and follows.mode in MODE_MOVES[self.mode]:
            self.become(follows.mode, f"Alpaca refused {client_order_id}: {refused.reason}")
        return wait_s

    def see_unresolved(self, client_order_id: str, now: float, refusal: str | None = None) -> None:
        """The answer was lost: the order may exist. With a `refusal` there is an answer, but one
        that is also given when the order exists already."""
        order = self.book.get(client_order_id)
        if order is not None and order.stage is Stage.SENDING:
            order.move(Stage.UNRESOLVED)
            order.doubtful_since, order.refusal = now, refusal
            order.look_up_wanted = True

    def see_absent(self, client_order_id: str, now: float) -> None:
        """Looked up, and Alpaca does not know it. It may still be on its way, be it that its answer
        was lost or that an earlier one has its name: for `ABSENT_AFTER_S` it goes on to count."""
        order = self.book.get(client_order_id)
        if order is None:
            return
        if order.stage is Stage.SEEN:
            order.look_up_wanted = False
        elif order.stage is not Stage.UNRESOLVED or now - order.doubtful_since < ABSENT_AFTER_S:
            return
        elif order.refusal is None:
            order.move(Stage.ABSENT)
            self.book.settle(order)
        else:
            order.move(Stage.REFUSED)
            order.name_in_use = True
            self.book.settle(order)
            self.holds.refuse(order.name.rung, ENDED_UNASKED, now)

    def look_up(self, client_order_id: str) -> None:
        """Ask Alpaca for this order's truth, if it is not known to have ended: a cancel was not
        confirmed, or nobody may be there to tell us of its end."""
        order = self.book.get(client_order_id)
        if order is not None and order.pending > 0:
            order.look_up_wanted = True

    def become(self, mode: Mode, reason: str) -> bool:
        """Change the mode as `modes.py` allows. False if it is that already.

        Raises:
            IllegalMode: this mode cannot follow; nothing was changed.
        """
        if mode is self.mode:
            return False
        if mode not in MODE_MOVES[self.mode]:
            raise IllegalMode(self.mode, mode)
        self.mode, self.reason = mode, reason
        return True

    def working_ids(self) -> frozenset[str]:
        """The orders that Alpaca has shown and that have not ended."""
        seen = (each for each in self.book.active() if each.stage is Stage.SEEN)
        return frozenset(each.client_order_id for each in seen)

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
            key = order.name.rung
            if order.filled >= order.qty:
                self.holds.clear(key)
            elif not order.cancel_asked:
                ended = order.status in ("expired", "done_for_day")
                self.holds.refuse(key, SESSION_OVER if ended else ENDED_UNASKED, now)
        return order
