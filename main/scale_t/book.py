"""Pure: the ladder's own orders, and what follows from them for every rung.

The book stands on an `OrderTracker`. For each rung it keeps what is `held` (entered minus left) and
what was ever `entered`; for each order what still may fill of it, where an order whose fate is not
known counts in full. Nothing here depends on the order in which messages arrive.

Quantities are positive on both sides: a short ladder holds what it sold and did not buy back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from decimal import Decimal
from typing import Any

from ..utils.orders import Chain, Order, OrderTracker
from ..utils.redis.messages import OrderMessage
from .fees import ListedFees
from .intents import Stage
from .order_ids import OrderKind, OrderName, order_prefix, parse_order_name
from .own_orders import ZERO, OwnOrder, RungState

__all__ = ["ZERO", "Book", "OwnOrder", "RungState"]


class Book:
    """All orders of one ladder. Not thread-safe: the ladder owns it."""

    def __init__(self, client_id: str, ticker: str, fee_rate: Decimal = ZERO) -> None:
        self.prefix = order_prefix(client_id, ticker)
        self.tracker = OrderTracker()
        self.fees = ListedFees(fee_rate)
        self._is_pair = "/" in ticker  # stocks cost nothing
        self.rungs: defaultdict[int, RungState] = defaultdict(RungState)
        self.ratios: dict[str, Decimal] = {}  # of orders from before a split, by client_order_id
        self.flow = ZERO  # dollars of all exits, less their fees, minus those of all entries
        self._orders: dict[str, OwnOrder] = {}
        self._active: dict[str, OwnOrder] = {}
        self._unlisted: set[str] = set()  # filled, but what that cost is not all known
        # The generations below these are taken.
        self._maybe_free: defaultdict[tuple[OrderKind, int], int] = defaultdict(lambda: 1)

    # -- what is known

    def __iter__(self) -> Iterator[OwnOrder]:
        return iter(self._orders.values())

    def get(self, client_order_id: str) -> OwnOrder | None:
        return self._orders.get(client_order_id)

    def active(self, kind: OrderKind | None = None) -> list[OwnOrder]:
        """Those of which something may still fill, oldest first."""
        return [each for each in self._active.values() if kind is None or each.name.kind == kind]

    def doubtful(self) -> list[OwnOrder]:
        """Those whose truth has to be looked up."""
        return [order for order in self._active.values() if order.look_up_wanted]

    @property
    def position(self) -> Decimal:
        """What this ladder owns; other holdings of the account do not count."""
        return sum((rung.held for rung in self.rungs.values()), ZERO)

    @property
    def entered(self) -> Decimal:
        """All that ever was entered."""
        return sum((rung.entered for rung in self.rungs.values()), ZERO)

    @property
    def pending_entries(self) -> Decimal:
        return sum((order.pending for order in self.active("entry")), ZERO)

    def held(self, component: int) -> Decimal:
        return self.rungs[component].held

    def offered(self) -> defaultdict[int, Decimal]:
        """What the profit orders of each rung may still take from it."""
        offered: defaultdict[int, Decimal] = defaultdict(Decimal)
        for order in self.active("profit"):
            offered[order.name.component] += order.pending
        return offered

    def basis(self, component: int, *, from_fill: bool) -> Decimal:
        """What a profit of this rung is counted from: the newest entry's limit, or its fill."""
        rung = self.rungs[component]
        newest = rung.newest_entry()
        if newest is None:
            return rung.base_price
        if from_fill or newest.limit_price is None:
            return newest.average or rung.base_price
        return newest.limit_price

    def next_name(self, kind: OrderKind, component: int) -> OrderName:
        """The name of the next order of this kind on this rung: the first that is free.

        One that was refused or never arrived gives its name to the next, and so does one that is
        missing between others: a run before this one may have sent it, and it may be on its way.
        Of two that have the same name Alpaca takes only one.
        """
        generation = self._maybe_free[kind, component]
        while True:
            name = OrderName(kind=kind, component=component, generation=generation)
            known = self._orders.get(name.text(self.prefix))
            if known is None or known.frees_its_name:
                self._maybe_free[kind, component] = generation
                return name
            generation += 1

    # -- what happens

    def begin(self, client_order_id: str, qty: Decimal, limit_price: Decimal | None) -> OwnOrder:
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

    def see_fees(self, activities: Iterable[Mapping[str, Any]]) -> bool:
        """The account's activities of the types FILL and CFEE: what a pair's executions cost.
        Whether more is known now."""
        changed = self.fees.take(activities)
        for order_id in changed:
            chain = self.tracker.chain(order_id)
            first = None if chain is None else chain.orders[0].client_order_id
            if (order := self._orders.get(first or "")) is not None:
                self.settle(order)
        return bool(changed)

    def fees_awaited(self) -> frozenset[str]:
        """Alpaca's ids of the own orders that filled, and whose fees are not all listed."""
        ids = (self._ids_of(self._orders[name]) for name in self._unlisted)
        return frozenset(each for some in ids for each in some)

    def set_base(self, component: int, qty: Decimal, price: Decimal) -> None:
        """Owned without an order of ours; negative: an own fill that somebody else undid."""
        rung = self.rungs[component]
        self.flow += rung.base * rung.base_price - qty * price
        rung.held += qty - rung.base
        rung.entered += qty - rung.base
        rung.base, rung.base_price = qty, price

    def settle(self, order: OwnOrder) -> None:
        """Bring `filled`, `pending` and the rung's figures to what is known now."""
        filled, value, pending = self._truth(order)
        fee = self._fee(order, filled, value)
        change, rung = filled - order.filled, self.rungs[order.name.component]
        if order.name.kind == "entry":
            rung.held += change - (fee - order.fee)
            rung.entered += change
            self.flow -= value - order.value
        else:
            rung.held -= change
            self.flow += value - order.value - (fee - order.fee)
        order.filled, order.value, order.fee, order.pending = filled, value, fee, pending
        if order.frees_its_name:
            free = self._maybe_free[order.name.rung]
            self._maybe_free[order.name.rung] = min(free, order.name.generation)
        if pending > 0:
            self._active[order.client_order_id] = order
        else:
            self._active.pop(order.client_order_id, None)
            order.look_up_wanted = False

    # -- private

    def _enter(self, order: OwnOrder) -> None:
        earlier = self._orders.get(order.client_order_id)
        rung = self.rungs[order.name.component]
        orders = rung.entries if order.name.kind == "entry" else rung.exits
        if earlier is not None:  # it came to nothing, and gave its name to this one
            orders.remove(earlier)
        orders.append(order)
        self._orders[order.client_order_id] = order
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
            # Of two with one name Alpaca has the one that came first: its terms are what works.
            order.qty = order.qty if first.qty is None else first.qty * order.ratio
            order.limit_price = _todays(first.limit_price, order.ratio)
        order.look_up_wanted = False
        order.order_id = chain.current.order_id  # after a replacement by hand, the newest one
        order.status = chain.current.status
        self.settle(order)
        return order

    def _adopt(self, found: Order) -> OwnOrder | None:
        """An order of ours that this run did not send: an earlier run did."""
        name = parse_order_name(self.prefix, found.client_order_id)
        if name is None:
            return None
        ratio = self.ratios.get(found.client_order_id or "", Decimal(1))
        order = OwnOrder(
            client_order_id=name.text(self.prefix),
            name=name,
            qty=(found.qty or ZERO) * ratio,
            limit_price=_todays(found.limit_price, ratio),
            stage=Stage.SEEN,
            ratio=ratio,
            end_noted=found.ended,
        )
        self._enter(order)
        return order

    def _fee(self, order: OwnOrder, filled: Decimal, value: Decimal) -> Decimal:
        """What it cost, a pair's order: as listed, and the rest as assumed."""
        if not self._is_pair or not filled:
            return ZERO
        ids = self._ids_of(order)
        if self.fees.of(ids) < filled:
            self._unlisted.add(order.client_order_id)
        else:
            self._unlisted.discard(order.client_order_id)
        if order.name.kind == "profit":
            return self.fees.dollars(ids, filled, value)
        parts = sum(len(each.executions) for each in self._chain_of(order))
        return self.fees.coins(ids, filled, parts)

    def _ids_of(self, order: OwnOrder) -> tuple[str, ...]:
        return tuple(each.order_id for each in self._chain_of(order))

    def _chain_of(self, order: OwnOrder) -> Sequence[Order]:
        known = self.tracker.by_client_order_id(order.client_order_id)
        chain = None if known is None else self.tracker.chain(known.order_id)
        return () if chain is None else chain.orders

    def _truth(self, order: OwnOrder) -> tuple[Decimal, Decimal, Decimal]:
        """What was filled, for how much, and what may still fill."""
        known = self.tracker.by_client_order_id(order.client_order_id)
        chain = None if known is None else self.tracker.chain(known.order_id)
        if chain is not None:
            value = sum((_value(each) for each in chain.orders), ZERO)
            return chain.filled_qty * order.ratio, value, _open_qty(chain) * order.ratio
        if order.stage in (Stage.SENDING, Stage.UNRESOLVED):
            return ZERO, ZERO, order.qty
        return ZERO, ZERO, ZERO


def _todays(price: Decimal | None, ratio: Decimal) -> Decimal | None:
    return None if price is None else price / ratio


def _value(order: Order) -> Decimal:
    """Dollars of its fills: by the executions, where all are known; Alpaca rounds the average."""
    told = [(each.qty, each.price) for each in order.executions]
    exact = [(qty, price) for qty, price in told if qty is not None and price is not None]
    if sum((qty for qty, _ in exact), ZERO) == order.filled_qty:
        return sum((qty * price for qty, price in exact), ZERO)
    price = order.filled_avg_price or order.limit_price or ZERO
    return order.filled_qty * price


def _open_qty(chain: Chain) -> Decimal:
    if chain.ended:
        return ZERO
    current = chain.current
    # Replaced by an order that we have not seen yet: the old quantity is the best that is known.
    if current.open_qty is None or current.status == "replaced":
        return max(ZERO, (current.qty or ZERO) - current.filled_qty)
    return current.open_qty
