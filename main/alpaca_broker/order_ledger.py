"""Pure: which order events were published, so that each is published exactly once.

The stream may repeat itself, and REST tells again what the stream told already. An execution is
known by its order and the quantity filled up to it; any other event by its order and its name. What
REST brought first is dropped when the stream brings it late.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation
from typing import Any, Final, TypeAlias

from ..utils.redis.messages import parse_rfc3339

Update: TypeAlias = Mapping[str, Any]

EXECUTIONS: Final = frozenset({"fill", "partial_fill"})
# An order's status, and the event by which the stream would have told it. Fills are told by their
# own executions. `filled` and `partially_filled` are therefore not here.
STATUS_EVENTS: Final[dict[str, tuple[str, str]]] = {
    "pending_new": ("pending_new", "submitted_at"),
    "accepted": ("accepted", "submitted_at"),
    "new": ("new", "submitted_at"),
    "held": ("held", "submitted_at"),
    "canceled": ("canceled", "canceled_at"),
    "expired": ("expired", "expired_at"),
    "rejected": ("rejected", "failed_at"),
    "replaced": ("replaced", "replaced_at"),
    "done_for_day": ("done_for_day", "updated_at"),
    "stopped": ("stopped", "updated_at"),
    "suspended": ("suspended", "updated_at"),
    "calculated": ("calculated", "updated_at"),
    "pending_cancel": ("pending_cancel", "updated_at"),
    "pending_replace": ("pending_replace", "updated_at"),
}
_NO_ORDER: Final = ""  # what an update without an order is noted under
_ENDS: Final = frozenset({"fill", "canceled", "expired", "rejected", "replaced"})
_FIRST: Final = frozenset({"pending_new", "accepted", "new", "held"})


@dataclass
class _Known:
    """What was published of one order."""

    events: set[str] = field(default_factory=set)
    filled: set[str] = field(default_factory=set)  # cumulative quantities of its executions
    recovered: set[tuple[str, str]] = field(default_factory=set)  # (event, cumulative quantity)
    told: Decimal = Decimal(0)  # the sum of its executions
    ended: bool = False


class OrderLedger:
    """One thread at a time uses it: the order producer."""

    def __init__(self) -> None:
        self._orders: dict[str, _Known] = {}
        self._ids: dict[str, None] = {}  # event and execution ids, in order of arrival

    def open_orders(self) -> set[str]:
        """Orders that were published, and not yet seen to end."""
        orders = list(self._orders.items())  # another thread may ask: a copy in one step
        return {order_id for order_id, known in orders if order_id and not known.ended}

    def note(self, update: Update, *, recovered: bool = False) -> None:
        """Remember an event as published. `update` is Alpaca's, with `event` and `order`."""
        order_id, event, cumulative = _identity(update)
        known = self._orders.setdefault(order_id, _Known())
        known.events.add(event)
        if event in EXECUTIONS:
            known.filled.add(cumulative)
            known.told += _decimal(update.get("qty"))
        if recovered:
            known.recovered.add((event, cumulative))
        known.ended = known.ended or event in _ENDS
        for unique in _unique_ids(update):
            self._ids[unique] = None

    def admits(self, update: Update) -> bool:
        """Whether a stream's event is new: neither repeated, nor brought by REST before."""
        if any(unique in self._ids for unique in _unique_ids(update)):
            return False
        order_id, event, cumulative = _identity(update)
        known = self._orders.get(order_id)
        if known is None or order_id == _NO_ORDER:
            return True
        if event not in EXECUTIONS:
            return (event, cumulative) not in known.recovered
        if update.get("execution_id"):
            # A new execution, even where its order's snapshot runs ahead to the next one's sum.
            return not any((execution, cumulative) in known.recovered for execution in EXECUTIONS)
        return cumulative not in known.filled

    def missing(
        self, order: Mapping[str, Any], fills: Iterable[Mapping[str, Any]], settled_before_ns: int
    ) -> list[Update]:
        """What REST knows of an order and the stream did not tell, oldest first.

        Events after `settled_before_ns` may still be on their way: the next round sees them.
        """
        known = self._orders.get(str(order.get("id")), _Known())
        found: list[Update] = []
        fills = list(fills)
        # The stream's snapshots may run ahead of its executions, so that a cumulative quantity
        # never came: what counts in the end is whether as much was told as there is.
        all_told = known.told > 0 and known.told >= max(
            (_decimal(fill.get("cum_qty")) for fill in fills), default=Decimal(0)
        )
        for fill in sorted(fills, key=lambda f: str(f.get("transaction_time"))):
            if all_told or _quantity(fill.get("cum_qty")) in known.filled:
                continue
            if _settled(fill.get("transaction_time"), settled_before_ns):
                found.append(_execution(order, fill))
        state = self._missing_state(order, known, settled_before_ns)
        if state is None:
            return found
        # An order is new before it fills, and ends after.
        return [state, *found] if state["event"] in _FIRST else [*found, state]

    def _missing_state(
        self, order: Mapping[str, Any], known: _Known, settled_before_ns: int
    ) -> Update | None:
        event, moment = STATUS_EVENTS.get(str(order.get("status")), (None, ""))
        if event is None or event in known.events:
            return None
        timestamp = order.get(moment) or order.get("updated_at")
        if not _settled(timestamp, settled_before_ns):
            return None
        return {"event": event, "timestamp": timestamp, "order": order}

    def forget_ended(self, keep: int = 50_000) -> None:
        """Bound the memory: the oldest ended orders go first."""
        surplus = len(self._orders) - keep
        ended = [order_id for order_id, known in self._orders.items() if known.ended]
        for order_id in ended[: max(0, surplus)]:
            del self._orders[order_id]
        for unique in list(self._ids)[: max(0, len(self._ids) - 4 * keep)]:
            del self._ids[unique]


def _execution(order: Mapping[str, Any], fill: Mapping[str, Any]) -> Update:
    """An activity as the update that was missed; it carries what REST tells, and no more."""
    update: dict[str, Any] = {
        "event": fill.get("type", "fill"),
        "timestamp": fill.get("transaction_time"),
        "price": fill.get("price"),
        "qty": fill.get("qty"),
        "cum_qty": fill.get("cum_qty"),
        "activity_id": fill.get("id"),
        "order": order,
    }
    return update


def _identity(update: Update) -> tuple[str, str, str]:
    """(order id, event, quantity filled up to it)."""
    order = update.get("order")
    order = order if isinstance(order, dict) else {}
    cumulative = update.get("cum_qty", order.get("filled_qty"))
    order_id = str(order.get("id") or _NO_ORDER)
    return order_id, str(update.get("event")), _quantity(cumulative)


def _unique_ids(update: Update) -> list[str]:
    return [str(update[key]) for key in ("event_id", "execution_id") if update.get(key)]


def _decimal(text: object) -> Decimal:
    try:
        return Decimal(str(text))
    except InvalidOperation:
        return Decimal(0)


def _quantity(text: object) -> str:
    """A quantity in one spelling: "1", "1.0" and "1.00" are the same."""
    try:
        return f"{Decimal(str(text)).normalize():f}"
    except InvalidOperation:
        return str(text)


def _settled(timestamp: object, before_ns: int) -> bool:
    try:
        return parse_rfc3339(str(timestamp)) <= before_ns
    except ValueError:
        return True
