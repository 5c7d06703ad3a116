"""What REST knows of the account's orders, asked so that nothing is missed: from which moment on,
which orders one by one, and for which executions to look again."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable
from decimal import Decimal
from typing import Any, Final, NamedTuple, TypeAlias

import structlog

from ..utils.redis.messages import rfc3339
from ..utils.told_orders import decimal
from .bookmark import Bookmark, Reconciled
from .order_buffer import Reconciliation
from .order_ledger import OrderLedger, settled
from .rest import TradingRest

log: Final = structlog.get_logger("tickerbus.reconcile")

OVERLAP_S: Final = 60.0  # an execution may be listed a while after its order says "filled"
AWAITED_S: Final = 3_600.0  # one that is not listed after this is given up, and told to the log
IN_FLIGHT_S: Final = 2.0  # the stream may be about to tell what is younger
MAX_SINGLE_ORDERS: Final = 40  # look-ups in one turn: the account's 200 calls a minute are shared

Order: TypeAlias = dict[str, Any]


class _Awaited(NamedTuple):
    """From which moment on an execution is looked for; the quantity that it would make up."""

    since_ns: int
    filled: Decimal


class OrderInquiry:
    """`ask` is for one thread, `done` and `save` for any."""

    def __init__(
        self,
        rest: TradingRest,
        ledger: OrderLedger,
        bookmark: Bookmark,
        alpaca_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        """`alpaca_ns` is the time by Alpaca's clock: its orders are stamped with that, not ours."""
        self.counters: Counter[str] = Counter()
        self.left_off_ns = 0  # up to when the last broker had told everything
        self.alpaca_ns = alpaca_ns
        self._rest, self._ledger, self._bookmark = rest, ledger, bookmark
        self._reconciled = Reconciled()
        self._looked_up: set[str] = set()  # in the turns of one incomplete comparison
        self._awaited: dict[str, _Awaited] = {}  # orders that lack executions

    def begin(self) -> None:
        """From where the last broker left off. Raises redis.RedisError."""
        self._reconciled = self._bookmark.load()
        self.left_off_ns = self._reconciled.until_ns

    def done(self, reconciliation: Reconciliation) -> None:
        """Everything of it is published, and in the ledger: the next one begins from there."""
        self._await_executions(reconciliation)
        if not reconciliation.complete:
            return  # the next turn goes on from the same moment
        until_ns = min(
            [reconciliation.asked_ns, *(each.since_ns for each in self._awaited.values())]
        )
        self._reconciled = self._reconciled._replace(until_ns=until_ns)
        self.save()

    def save(self) -> None:
        """Keep up to where all is published; again, if Redis was emptied."""
        self._bookmark.save(self._reconciled)

    def ask(self, connection: int, live_since_ns: int) -> Reconciliation:
        """Raises RestUnavailable, RestRefused, and what an answer that is none brings."""
        asked_ns = self.alpaca_ns()
        after = rfc3339(self._begin_ns(asked_ns))
        fills: dict[str, list[Order]] = {}
        for fill in self._rest.fills(after):
            fills.setdefault(str(fill["order_id"]), []).append(fill)
        orders = {str(order["id"]): order for order in self._rest.orders(after)}
        orders |= self._still_open(set(orders))
        # Executions first; then those that were open, and are not any more: they ended meanwhile.
        singles = sorted(set(fills) - set(orders)) + sorted(
            self._ledger.open_orders() - set(orders) - set(fills) - self._looked_up
        )
        for order_id in singles[:MAX_SINGLE_ORDERS]:
            if (order := self._rest.order(order_id)) is not None:
                orders[order_id] = order
            self._looked_up.add(order_id)
        complete = len(singles) <= MAX_SINGLE_ORDERS
        if complete:
            self._looked_up.clear()
        self.counters["reconciliations"] += 1
        # The stream tells nothing of what came before it was up, and may still be about to tell
        # what is younger than a moment.
        return Reconciliation(
            orders=list(orders.values()),
            fills=fills,
            settled_before_ns=max(live_since_ns, asked_ns - int(IN_FLIGHT_S * 1e9)),
            connection=connection,
            asked_ns=asked_ns,
            complete=complete,
        )

    def _begin_ns(self, asked_ns: int) -> int:
        if not self._reconciled.until_ns:
            # The very first broker, or Redis was emptied and nobody knows: what happened since the
            # last one ended must not be missed, and what it told as well is told twice.
            begin_ns = asked_ns - int(OVERLAP_S * 1e9)
            self._reconciled = Reconciled(begin_ns, begin_ns)
            log.info("reconcile.begins", since=rfc3339(begin_ns))
        until_ns, floor_ns = self._reconciled
        return max(floor_ns, until_ns - int(OVERLAP_S * 1e9))

    def _still_open(self, known: set[str]) -> dict[str, Order]:
        """Those of the published open orders that are older than the list, and open still."""
        older = self._ledger.open_orders() - known
        if not older:
            return {}
        listed = self._rest.orders(None, status="open")
        return {str(order["id"]): order for order in listed if str(order["id"]) in older}

    def _await_executions(self, reconciliation: Reconciliation) -> None:
        """Alpaca may list an execution minutes after its order says so. Until it is listed, or the
        stream has told it, the comparison does not move on."""
        asked_ns, since_ns = reconciliation.asked_ns, self._reconciled.until_ns
        awaited = {o: known for o, known in self._awaited.items() if self._lacks(o, known.filled)}
        for order in reconciliation.orders:
            order_id, filled = str(order["id"]), decimal(order.get("filled_qty"))
            if self._lacks(order_id, filled) and not self._is_old(order, asked_ns):
                since = awaited[order_id].since_ns if order_id in awaited else since_ns
                awaited[order_id] = _Awaited(since, filled)
        given_up_ns = asked_ns - int(AWAITED_S * 1e9)
        for order_id in [o for o, known in awaited.items() if known.since_ns < given_up_ns]:
            del awaited[order_id]
            self.counters["executions_never_listed"] += 1
            log.error("reconcile.execution_never_listed", order_id=order_id)
        self._awaited = awaited

    def _lacks(self, order_id: str, filled: Decimal) -> bool:
        # Also when the stream is about to tell it: then the next comparison finds it told.
        return filled > self._ledger.quantity_told(order_id)

    def _is_old(self, order: Order, asked_ns: int) -> bool:
        """Whether it was filled before the comparison's beginning: an earlier one has told it."""
        return settled(order.get("filled_at") or order.get("updated_at"), self._begin_ns(asked_ns))
