"""An order as the venue keeps it, its group (bracket, oco, oto), and the store of all orders."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Literal

from .assets import Asset
from .order_states import OPEN
from .wire_numbers import EXACT, NINE_PLACES, ROUNDING, ZERO

Side = Literal["buy", "sell"]
OrderType = Literal["market", "limit", "stop", "stop_limit", "trailing_stop"]
TimeInForce = Literal["day", "gtc", "opg", "cls", "ioc", "fok"]
GroupKind = Literal["bracket", "oco", "oto"]
# These trade in an auction only.
AUCTION_TIMES = frozenset({"opg", "cls"})


def opposite(side: Side) -> Side:
    """The other side."""
    return "sell" if side == "buy" else "buy"


@dataclass(slots=True, eq=False, kw_only=True)
class Order:
    """One order. Only the desk moves it. Times are nanoseconds since 1970."""

    seq: int
    id: str
    client_order_id: str
    asset: Asset
    side: Side
    type: OrderType
    time_in_force: TimeInForce
    qty: Decimal | None
    created_ns: int
    notional: Decimal | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trail_price: Decimal | None = None
    trail_percent: Decimal | None = None
    hwm: Decimal | None = None
    extended_hours: bool = False
    order_class: str = ""
    position_intent: str = ""

    status: str = ""
    filled_qty: Decimal = ZERO
    filled_cost: Decimal = ZERO
    updated_ns: int = 0
    submitted_ns: int = 0
    expires_ns: int = 0
    filled_ns: int | None = None
    expired_ns: int | None = None
    cancel_requested_ns: int | None = None
    canceled_ns: int | None = None
    failed_ns: int | None = None
    replaced_ns: int | None = None
    replaced_by: str | None = None
    replaces: str | None = None
    group: OrderGroup | None = None

    # The venue's own books; never on the wire.
    is_closing: bool = False
    is_triggered: bool = False
    is_resting: bool = False
    has_rested: bool = False  # as a limit order: it adds liquidity
    collar: Decimal | None = None
    reserve_price: Decimal = ZERO
    reserve_rate: Decimal = ZERO
    reserved: Decimal = ZERO
    held_qty: Decimal = ZERO
    # While a replacement is under way: the order that it would replace, and the other way round.
    pending_old: Order | None = None
    pending_new: Order | None = None

    @property
    def symbol(self) -> str:
        """The asset's symbol; of a crypto pair with its slash."""
        return self.asset.symbol

    @property
    def is_crypto(self) -> bool:
        """Trades around the clock, in fractions, without margin."""
        return self.asset.asset_class == "crypto"

    @property
    def is_open(self) -> bool:
        """Still able to change: not in an end state, and not completely filled."""
        return self.status in OPEN and self.filled_ns is None

    @property
    def leaves_qty(self) -> Decimal:
        """What is still to be executed; zero for a notional order, which has no quantity."""
        return ZERO if self.qty is None else self.qty - self.filled_qty

    @property
    def leaves_notional(self) -> Decimal:
        """What a notional order has still to spend; zero for others."""
        return ZERO if self.notional is None else EXACT.subtract(self.notional, self.filled_cost)

    @property
    def average_price(self) -> Decimal | None:
        """The mean price of its executions, to nine decimals."""
        if not self.filled_qty:
            return None
        mean = ROUNDING.divide(self.filled_cost, self.filled_qty)
        return mean.quantize(NINE_PLACES, context=ROUNDING)

    @property
    def working_limit(self) -> Decimal | None:
        """The worst price that it takes now; None for any."""
        return self.limit_price if self.limit_price is not None else self.collar

    @property
    def awaits_trigger(self) -> bool:
        """A stop of some kind whose price has not been reached."""
        return self.type in {"stop", "stop_limit", "trailing_stop"} and not self.is_triggered


@dataclass(slots=True, eq=False)
class OrderGroup:
    """Orders that live together. `exits` holds the take-profit first, then the stop-loss.

    An oco has no entry: its take-profit is the parent.
    """

    kind: GroupKind
    entry: Order | None
    exits: list[Order] = field(default_factory=list)

    @property
    def parent(self) -> Order:
        """The order under which the others are nested."""
        return self.entry if self.entry is not None else self.exits[0]

    @property
    def legs(self) -> list[Order]:
        """The orders nested under the parent."""
        return self.exits if self.entry is not None else self.exits[1:]

    def members(self) -> list[Order]:
        """All of them, entry first."""
        return [*([self.entry] if self.entry is not None else []), *self.exits]

    def sibling_exits(self, order: Order) -> list[Order]:
        """The other exits that are still open."""
        return [other for other in self.exits if other is not order and other.is_open]

    def put_in_place_of(self, old: Order, new: Order) -> None:
        """A replacement takes the replaced order's place."""
        if self.entry is old:
            self.entry = new
        self.exits = [new if order is old else order for order in self.exits]


def is_leg(order: Order) -> bool:
    """Whether the order is shown beneath a parent in a nested list."""
    return order.group is not None and order.group.parent is not order


class OrderStore:
    """All orders, by id and client id, and the open ones by symbol.

    Bounded: of the closed ones only the youngest `keep_closed` stay; `forgotten` counts the rest.
    """

    def __init__(self, keep_closed: int) -> None:
        self._keep_closed = keep_closed
        self._by_id: dict[str, Order] = {}
        self._by_client_id: dict[str, Order] = {}
        self._open: dict[str, Order] = {}
        self._open_by_side: dict[tuple[str, Side], dict[str, Order]] = {}
        self._closed_ids: deque[str] = deque()
        self._last_seq = 0
        self.forgotten = 0

    def next_seq(self) -> int:
        """The number of the next order: their order in time."""
        self._last_seq += 1
        return self._last_seq

    def add(self, order: Order) -> None:
        """Take in a new order."""
        self._by_id[order.id] = order
        self._by_client_id[order.client_order_id] = order
        self._open[order.id] = order
        self._open_by_side.setdefault((order.symbol, order.side), {})[order.id] = order

    def close(self, order: Order) -> None:
        """Take an ended order out of the open ones. A second time changes nothing."""
        if self._open.pop(order.id, None) is None:
            return
        of_side = self._open_by_side[order.symbol, order.side]
        del of_side[order.id]
        if not of_side:
            del self._open_by_side[order.symbol, order.side]
        self._closed_ids.append(order.id)
        while len(self._closed_ids) > self._keep_closed:
            self._forget(self._closed_ids.popleft())

    def _forget(self, order_id: str) -> None:
        order = self._by_id.pop(order_id)
        self._by_client_id.pop(order.client_order_id, None)
        self.forgotten += 1

    def find(self, order_id: str) -> Order | None:
        """By Alpaca's id."""
        return self._by_id.get(order_id)

    def find_by_client_id(self, client_order_id: str) -> Order | None:
        """By the client's id."""
        return self._by_client_id.get(client_order_id)

    def open_orders(self, symbol: str | None = None, side: Side | None = None) -> list[Order]:
        """The open orders, oldest first; of one symbol, and of one side of it."""
        if symbol is None:
            return list(self._open.values())
        if side is not None:
            return list(self._open_by_side.get((symbol, side), {}).values())
        both = [*self.open_orders(symbol, "buy"), *self.open_orders(symbol, "sell")]
        return sorted(both, key=lambda order: order.seq)

    def newest_first(self) -> Iterator[Order]:
        """Every order that is remembered."""
        return reversed(self._by_id.values())

    def oldest_first(self) -> Iterator[Order]:
        """Every order that is remembered."""
        return iter(self._by_id.values())

    def __iter__(self) -> Iterator[Order]:
        return self.oldest_first()

    def __len__(self) -> int:
        return len(self._by_id)


@dataclass(frozen=True, kw_only=True)
class OrderFilter:
    """The query of GET /v2/orders."""

    status: str = "open"
    limit: int = 50
    after_ns: int | None = None
    until_ns: int | None = None
    ascending: bool = False
    nested: bool = False
    symbols: frozenset[str] | None = None
    side: Side | None = None
    asset_classes: frozenset[str] | None = None
    before_seq: int | None = None
    after_seq: int | None = None

    def select(self, store: OrderStore) -> list[Order]:
        """The matching orders in the order asked for; with `nested` legs are left to parents."""
        found: list[Order] = []
        for order in self._candidates(store):
            if self._matches(order):
                found.append(order)
                if len(found) == self.limit:
                    break
        return found

    def _candidates(self, store: OrderStore) -> Iterable[Order]:
        if self.status == "open" and not self.nested:
            orders = sorted(store.open_orders(), key=lambda order: order.seq)
            return orders if self.ascending else reversed(orders)
        return store.oldest_first() if self.ascending else store.newest_first()

    def _matches(self, order: Order) -> bool:
        return (
            self._matches_status(order)
            and not (self.nested and is_leg(order))
            and (self.after_ns is None or order.submitted_ns > self.after_ns)
            and (self.until_ns is None or order.submitted_ns < self.until_ns)
            and (self.before_seq is None or order.seq < self.before_seq)
            and (self.after_seq is None or order.seq > self.after_seq)
            and (self.symbols is None or order.symbol.replace("/", "") in self.symbols)
            and (self.side is None or order.side == self.side)
            and (self.asset_classes is None or order.asset.asset_class in self.asset_classes)
        )

    def _matches_status(self, order: Order) -> bool:
        if self.status == "all":
            return True
        is_open = order.is_open
        if self.nested and order.group is not None and not is_leg(order):
            is_open = any(member.is_open for member in order.group.members())
        return is_open == (self.status == "open")
