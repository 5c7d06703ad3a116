"""From order updates and reconciliations to the messages that are published, each exactly once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from ..utils.redis.constants import UNROUTED
from ..utils.redis.messages import OrderMessage
from .order_buffer import OrderItem, Reconciliation
from .order_ledger import OrderLedger
from .order_messages import order_messages
from .rest import Account


class OrderDesk:
    """Pure. One thread at a time uses it: the order producer."""

    def __init__(self, account: Account, ledger: OrderLedger, pair: Callable[[str], str]) -> None:
        self.counters: Counter[str] = Counter()
        self._account, self._ledger, self._pair = account, ledger, pair

    def take_in(self, items: Iterable[OrderItem]) -> list[OrderMessage]:
        """The messages to publish now."""
        ready: list[OrderMessage] = []
        for item in items:
            if isinstance(item, Reconciliation):
                ready += self._reconcile(item)
            else:
                ready += self._stream(item)
        self.counters["orders"] += len(ready)
        self.counters["orders_unrouted"] += sum(m.symbol == UNROUTED for m in ready)
        return ready

    def _stream(self, update: Mapping[str, Any]) -> list[OrderMessage]:
        if not self._ledger.admits(update):
            self.counters["order_repeats_dropped"] += 1
            return []
        self._ledger.note(update)
        return order_messages(update, self._account, self._pair, "stream")

    def _reconcile(self, reconciliation: Reconciliation) -> list[OrderMessage]:
        ready: list[OrderMessage] = []
        for order in reconciliation.orders:
            fills = reconciliation.fills.get(str(order.get("id")), [])
            for update in self._ledger.missing(order, fills, reconciliation.settled_before_ns):
                self._ledger.note(update, recovered=True)
                ready += order_messages(update, self._account, self._pair, "reconcile")
        self.counters["orders_reconciled"] += len(ready)
        return ready
