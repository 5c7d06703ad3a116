"""Pure: a venue for simulations. It fills as Alpaca's paper accounts do: only what is marketable.

Against quotes, where the recording has any: a buyer at the ask, a seller at the bid, a resting
order at the better of its limit and the quote. Without quotes against trades: a limit order fills
when a trade reaches its price. The size of either is not looked at, and nothing takes time.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from ..utils.redis.messages import OrderMessage, rfc3339
from .intents import Place
from .recording import Tick


@dataclass(kw_only=True)
class PaperOrder:
    """One order; `ended_ns` None while it works."""

    place: Place
    order_id: str
    at_ns: int
    ended_ns: int | None = None
    filled_at: Decimal | None = None


class PaperVenue:
    """Takes orders, and tells what became of them as messages of the bus."""

    def __init__(self) -> None:
        self.orders: list[PaperOrder] = []
        self._open: dict[str, PaperOrder] = {}
        self._ids = itertools.count(1)
        self._bid: Decimal | None = None
        self._ask: Decimal | None = None
        self._quoted = False

    def see(self, tick: Tick) -> Iterator[OrderMessage]:
        """The market moved: what fills now."""
        if tick.price is None:
            self._bid, self._ask, self._quoted = tick.bid, tick.ask, True
        elif not self._quoted:
            self._bid = self._ask = tick.price
        yield from self._match(tick.at_ns)

    def take(self, place: Place, at_ns: int) -> Iterator[OrderMessage]:
        """A new order; what is marketable fills at once."""
        order = PaperOrder(place=place, order_id=f"paper-{next(self._ids)}", at_ns=at_ns)
        self.orders.append(order)
        self._open[place.client_order_id] = order
        yield _told("new", order, at_ns)
        yield from self._match(at_ns)

    def cancel(self, client_order_id: str, at_ns: int) -> Iterator[OrderMessage]:
        order = self._open.pop(client_order_id, None)
        if order is not None:
            order.ended_ns = at_ns
            yield _told("canceled", order, at_ns)

    def close_session(self, at_ns: int) -> Iterator[OrderMessage]:
        """Day orders end with their session."""
        for name, order in list(self._open.items()):
            if order.place.time_in_force == "day":
                del self._open[name]
                order.ended_ns = at_ns
                yield _told("expired", order, at_ns)

    def _match(self, at_ns: int) -> Iterator[OrderMessage]:
        for name, order in list(self._open.items()):
            price = self._price_for(order.place)
            if price is not None:
                del self._open[name]
                order.ended_ns, order.filled_at = at_ns, price
                yield _told("fill", order, at_ns)

    def _price_for(self, place: Place) -> Decimal | None:
        limit = place.limit_price
        if place.side == "buy":
            market = self._ask
            return market if market is not None and (limit is None or market <= limit) else None
        market = self._bid
        return market if market is not None and (limit is None or market >= limit) else None


def _told(event: str, order: PaperOrder, at_ns: int) -> OrderMessage:
    place, when = order.place, rfc3339(at_ns)
    filled = place.qty if event == "fill" else Decimal(0)
    update: dict[str, Any] = {}
    if event == "fill":
        update = {
            "execution_id": f"{order.order_id}-1",
            "price": str(order.filled_at),
            "qty": str(place.qty),
            "timestamp": when,
        }
    return OrderMessage(
        symbol=place.ticker,
        timestamp=when,
        event=event,
        order_data={
            "id": order.order_id,
            "client_order_id": place.client_order_id,
            "symbol": place.ticker,
            "side": place.side,
            "qty": str(place.qty),
            "limit_price": None if place.limit_price is None else str(place.limit_price),
            "filled_qty": str(filled),
            "filled_avg_price": str(order.filled_at) if event == "fill" else None,
            "status": {"fill": "filled"}.get(event, event),
            "updated_at": when,
        },
        update=update,
        account_id="simulated",
        paper=True,
        source="stream",
    )
