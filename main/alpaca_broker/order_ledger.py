"""Pure: which order events were published, so that each is published exactly once.

The stream may repeat itself, and REST tells again what the stream told already (`ToldOrders` says
how both are known). What REST brought first is dropped when the stream brings it late.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final, TypeAlias

from ..utils.redis.messages import parse_rfc3339
from ..utils.told_orders import (
    NEAR_S,
    Execution,
    Told,
    ToldOrders,
    Update,
    decimal,
    quantity,
)

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
_FIRST: Final = frozenset({"pending_new", "accepted", "new", "held"})
Activity: TypeAlias = Mapping[str, Any]  # an execution as REST lists it
_KEPT_ORDERS: Final = 4_000  # ended ones: the better part of an hour of a busy account


class OrderLedger:
    """One thread at a time uses it: the order producer."""

    def __init__(self) -> None:
        self._told = ToldOrders(_KEPT_ORDERS)

    def open_orders(self) -> set[str]:
        """Orders that were published, and not yet seen to end. Any thread may ask."""
        return self._told.open_orders()

    def quantity_told(self, order_id: str) -> Decimal:
        """The sum of an order's published executions. Any thread may ask."""
        return self._told.of(order_id).quantity

    def note(self, update: Update, *, recovered: bool = False) -> None:
        """Remember an event as published. `update` is Alpaca's, with `event` and `order`."""
        self._told.note(update, recovered=recovered)

    def admits(self, update: Update) -> bool:
        """Whether a stream's event is new: neither repeated, nor brought by REST before."""
        return self._told.is_new(update, recovered=False)

    def missing(
        self, order: Mapping[str, Any], fills: Iterable[Mapping[str, Any]], settled_before_ns: int
    ) -> list[Update]:
        """What REST knows of an order and the stream did not tell, oldest first.

        Events after `settled_before_ns` may still be on their way: the next round sees them.
        """
        known = self._told.of(str(order.get("id")))
        found = [
            _execution(order, fill)
            for fill in _untold(known, list(fills))
            if settled(fill.get("transaction_time"), settled_before_ns)
        ]
        state = self._missing_state(order, known, settled_before_ns)
        if state is None:
            return found
        # An order is new before it fills, and ends after.
        return [state, *found] if state["event"] in _FIRST else [*found, state]

    def _missing_state(
        self, order: Mapping[str, Any], known: Told, settled_before_ns: int
    ) -> Update | None:
        event, moment = STATUS_EVENTS.get(str(order.get("status")), (None, ""))
        if event is None or event in known.events:
            return None
        timestamp = order.get(moment) or order.get("updated_at")
        if not settled(timestamp, settled_before_ns):
            return None
        return {"event": event, "timestamp": timestamp, "order": order}


def _untold(known: Told, fills: list[Activity]) -> list[Activity]:
    """The executions that were not told, oldest first.

    There is no id that both sides know. The same quantity at the same moment is the same execution;
    then, the same quantity up to the same sum. A stream's snapshot may have run ahead: what it told
    with a later sum stands for one of the same quantity and price.
    """
    total = max((decimal(fill.get("cum_qty")) for fill in fills), default=Decimal(0))
    if 0 < total <= known.quantity:
        return []
    fills = sorted(fills, key=lambda fill: str(fill.get("transaction_time")))
    untold = [(fill, Execution.of(fill, quantity(fill.get("cum_qty")))) for fill in fills]
    told = list(known.executions)
    for is_same in (_exactly, _at_once, Execution.reaches, _ahead):
        for pair in list(untold):
            match = next((one for one in told if is_same(one, pair[1])), None)
            if match is not None:
                told.remove(match)
                untold.remove(pair)
    return [fill for fill, _ in untold]


def _exactly(told: Execution, listed: Execution) -> bool:
    return told.cumulative == listed.cumulative and _at_once(told, listed)


def _at_once(told: Execution, listed: Execution) -> bool:
    is_known = told.moment_s > 0 and listed.moment_s > 0
    return is_known and told.is_near(listed, 0.001) and told[1:3] == listed[1:3]


def _ahead(told: Execution, listed: Execution) -> bool:
    is_ahead = decimal(told.cumulative) > decimal(listed.cumulative)
    return is_ahead and told.is_near(listed, NEAR_S) and told[1:3] == listed[1:3]


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


def settled(timestamp: object, before_ns: int) -> bool:
    """Whether a moment as Alpaca tells it is over; one that it does not tell is."""
    try:
        return parse_rfc3339(str(timestamp)) <= before_ns
    except ValueError:
        return True
