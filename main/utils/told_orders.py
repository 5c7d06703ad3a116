"""Pure: which events of which orders were told already, so that each is told once.

Alpaca's stream may repeat itself, REST tells again what the stream told, and a broker that lost its
memory tells again what the last one told. An event that carries an id of its own is known by that;
an execution that REST told by its order and the quantity filled up to it; any other event by its
order and its name. The broker asks before it publishes, a reader before it hands over.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal, InvalidOperation
from itertools import islice
from sys import intern
from typing import Any, Final, NamedTuple, TypeAlias, TypeVar

import msgspec

# Alpaca's own message: `event` and `order`, and whatever else it tells of the event.
Update: TypeAlias = Mapping[str, Any]
K = TypeVar("K")
T = TypeVar("T")

EXECUTIONS: Final = frozenset({"fill", "partial_fill"})
ENDS: Final = frozenset({"fill", "canceled", "expired", "rejected", "replaced"})
NO_ORDER: Final = ""  # what an update without an order is noted under
NEAR_S: Final = 2.0  # the stream and REST need not tell the same moment
UNKNOWN: Final = "None"  # a quantity that was not told
_IDS: Final = ("event_id", "execution_id", "activity_id")
_IDS_OF_NO_ORDER: Final = 1_000


class Execution(NamedTuple):
    """One execution as it was told. The stream's snapshot of its order may have run ahead, so that
    `cumulative` is a later one's. `moment_s` is Unix time, 0 where none was told."""

    cumulative: str
    quantity: str
    price: str
    moment_s: float

    @classmethod
    def of(cls, told: Mapping[str, Any], cumulative: str) -> Execution:
        """From a stream's update, or an activity of REST."""
        at = told.get("transaction_time") or told.get("timestamp")
        try:
            moment_s = datetime.fromisoformat(str(at)).timestamp()
        except (ValueError, OverflowError):
            moment_s = 0.0
        return cls(cumulative, quantity(told.get("qty")), quantity(told.get("price")), moment_s)

    def reaches(self, listed: Execution) -> bool:
        """Whether it makes up the same sum, with the same quantity if one was told."""
        is_same = self.cumulative == listed.cumulative and self.is_near(listed, NEAR_S)
        return is_same and self.quantity in (listed.quantity, UNKNOWN)

    def is_near(self, other: Execution, within_s: float) -> bool:
        """Whether both may have happened at the same time, as far as that was told."""
        if not (self.moment_s and other.moment_s):
            return True
        return abs(self.moment_s - other.moment_s) <= within_s


class Told(msgspec.Struct, array_like=True):
    """What was told of one order."""

    events: tuple[str, ...] = ()
    executions: tuple[Execution, ...] = ()
    recovered: tuple[tuple[str, str], ...] = ()  # (event, cumulative quantity)
    ids: dict[int, None] = {}  # hashes of its events' own ids, the oldest first
    quantity: Decimal = Decimal(0)  # the sum of its executions
    ended: bool = False

    def ids_are_new(self, ids: list[int]) -> bool:
        return not any(each in self.ids for each in ids)


_READ: Final = msgspec.msgpack.Decoder(Told)


class ToldOrders:
    """A memory of `keep` orders: those that ended go first. One thread at a time uses it.

    Of what ended there are many, and it is rarely looked at: it is kept packed, in a quarter of the
    memory.
    """

    def __init__(self, keep: int) -> None:
        self._keep = keep
        self._open: dict[str, Told] = {}
        self._ended: dict[int, bytes] = {}  # by the hash of the order's id

    def __len__(self) -> int:
        return len(self._open) + len(self._ended)

    def of(self, order_id: str) -> Told:
        """What was told of an order; an empty one if nothing was. Any thread may ask."""
        return self._find(order_id) or Told()

    def open_orders(self) -> set[str]:
        """Orders of which something was told, but not yet their end. Any thread may ask."""
        return set(self._open) - {NO_ORDER}

    def note(self, update: Update, *, recovered: bool) -> None:
        """Remember an event as told. What is told on several channels may be noted for each."""
        order_id, event, cumulative = identity(update)
        told = self._find(order_id) or Told()
        ids = _ids(update)
        again = not told.ids_are_new(ids) or (recovered and (event, cumulative) in told.recovered)
        told.events = _with(told.events, event)
        if event in EXECUTIONS and not again and order_id != NO_ORDER:
            told.executions += (Execution.of(update, cumulative),)
            told.quantity += decimal(update.get("qty"))
        if recovered:
            told.recovered = _with(told.recovered, (event, cumulative))
        told.ended = told.ended or event in ENDS
        told.ids.update(dict.fromkeys(ids))
        if told.ended and order_id != NO_ORDER:
            self._ended[hash(order_id)] = msgspec.msgpack.encode(told)  # first: others may look
            self._open.pop(order_id, None)
        else:
            if order_id == NO_ORDER:
                _drop_first(told.ids, len(told.ids) - _IDS_OF_NO_ORDER)
            self._open[order_id] = told
        self._forget()

    def is_new(self, update: Update, *, recovered: bool) -> bool:
        """Whether an event was not told yet. `recovered`: REST tells it, not the stream."""
        order_id, event, cumulative = identity(update)
        told = self._find(order_id)
        if told is None:
            return True
        if not told.ids_are_new(_ids(update)):
            return False
        if order_id == NO_ORDER:
            return True
        if recovered:
            return self._is_new_to_rest(told, update, event, cumulative)
        if event not in EXECUTIONS:
            return (event, cumulative) not in told.recovered
        if update.get("execution_id"):
            # A new execution, even where its order's snapshot runs ahead to the next one's sum.
            return not any((execution, cumulative) in told.recovered for execution in EXECUTIONS)
        return all(cumulative != known.cumulative for known in told.executions)

    def _is_new_to_rest(self, told: Told, update: Update, event: str, cumulative: str) -> bool:
        if event not in EXECUTIONS:
            return event not in told.events
        if 0 < decimal(update["order"].get("filled_qty")) <= told.quantity:
            return False
        one = Execution.of(update, cumulative)
        return not any(known.reaches(one) for known in told.executions)

    def _find(self, order_id: str) -> Told | None:
        told = self._open.get(order_id)
        if told is None and (packed := self._ended.get(hash(order_id))) is not None:
            told = _READ.decode(packed)
        return told

    def _forget(self) -> None:
        """The oldest ended orders go; of open ones, only when there are twice too many."""
        surplus = len(self) - self._keep
        if surplus > self._keep // 16:
            _drop_first(self._ended, surplus)
            _drop_first(self._open, len(self) - 2 * self._keep)


def _drop_first(known: dict[K, T], count: int) -> None:
    for each in list(islice(known, max(0, count))):
        del known[each]


def identity(update: Update) -> tuple[str, str, str]:
    """(order id, event, quantity filled up to it)."""
    order = update.get("order")
    order = order if isinstance(order, dict) else {}
    cumulative = update.get("cum_qty", order.get("filled_qty"))
    order_id = str(order.get("id") or NO_ORDER)
    return order_id, intern(str(update.get("event"))), quantity(cumulative)


def decimal(text: object) -> Decimal:
    """A quantity as a number; 0 for what is none."""
    try:
        return Decimal(str(text))
    except InvalidOperation:
        return Decimal(0)


def quantity(text: object) -> str:
    """A quantity in one spelling: "1", "1.0" and "1.00" are the same."""
    try:
        return f"{Decimal(str(text)).normalize():f}"
    except InvalidOperation:
        return str(text)


def _with(known: tuple[T, ...], one: T) -> tuple[T, ...]:
    return known if one in known else (*known, one)


def _ids(update: Update) -> list[int]:
    return [hash(str(update[key])) for key in _IDS if update.get(key)]
