"""Pure: the ladder's own orders, and what follows from them for every rung.

The book stands on an `OrderTracker`. For each rung it keeps two figures, `held` (entries filled
minus profits filled) and what still may fill of its entries and of its profits; an order whose
fate is not known counts in full.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from ..utils.orders import Chain, Order, OrderTracker
from ..utils.redis.messages import OrderMessage
from .intents import STAGE_MOVES, IllegalMove, Stage
from .order_ids import OrderKind, OrderName, order_prefix, parse_order_name
from .waits import GrowingWait

ZERO: Final = Decimal(0)
LOOK_UP_FIRST_S: Final = 0.5
LOOK_UP_CAP_S: Final = 8.0
CANCEL_AGAIN_FIRST_S: Final = 5.0
CANCEL_AGAIN_CAP_S: Final = 60.0


@dataclass
class OwnOrder:
    """One order that this ladder asked for, or found to be its own."""

    client_order_id: str
    name: OrderName
    qty: Decimal
    limit_price: Decimal
    stage: Stage
    order_id: str | None = None
    filled: Decimal = ZERO
    pending: Decimal = ZERO  # what may still fill
    doubtful_since: float = 0.0
    refusal: str | None = None  # what Alpaca said, while we look whether it exists anyway
    cancel_asked: bool = False
    end_noted: bool = False
    look_up_wanted: bool = False
    next_look_up: GrowingWait = field(
        default_factory=lambda: GrowingWait(LOOK_UP_FIRST_S, LOOK_UP_CAP_S)
    )
    next_cancel: GrowingWait = field(
        default_factory=lambda: GrowingWait(CANCEL_AGAIN_FIRST_S, CANCEL_AGAIN_CAP_S)
    )

    def move(self, stage: Stage) -> None:
        """Raises:
        IllegalMove: this stage cannot follow; nothing was changed.
        """
        if stage not in STAGE_MOVES[self.stage]:
            raise IllegalMove(self.client_order_id, self.stage, stage)
        self.stage = stage


class Book:
    """All orders of one ladder. Not thread-safe: the ladder owns it."""

    def __init__(self, client_id: str, ticker: str) -> None:
        self.prefix = order_prefix(client_id, ticker)
        self.tracker = OrderTracker()
        self.held: defaultdict[int, Decimal] = defaultdict(Decimal)
        self._bought_at: dict[int, tuple[int, Decimal]] = {}  # the newest generation that filled
        self._orders: dict[str, OwnOrder] = {}
        self._active: dict[str, OwnOrder] = {}
        self._generations: defaultdict[tuple[OrderKind, int], int] = defaultdict(int)

    # -- what is known

    def __iter__(self) -> Iterator[OwnOrder]:
        return iter(self._orders.values())

    def get(self, client_order_id: str) -> OwnOrder | None:
        return self._orders.get(client_order_id)

    def active(self, kind: OrderKind) -> list[OwnOrder]:
        """Those of which something may still fill, oldest first."""
        return [order for order in self._active.values() if order.name.kind == kind]

    def doubtful(self) -> list[OwnOrder]:
        """Those whose truth has to be looked up."""
        return [order for order in self._active.values() if order.look_up_wanted]

    @property
    def position(self) -> Decimal:
        """What this ladder owns; other holdings of the account do not count."""
        return sum(self.held.values(), ZERO)

    @property
    def pending_entries(self) -> Decimal:
        return sum((order.pending for order in self.active("entry")), ZERO)

    def offered(self) -> defaultdict[int, Decimal]:
        """What the profit orders of each rung may still sell."""
        offered: defaultdict[int, Decimal] = defaultdict(Decimal)
        for order in self.active("profit"):
            offered[order.name.component] += order.pending
        return offered

    def bought_at(self, component: int) -> Decimal:
        """The limit price of the rung's newest entry that filled."""
        return self._bought_at[component][1]

    def next_name(self, kind: OrderKind, component: int) -> OrderName:
        """The name of the next order of this kind on this rung.

        One that never arrived gives its name to the next: should it arrive after all, Alpaca takes
        only one of the two.
        """
        last = self._generations[kind, component]
        name = OrderName(kind=kind, component=component, generation=last)
        previous = self._orders.get(name.text(self.prefix))
        if previous is not None and previous.stage is Stage.ABSENT:
            return name
        return OrderName(kind=kind, component=component, generation=last + 1)

    # -- what happens

    def begin(self, client_order_id: str, qty: Decimal, limit_price: Decimal) -> OwnOrder:
        """An order is about to be sent: from here on it counts."""
        name = parse_order_name(self.prefix, client_order_id)
        assert name is not None, client_order_id
        order = OwnOrder(
            client_order_id=client_order_id,
            name=name,
            qty=qty,
            limit_price=limit_price,
            stage=Stage.SENDING,
        )
        self._enter(order)
        return order

    def apply(self, message: OrderMessage) -> OwnOrder | None:
        """An order message. Returns the own order that it changed, if it is one."""
        return self._settle_seen(self.tracker.apply(message))

    def absorb(self, order_data: Mapping[str, Any]) -> OwnOrder | None:
        """An order object by REST. Returns the own order that it is about, if it is one."""
        return self._settle_seen(self.tracker.absorb(order_data))

    def settle(self, order: OwnOrder) -> None:
        """Bring `filled`, `pending` and the rung's figures to what is known now."""
        filled, pending = self._truth(order)
        change, component = filled - order.filled, order.name.component
        if order.name.kind == "entry":
            self.held[component] += change
            if change > 0:
                bought = (order.name.generation, order.limit_price)
                self._bought_at[component] = max(self._bought_at.get(component, bought), bought)
        else:
            self.held[component] -= change
        order.filled, order.pending = filled, pending
        if pending > 0:
            self._active[order.client_order_id] = order
        else:
            self._active.pop(order.client_order_id, None)
            order.look_up_wanted = False

    # -- private

    def _enter(self, order: OwnOrder) -> None:
        self._orders[order.client_order_id] = order
        rung = order.name.rung
        self._generations[rung] = max(self._generations[rung], order.name.generation)
        self.settle(order)

    def _settle_seen(self, seen: Order | None) -> OwnOrder | None:
        chain = None if seen is None else self.tracker.chain(seen.order_id)
        if chain is None:
            return None
        first = chain.orders[0]
        order = self._orders.get(first.client_order_id or "") or self._adopt(first)
        if order is None:
            return None
        if order.stage is not Stage.SEEN:
            order.move(Stage.SEEN)
            order.refusal = None
        order.look_up_wanted = False
        order.order_id = chain.current.order_id  # after a replacement by hand, the newest one
        self.settle(order)
        return order

    def _adopt(self, found: Order) -> OwnOrder | None:
        """An order of ours that this run did not send: an earlier run did."""
        name = parse_order_name(self.prefix, found.client_order_id)
        if name is None:
            return None
        order = OwnOrder(
            client_order_id=name.text(self.prefix),
            name=name,
            qty=found.qty or ZERO,
            limit_price=found.limit_price or ZERO,
            stage=Stage.SEEN,
            end_noted=found.ended,
        )
        self._enter(order)
        return order

    def _truth(self, order: OwnOrder) -> tuple[Decimal, Decimal]:
        """What was filled, and what may still fill."""
        known = self.tracker.by_client_order_id(order.client_order_id)
        chain = None if known is None else self.tracker.chain(known.order_id)
        if chain is not None:
            return chain.filled_qty, _open_qty(chain)
        if order.stage in (Stage.SENDING, Stage.UNRESOLVED):
            return ZERO, order.qty
        return ZERO, ZERO


def _open_qty(chain: Chain) -> Decimal:
    if chain.ended:
        return ZERO
    current = chain.current
    # Replaced by an order that we have not seen yet: the old quantity is the best that is known.
    if current.open_qty is None or current.status == "replaced":
        return max(ZERO, (current.qty or ZERO) - current.filled_qty)
    return current.open_qty
