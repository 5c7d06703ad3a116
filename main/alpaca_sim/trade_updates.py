"""What the trading stream will say: the `data` objects of `trade_updates`, in order."""

from __future__ import annotations

from collections.abc import Mapping

from .order_wire import order_to_wire
from .orders import Order
from .venue_ids import VenueIds
from .wire_numbers import timestamp


class TradeUpdates:
    """Collects events until the shell takes them."""

    def __init__(self, ids: VenueIds, *, nests_legs: bool) -> None:
        self._ids = ids
        self._nests_legs = nests_legs
        self._events: list[dict[str, object]] = []

    def tell(
        self, event: str, order: Order, now_ns: int, execution: Mapping[str, object] | None = None
    ) -> None:
        """Record one event with the order as it is now. `new` has an execution id, as Alpaca's."""
        told: dict[str, object] = {
            "at": timestamp(now_ns),
            "event": event,
            "event_id": self._ids.ulid(now_ns),
            "timestamp": timestamp(now_ns),
        }
        told |= execution if execution is not None else {"execution_id": self._ids.uuid()}
        told["order"] = order_to_wire(order, nested=self._nests_legs)
        self._events.append(told)

    def take(self) -> list[dict[str, object]]:
        """Everything since the last call."""
        taken, self._events = self._events, []
        return taken
