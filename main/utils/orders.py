"""Pure: what order messages mean, in any order and with repeats, and whose an order is.

The rules are those of the wire contract ("Orders", "Whose order"). Arrival order is not event
order, so nothing here depends on it. Of each order four things are kept, and each only ever grows:

* the newest snapshot (complete before ended before open; then `updated_at`): status and terms;
* the fullest snapshot (by `filled_qty`): what was filled and at which average. `filled_qty` never
  falls, and a fill that follows a cancel still counts;
* its executions: unique by `execution_id`, a recovered one without it by cumulative quantity.
  One that came both ways is one: `executions.py` says how;
* its links: `replaces`, `replaced_by` and the parent of a leg.

Growing by "the greater of two" is commutative, associative and idempotent: that is why any
interleaving with duplicates ends in the same state.
"""

from __future__ import annotations

import re
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from .decimals import decimal_or_none
from .executions import FILL_EVENTS, Execution, Executions, execution_of
from .redis.constants import CLIENT_ID_PATTERN
from .redis.messages import OrderMessage
from .snapshots import ENDED, Snapshot, text

__all__ = ["ENDED", "Chain", "Order", "OrderTracker", "belongs_to", "owner_of"]

_ZERO: Final = Decimal(0)
_CLIENT_ID: Final = re.compile(CLIENT_ID_PATTERN)


def belongs_to(client_id: str, client_order_id: str | None) -> bool:
    """Whether the id alone says that the order is `client_id`'s."""
    return client_order_id is not None and client_order_id.startswith(f"{client_id}:")


def owner_of(client_order_id: str | None) -> str | None:
    """The `client_id` that an order's id names, or None: by hand, or by another program."""
    named, colon, _ = (client_order_id or "").partition(":")
    return named if colon and _CLIENT_ID.fullmatch(named) else None


@dataclass(frozen=True, kw_only=True)
class Order:
    """The truth about one order, as far as it is known. A notional order has `qty` None."""

    order_id: str
    client_order_id: str | None
    symbol: str
    side: str
    status: str
    qty: Decimal | None
    notional: Decimal | None
    limit_price: Decimal | None
    filled_qty: Decimal
    filled_avg_price: Decimal | None
    replaces: str | None
    replaced_by: str | None
    parent_id: str | None
    executions: tuple[Execution, ...]

    @property
    def ended(self) -> bool:
        """Whether nothing of it works any more. A fill may still follow."""
        return self.status in ENDED

    @property
    def open_qty(self) -> Decimal | None:
        """What still works; None for an open notional order, which has no quantity."""
        if self.ended:
            return _ZERO
        return None if self.qty is None else max(_ZERO, self.qty - self.filled_qty)


@dataclass(frozen=True, kw_only=True)
class Chain:
    """An order and all that it was replaced by, oldest first. The fills of all of them count."""

    orders: tuple[Order, ...]

    @property
    def current(self) -> Order:
        """The last one that still works; the last one where none does. A replacement that lost its
        race was rejected, and leaves the order that it was to replace at work."""
        working = [order for order in self.orders if not order.ended]
        return working[-1] if working else self.orders[-1]

    @property
    def filled_qty(self) -> Decimal:
        return sum((order.filled_qty for order in self.orders), _ZERO)

    @property
    def ended(self) -> bool:
        """Whether nothing of the chain works, nor is announced: `replaced` ends only an id."""
        return all(order.ended for order in self.orders) and self.orders[-1].status != "replaced"


@dataclass
class _Record:
    newest: Snapshot
    fullest: tuple[Decimal, str] = (_ZERO, "")  # filled_qty and filled_avg_price
    executions: Executions = field(default_factory=Executions)
    parent_id: str = ""


class OrderTracker:
    """Holds each order's and each replace chain's truth. No thread, no clock: one owner feeds it.

    `counters` says what could not be read; nothing raises, for orders come from outside.
    """

    def __init__(self) -> None:
        self.counters: Counter[str] = Counter()
        self._records: dict[str, _Record] = {}
        self._by_client_order_id: dict[str, str] = {}
        self._replaced_by: dict[str, str] = {}  # old id to new id, from whichever side told it
        self._replaces: dict[str, str] = {}

    def apply(self, message: OrderMessage) -> Order | None:
        """Take in one order message; returns the order's truth now, None if it names no order."""
        order_id = self._absorb(message.order_data, parent_id="")
        if order_id is None:
            return None
        if message.event in FILL_EVENTS:
            self._absorb_execution(order_id, message)
        return self.order(order_id)

    def absorb(self, order_data: Mapping[str, Any]) -> Order | None:
        """Take in an order object that came by REST."""
        order_id = self._absorb(order_data, parent_id="")
        return None if order_id is None else self.order(order_id)

    def order(self, order_id: str) -> Order | None:
        record = self._records.get(order_id)
        return None if record is None else self._view(order_id, record)

    def by_client_order_id(self, client_order_id: str) -> Order | None:
        order_id = self._by_client_order_id.get(client_order_id)
        return None if order_id is None else self.order(order_id)

    def orders(self) -> Iterator[Order]:
        for order_id, record in self._records.items():
            yield self._view(order_id, record)

    def chain(self, order_id: str) -> Chain | None:
        """The replace chain that the order stands in, from its first order to its last."""
        if order_id not in self._records:
            return None
        first = _follow(self._replaces, order_id)[-1]
        known = [self.order(each) for each in _follow(self._replaced_by, first)]
        return Chain(orders=tuple(order for order in known if order is not None))

    def is_of(self, client_id: str, order_id: str) -> bool:
        """Whose order: by its own id, or as a leg or a replacement of one that is `client_id`'s."""
        return any(belongs_to(client_id, name) for name in self._names(order_id))

    def owner(self, order_id: str) -> str | None:
        """The `client_id` whose order it is; None for a foreign one."""
        return next(filter(None, map(owner_of, self._names(order_id))), None)

    def forget_ended(self, keep: int) -> int:
        """Once there are twice as many, let go of the oldest ended orders, all but `keep` of them;
        never of those that an order at work stems from, nor of a part of a chain. Returns how
        many."""
        if len(self._records) <= 2 * keep:
            return 0
        needed = set[str]()
        for order_id, record in self._records.items():
            if not record.newest.ended:
                needed.update(self._line(order_id))
        ended = [each for each in self._records if each not in needed]
        going = set(ended[: max(0, len(ended) - keep)])
        for order_id in sorted(going):
            chain = (*_follow(self._replaces, order_id), *_follow(self._replaced_by, order_id))
            if any(each in self._records and each not in going for each in chain):
                going.discard(order_id)
        for order_id in going:
            self._drop(order_id)
        return len(going)

    # -- private

    def _drop(self, order_id: str) -> None:
        name = self._records.pop(order_id).newest.terms[0]
        if self._by_client_order_id.get(name) == order_id:
            del self._by_client_order_id[name]
        if (new := self._replaced_by.pop(order_id, None)) is not None:
            self._replaces.pop(new, None)

    def _names(self, order_id: str) -> Iterator[str]:
        """The ids that clients gave to the order and, nearest first, to those it stems from."""
        for each in self._line(order_id):
            yield self._records[each].newest.terms[0]

    def _line(self, order_id: str) -> Iterator[str]:
        """The order and, nearest first, those it stems from."""
        pending, seen = deque([order_id]), set[str]()
        while pending:
            current = pending.popleft()
            record = self._records.get(current)
            if record is None or current in seen:
                continue
            seen.add(current)
            yield current
            pending += [self._replaces.get(current, ""), record.parent_id]

    def _absorb(self, order_data: Mapping[str, Any], parent_id: str) -> str | None:
        order_id = order_data.get("id")
        if not isinstance(order_id, str) or not order_id:
            self.counters["orders_without_id"] += 1
            return None
        snapshot = Snapshot.of(order_data)
        record = self._records.setdefault(order_id, _Record(newest=snapshot))
        record.newest = max(record.newest, snapshot)
        filled = decimal_or_none(order_data.get("filled_qty")) or _ZERO
        average = text(order_data.get("filled_avg_price"))
        record.fullest = max(record.fullest, (filled, average))
        self._link(text(order_data.get("replaces")), order_id)
        self._link(order_id, text(order_data.get("replaced_by")))
        record.parent_id = max(record.parent_id, parent_id)
        if client_order_id := snapshot.terms[0]:
            self._name(client_order_id, order_id)
        legs = order_data.get("legs")
        for leg in legs if isinstance(legs, list) else ():
            if isinstance(leg, Mapping):
                self._absorb(leg, parent_id=order_id)
        return order_id

    def _link(self, old: str, new: str) -> None:
        if old and new:
            self._replaced_by[old] = max(self._replaced_by.get(old, new), new)
            self._replaces[new] = max(self._replaces.get(new, old), old)

    def _name(self, client_order_id: str, order_id: str) -> None:
        # Alpaca keeps them unique; should it ever not, the choice must not depend on arrival.
        named = self._by_client_order_id.setdefault(client_order_id, order_id)
        self._by_client_order_id[client_order_id] = min(named, order_id)

    def _absorb_execution(self, order_id: str, message: OrderMessage) -> None:
        execution = execution_of(order_id, message)
        if not self._records[order_id].executions.add(execution):
            self.counters["executions_without_identity"] += 1

    def _view(self, order_id: str, record: _Record) -> Order:
        client_order_id, symbol, side, qty, notional, limit_price = record.newest.terms
        filled_qty, average = record.fullest
        return Order(
            order_id=order_id,
            client_order_id=client_order_id or None,
            symbol=symbol,
            side=side,
            status=record.newest.status,
            qty=decimal_or_none(qty),
            notional=decimal_or_none(notional),
            limit_price=decimal_or_none(limit_price),
            filled_qty=filled_qty,
            filled_avg_price=decimal_or_none(average),
            replaces=self._replaces.get(order_id),
            replaced_by=self._replaced_by.get(order_id),
            parent_id=record.parent_id or None,
            executions=record.executions.all(filled_qty),
        )


def _follow(links: Mapping[str, str], start: str) -> list[str]:
    """The ids from `start` on, each once: links from outside may form a circle."""
    path = [start]
    while (following := links.get(path[-1])) is not None and following not in path:
        path.append(following)
    return path
