"""A written fake of Alpaca's order side: it takes orders, fills them, and tells all in messages.

It holds the oracle's truth: what was really bought and sold, and what really works.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from main.scale_t.intents import Place
from main.utils.redis.messages import OrderMessage

ENDED = ("filled", "canceled", "expired", "rejected")


@dataclass
class FakeOrder:
    """One order as the venue keeps it."""

    order_id: str
    place: Place
    status: str = "new"
    filled: Decimal = Decimal(0)
    version: int = 0
    value: Decimal = Decimal(0)  # dollars of its fills

    @property
    def open(self) -> Decimal:
        return Decimal(0) if self.status in ENDED else self.place.qty - self.filled

    def to_data(self) -> dict[str, Any]:
        """As Alpaca would send it."""
        return {
            "id": self.order_id,
            "client_order_id": self.place.client_order_id,
            "symbol": self.place.ticker,
            "side": self.place.side,
            "qty": str(self.place.qty),
            "limit_price": None if self.place.limit_price is None else str(self.place.limit_price),
            "filled_qty": str(self.filled),
            "filled_avg_price": str(self.value / self.filled) if self.filled else None,
            "status": self.status,
            "updated_at": f"2026-11-20T15:00:00.{self.version:09d}Z",
        }


class FakeVenue:
    """What it says goes into `messages`, in the order in which it happened."""

    def __init__(self) -> None:
        self.orders: dict[str, FakeOrder] = {}
        self.messages: list[OrderMessage] = []
        self._ids = itertools.count(1)
        self._versions = itertools.count(1)

    def take(self, place: Place) -> dict[str, Any] | None:
        """The new order, or None: the id exists already."""
        if place.client_order_id in self.orders:
            return None
        order = FakeOrder(f"o-{next(self._ids)}", place)
        self.orders[place.client_order_id] = order
        self._tell("new", order)
        return order.to_data()

    def fill(self, client_order_id: str, qty: Decimal, price: Decimal | None = None) -> None:
        """Execute up to `qty` of what is open, at its limit or at a better `price`."""
        order = self.orders[client_order_id]
        executed = min(qty, order.open)
        if executed > 0:
            paid = price or order.place.limit_price or Decimal(100)
            order.filled, order.value = order.filled + executed, order.value + executed * paid
            done = order.filled == order.place.qty
            order.status = "filled" if done else "partially_filled"
            execution = {
                "execution_id": f"e-{next(self._ids)}",
                "qty": str(executed),
                "price": str(paid),
            }
            self._tell("fill" if done else "partial_fill", order, **execution)

    def end(self, client_order_id: str, status: str = "canceled") -> bool:
        """Cancel, expire or reject it; False if it has ended already."""
        order = self.orders[client_order_id]
        if order.open == 0:
            return False
        order.status = status
        self._tell(status, order)
        return True

    def fill_late(self, client_order_id: str, qty: Decimal) -> None:
        """A fill that follows a cancel: it happens at real venues."""
        order = self.orders[client_order_id]
        late = min(qty, order.place.qty - order.filled)
        order.filled += late
        order.value += late * (order.place.limit_price or Decimal(100))
        self._tell("partial_fill", order, execution_id=f"e-{next(self._ids)}", qty=str(late))

    def find(self, client_order_id: str) -> dict[str, Any] | None:
        order = self.orders.get(client_order_id)
        return None if order is None else order.to_data()

    def open_orders(self, kind: str) -> list[FakeOrder]:
        return [each for each in self.orders.values() if each.place.kind == kind and each.open > 0]

    @property
    def cash(self) -> Decimal:
        """What the account's cash changed by."""
        signs = {"buy": -1, "sell": 1}
        return sum(
            (signs[each.place.side] * each.value for each in self.orders.values()), Decimal(0)
        )

    @property
    def position(self) -> Decimal:
        """Owned by the ladder: bought, or sold short; never negative."""
        signs = {"entry": 1, "profit": -1}
        return sum(
            (signs[each.place.kind] * each.filled for each in self.orders.values()), Decimal(0)
        )

    def _tell(self, event: str, order: FakeOrder, **update: str) -> None:
        order.version = next(self._versions)
        self.messages.append(
            OrderMessage(
                symbol=order.place.ticker,
                timestamp="2026-11-20T15:00:00Z",
                event=event,
                order_data=order.to_data(),
                update=dict(update),
                account_id="account",
                paper=True,
                source="stream",
            )
        )
