"""The thread that stays with the executor's orders until they ended, and tells what they did.

It asks REST, often at first and then ever more seldom up to `poll_s`; order messages from the
ticker's channel, where somebody feeds them in, only make it quicker.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from ..utils.answers import Found, OrderData
from ..utils.order_calls import CallFailed, OrderCalls, TooManyOrders
from ..utils.orders import Order, OrderTracker
from ..utils.redis.messages import OrderMessage, now_rfc3339, parse_rfc3339, rfc3339
from ..utils.submission import Stage, Submission
from ..utils.tracebacks import plain_traceback
from ..utils.waits import RequestBudget
from .event_outlet import Happening, NotPlaced
from .log import ExecutorLog
from .witness import messages_of, told_all

FIRST_POLL_S: Final = 0.1
OVERLAP_NS: Final = 60_000_000_000  # an execution may be listed a while after it happened
_GROWTH: Final = 1.6
_RESERVE: Final = 4  # requests that a look leaves to orders

Tell = Callable[[Sequence[Happening]], None]


class OrderWatch:
    """`see`, `watch` and `wait_for` may be called by any thread; the rest is this thread's.

    The answers of submissions come in as they are; what they mean is the tracker's.
    """

    name = "order-watch"

    def __init__(
        self,
        calls: OrderCalls,
        budget: RequestBudget,
        poll_s: float,
        log: ExecutorLog,
        tell: Tell | None,
    ) -> None:
        self.counters: Counter[str] = Counter()
        self._calls, self._budget, self._poll_s = calls, budget, poll_s
        self._log, self._tell = log, tell
        self._tracker = OrderTracker()
        self._changed = threading.Condition()
        self._inbox: queue.SimpleQueue[OrderData | OrderMessage | None] = queue.SimpleQueue()
        self._unresolved: dict[str, tuple[str, Submission]] = {}  # by client_order_id: symbol, …
        # By order id, until everything of it is told: its executions so far, by their own id.
        self._open: dict[str, dict[str, OrderData]] = {}
        self._births: dict[str, OrderData] = {}  # as Alpaca first showed them, with their legs
        self._account: tuple[str, bool] | None = None
        self._since_ns: int | None = None
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

    def watch(self, symbol: str, submission: Submission) -> None:
        """One whose fate nobody told: it is looked up until somebody does."""
        with self._changed:
            self._unresolved[submission.client_order_id] = (symbol, submission)
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

    def _take_in(self) -> None:
        """What came in; waits for the next look while nothing does."""
        busy = bool(self._open or self._unresolved)
        try:
            timeout_s = self._interval_s if busy else None
            item = self._inbox.get(block=not self._stopping, timeout=timeout_s)
            while True:
                self._note(item)
                item = self._inbox.get_nowait()
        except queue.Empty:
            self._interval_s = min(self._poll_s, self._interval_s * _GROWTH)

    def _note(self, item: OrderData | OrderMessage | None) -> None:
        if item is None:
            return
        self._interval_s = FIRST_POLL_S
        if isinstance(item, OrderMessage):
            self._tell_all([item])
            item = item.order_data
        order_id, legs = item.get("id"), item.get("legs")
        if isinstance(order_id, str):
            self._births.setdefault(order_id, item)
            self._also(order_id)
        for leg in legs if isinstance(legs, list) else ():
            self._also(str(leg.get("id")))

    def _also(self, order_id: str) -> None:
        with self._changed:
            self._open.setdefault(order_id, {})

    def _look(self, *, force: bool = False) -> None:
        """Ask for everything that is not told to its end."""
        # Orders go before looks: a look takes only what orders leave of the budget.
        if not force and self._budget.room(time.monotonic()) < _RESERVE:
            return
        self._resolve()
        if not self._open:
            return
        orders = self._ask_orders()
        if any(not self._told_all(order) for order in orders):
            self._ask_fills(orders)
        for order in orders:
            self._tell_order(order)

    def _ask_orders(self) -> list[OrderData]:
        """The watched orders as they are now: one list, and one by one those that ended."""
        listed = {str(each["id"]): each for each in self._calls.open_orders()}
        found = []
        for order_id in list(self._open):
            answer = None if order_id in listed else self._calls.get(order_id)
            if answer is None:
                found.append(listed[order_id])
            elif isinstance(answer, Found):
                found.append(answer.order_data)
        return found

    def _ask_fills(self, orders: list[OrderData]) -> None:
        """The account's executions since the last ones that we saw. By Alpaca's clock, not ours."""
        if self._since_ns is None:
            self._since_ns = min(map(born_ns, orders)) - OVERLAP_NS
        for fill in self._calls.fills(rfc3339(max(0, self._since_ns))):
            known = self._open.get(str(fill.get("order_id")))
            if known is not None:
                known[str(fill.get("id"))] = fill
            self._since_ns = max(self._since_ns, _moment_ns(fill, "transaction_time") - OVERLAP_NS)

    def _told_all(self, order: OrderData) -> bool:
        return told_all(order, self._open.get(str(order["id"]), {}).values())

    def _tell_order(self, order: OrderData) -> None:
        """Tell what is known of one order; it is watched until all of it is."""
        account_id, paper = self._account_of()
        order_id = str(order["id"])
        fills = self._open.get(order_id, {})
        messages = messages_of(order, fills.values(), account_id, paper=paper)
        if (birth := self._births.pop(order_id, None)) is not None:
            messages = messages_of(birth, [], account_id, paper=paper)[:1] + messages[1:]
        self._tell_all(messages)
        with self._changed:
            for message in messages:
                self._tracker.apply(message)
            truth = self._tracker.order(order_id)
            if truth is not None and truth.ended and self._told_all(order):
                self._open.pop(order_id, None)
                if order.get("replaced_by"):  # by us, or by hand: its fills are the chain's
                    self._open.setdefault(str(order["replaced_by"]), {})
            self._changed.notify_all()

    def _resolve(self) -> None:
        for name, (symbol, submission) in list(self._unresolved.items()):
            answer = self._calls.look_up(name)
            submission.see_look_up(answer, time.monotonic())
            if submission.stage is Stage.SEEN and submission.order_data is not None:
                self.see(submission.order_data)
            elif submission.stage is Stage.ABSENT:
                self.not_placed(symbol, submission)
            else:
                continue
            with self._changed:
                del self._unresolved[name]

    def not_placed(self, symbol: str, submission: Submission) -> None:
        """Tell of an order that never came to be. Any thread."""
        refused = submission.stage is Stage.REFUSED
        reason = submission.refused.reason if submission.refused else submission.lost
        self._tell_all(
            [
                NotPlaced(
                    symbol=symbol,
                    client_order_id=submission.client_order_id,
                    reason=reason or "no answer",
                    refused=refused,
                    timestamp=now_rfc3339(),
                    account_id=self._account[0] if self._account else None,
                )
            ]
        )

    def _account_of(self) -> tuple[str, bool]:
        if self._account is None:
            account: Mapping[str, Any] = self._calls.account()
            paper = str(account.get("account_number", "")).startswith("PA")
            self._account = str(account.get("id", "")), paper
        return self._account

    def _tell_all(self, happenings: Sequence[Happening]) -> None:
        if self._tell is not None:
            self._tell(happenings)


def born_ns(order: OrderData) -> int:
    return _moment_ns(order, "created_at") or _moment_ns(order, "submitted_at")


def _moment_ns(answer: OrderData, name: str) -> int:
    """A moment of Alpaca's, Unix ns; 0 where it does not say."""
    try:
        return parse_rfc3339(str(answer.get(name)))
    except ValueError:
        return 0
