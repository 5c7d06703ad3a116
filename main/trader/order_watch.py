"""The thread that stays with the executor's orders until they ended, and tells what they did.

It asks REST, often at first and then ever more seldom up to `poll_s`; order messages from the
ticker's channel, where somebody feeds them in, only make it quicker.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Final, Protocol

from ..utils.answers import Found, OrderData, Refused
from ..utils.order_calls import CallFailed, OrderCalls, TooManyOrders
from ..utils.orders import ENDED, Order, OrderTracker
from ..utils.redis.messages import OrderMessage, now_rfc3339, rfc3339
from ..utils.submission import Submission
from ..utils.tracebacks import plain_traceback
from ..utils.waits import RequestBudget
from .event_outlet import Happening
from .log import ExecutorLog
from .open_orders import OpenOrders
from .unresolved import Unresolved, not_placed

FIRST_POLL_S: Final = 0.2
KEEP_ENDED: Final = 5_000  # orders; those before are Alpaca's to tell
_GROWTH: Final = 1.6
_RESERVE: Final = 0.25  # of the budget: what looks leave to orders
_MOST_HELD_BACK: Final = 10  # looks
_LATE_ANSWER_S: Final = 3.0

Tell = Callable[[Sequence[Happening]], None]


class AccountLimit(Protocol):
    """Who counts for the whole account; a `Submitter`."""

    @property
    def is_limited(self) -> bool:
        """Whether nothing may be asked before Alpaca's limit (429) is over."""

    def see_limit(self, retry_after_s: float | None) -> None:
        """A look was refused by it."""


class OrderWatch:
    """`see`, `watch` and `wait_for` may be called by any thread; the rest is this thread's.

    The answers of submissions come in as they are; what they mean is the tracker's.
    """

    name = "order-watch"

    def __init__(
        self,
        calls: OrderCalls,
        budget: RequestBudget,
        limit: AccountLimit,
        poll_s: float,
        log: ExecutorLog,
        tell: Tell | None,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._calls, self._budget, self._poll_s = calls, budget, poll_s
        self._limit = limit
        self._log, self._tell = log, tell
        self._tracker = OrderTracker()
        self._changed = threading.Condition()
        self._inbox: queue.SimpleQueue[OrderData | OrderMessage | None] = queue.SimpleQueue()
        self._unresolved = Unresolved()
        self._open = OpenOrders()
        self._sending: set[object] = set()
        self._held_back = 0
        self._account: tuple[str, bool] | None = None
        self._interval_s = FIRST_POLL_S
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    # -- any thread

    def start(self) -> None:
        self._thread.start()

    def see(self, order: OrderData | OrderMessage) -> None:
        """An order of ours, from an answer or from the ticker's channel."""
        with self._changed:
            if isinstance(order, OrderMessage):
                self._tracker.apply(order)
            else:
                self._tracker.absorb(order)
            self._changed.notify_all()
        self._inbox.put(order)

    @contextmanager
    def sending(self) -> Iterator[None]:
        """An order is being sent: what is told meanwhile waits for its answer."""
        token = object()
        with self._changed:
            self._sending.add(token)
        try:
            yield
        finally:
            with self._changed:
                self._sending.discard(token)
                self._changed.notify_all()

    def watch(self, symbol: str, submission: Submission) -> None:
        """One whose fate nobody told: it is looked up until somebody does."""
        self._unresolved.add(symbol, submission)
        self._inbox.put({})

    def hurry(self) -> None:
        """Something was asked for: look soon."""
        self._inbox.put({})

    def order(self, order_id: str) -> Order | None:
        with self._changed:
            return self._tracker.order(order_id)

    def orders(self) -> list[Order]:
        with self._changed:
            return list(self._tracker.orders())

    def is_ours(self, client_id: str) -> Callable[[str], bool]:
        """Whether an order is `client_id`'s, also as a leg or a replacement: asked by its id."""

        def is_ours(order_id: str) -> bool:
            with self._changed:
                return self._tracker.is_of(client_id, order_id)

        return is_ours

    def wait_for(self, order_id: str, timeout_s: float) -> Order | None:
        """The order when it ended, or as it is when the time is over."""
        with self._changed:
            self._changed.wait_for(
                lambda: (order := self._tracker.order(order_id)) is not None and order.ended,
                timeout_s,
            )
            return self._tracker.order(order_id)

    @property
    def idle(self) -> bool:
        """Whether everything of every order was told."""
        with self._changed:
            return not self._open and not self._unresolved and self._inbox.empty()

    def close(self, timeout_s: float) -> bool:
        """Look once more, so that what happened is told; False if the thread hangs."""
        if self._thread.ident is None:
            return True
        self._stopping = True
        self._inbox.put(None)
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    # -- its own thread

    def _run(self) -> None:
        while not self._stopping:
            try:
                self._take_in()
                self._look()
            except (CallFailed, TooManyOrders) as error:
                if isinstance(error, CallFailed) and error.rate_limited:
                    self._limit.see_limit(error.retry_after_s)
                self.counters["looks_failed"] += 1
                self._log.warning("executor.look_failed", reason=str(error))
            except Exception:  # the supervisor: without this thread no fill would be told
                self.counters["looks_failed"] += 1
                self._log.error("executor.look_failed", traceback=plain_traceback())
        self._last_look()

    def _last_look(self) -> None:
        try:
            self._take_in()
            self._look(force=True)
        except Exception as error:  # ending: whoever comes next asks Alpaca itself
            self._log.warning("executor.look_failed", reason=repr(error)[:200])
        if names := self._unresolved.names():
            self._log.warning("executor.fate_unknown", orders=names)

    def _take_in(self) -> None:
        """What came in; waits for the next look while nothing does."""
        busy = bool(self._open or self._unresolved)
        try:
            timeout_s = self._interval_s if busy else None
            self._note(self._inbox.get(block=not self._stopping, timeout=timeout_s))
        except queue.Empty:
            self._interval_s = min(self._poll_s, self._interval_s * _GROWTH)
            return
        self._drain()

    def _drain(self) -> None:
        while True:
            try:
                self._note(self._inbox.get_nowait())
            except queue.Empty:
                return

    def _note(self, item: OrderData | OrderMessage | None) -> None:
        if item is None:
            return
        self._interval_s = FIRST_POLL_S
        if isinstance(item, OrderMessage):
            self._tell_all([item])
            item = item.order_data
        order_id, legs = item.get("id"), item.get("legs")
        with self._changed:
            if isinstance(order_id, str):
                self._open.watch(order_id, item)
            for leg in legs if isinstance(legs, list) else ():
                self._open.watch(str(leg.get("id")))

    def _look(self, *, force: bool = False) -> None:
        """Ask for everything that is not told to its end."""
        if self._limit.is_limited:  # also at the end: whoever asks is refused, and it lasts longer
            self.counters["looks_put_off"] += 1
            return
        # Orders go before looks: a look takes only what orders leave of the budget.
        room = self._budget.room(time.monotonic())
        if not force and room < _RESERVE * self._budget.per_minute:
            return
        self._resolve()
        if not self._open:
            return
        orders = self._ask_orders(self._open.ids())
        self._note_truth(orders)
        incomplete = self._incomplete(orders)
        if incomplete:
            late = self._ask_fills(incomplete)
            incomplete = self._incomplete(orders)
            orders += late
        # An execution that is not listed yet may come before those that are. Not for ever.
        self._held_back = self._held_back + 1 if incomplete else 0
        if not incomplete or force or self._held_back > _MOST_HELD_BACK:
            self.counters["told_incomplete"] += bool(incomplete)
            self._tell_orders(orders)

    def _ask_orders(self, order_ids: list[str]) -> list[OrderData]:
        """The watched orders as they are now: one list, and one by one those that ended."""
        listed = {str(each["id"]): each for each in self._calls.open_orders()}
        found = []
        for order_id in order_ids:
            answer = None if order_id in listed else self._calls.get(order_id)
            if answer is None:
                found.append(listed[order_id])
            elif isinstance(answer, Found):
                found.append(answer.order_data)
            elif isinstance(answer, Refused) and answer.status == 404:
                self._open.forget(order_id)  # Alpaca has forgotten it too
            elif isinstance(answer, Refused) and answer.status == 429:
                raise CallFailed(f"the order {order_id}", answer)
        return found

    def _ask_fills(self, incomplete: list[OrderData]) -> list[OrderData]:
        """The executions that are missing. Returns orders that they belong to, and that were still
        being sent when the others were asked for: theirs may have come first."""
        known = set(self._open.ids())
        fills = self._calls.fills(rfc3339(self._open.ask_since_ns(incomplete)))
        self._wait_for_answers()
        self._drain()
        for fill in fills:
            self._open.add_fill(fill)
        filled = {str(fill.get("order_id")) for fill in fills}
        late = [each for each in self._open.ids() if each in filled - known]
        return self._ask_orders(late) if late else []

    def _wait_for_answers(self) -> None:
        """Until every order that is being sent now has its answer, or for a moment."""
        with self._changed:
            sending = set(self._sending)
            if not self._changed.wait_for(lambda: not sending & self._sending, _LATE_ANSWER_S):
                self.counters["told_before_an_answer"] += 1

    def _incomplete(self, orders: list[OrderData]) -> list[OrderData]:
        return [order for order in orders if not self._open.knows_all(order)]

    def _note_truth(self, orders: list[OrderData]) -> None:
        """What the caller may ask is true at once, whatever is still to be told."""
        with self._changed:
            for order in orders:
                self._tracker.absorb(order)
            self._changed.notify_all()

    def _tell_orders(self, orders: list[OrderData]) -> None:
        """Tell what is known; an order is watched until all of it is."""
        account_id, paper = self._account_of()
        messages = self._open.messages(orders, account_id, paper=paper)
        self._tell_all(messages)
        with self._changed:
            for message in messages:
                self._tracker.apply(message)
            for order in orders:
                if str(order.get("status")) in ENDED and self._open.knows_all(order):
                    self._end(order)
            self._tracker.forget_ended(KEEP_ENDED)
            self._changed.notify_all()

    def _end(self, order: OrderData) -> None:
        self._open.forget(str(order["id"]))
        if order.get("replaced_by"):  # by us, or by hand: its fills are the chain's
            self._open.watch(str(order["replaced_by"]))

    def _resolve(self) -> None:
        known = self._unresolved.look_up(self._calls, lambda: self._limit.is_limited)
        for symbol, submission in known:
            if submission.order_data is not None:
                self.see(submission.order_data)
            else:
                self.not_placed(symbol, submission)

    def not_placed(self, symbol: str, submission: Submission) -> None:
        """Tell of an order that never came to be. Any thread."""
        account_id = self._account[0] if self._account else None
        self._tell_all([not_placed(symbol, submission, account_id, now_rfc3339())])

    def _account_of(self) -> tuple[str, bool]:
        if self._account is None:
            account: Mapping[str, Any] = self._calls.account()
            paper = str(account.get("account_number", "")).startswith("PA")
            self._account = str(account.get("id", "")), paper
        return self._account

    def _tell_all(self, happenings: Sequence[Happening]) -> None:
        if self._tell is not None:
            self._tell(happenings)
