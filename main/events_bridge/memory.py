"""Pure: what the bridge remembers of one symbol, and that as the fields of a Redis hash.

Only what changed is written, in one step with the place in the journal up to which it is true. So
a bridge that is killed anywhere goes on from a place and a memory that belong together; what it
published after that place it publishes again, under the same ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from ..order_events import Holding, OrderEvents
from ..order_events.records import Memory, OrderRecord
from ..trade_events import InvalidTradeEvent, TradeEvent
from ..utils.redis.messages import OrderMessage
from .names import HOLDING, ORDER, PLACE

SOURCE: Final = "events-bridge"
KEEP_ENDED: Final = 5_000  # orders of one symbol: a fill may follow an end, but not for ever

_encode = msgspec.json.Encoder().encode
_order = msgspec.json.Decoder(OrderRecord)
_holding = msgspec.json.Decoder(Holding)


class SymbolMemory:
    """One symbol: `take` makes events, `unsaved` says what to write once they are published."""

    def __init__(
        self, symbol: str, saved: Mapping[str, bytes], keep_ended: int = KEEP_ENDED
    ) -> None:
        """`saved` is the hash, empty for a symbol that is new.

        Raises:
            ValueError: it cannot be read: a newer version wrote it.
        """
        self.symbol = symbol
        self.place: str | None = saved[PLACE].decode() if PLACE in saved else None
        self._keep_ended = keep_ended
        self._saved_place = self.place
        self._maker = OrderEvents(symbol, SOURCE, _read(saved))

    @property
    def counters(self) -> Mapping[str, int]:
        return self._maker.counters

    def take(self, message: OrderMessage) -> list[TradeEvent]:
        """The events of one message. What no event can say is counted, and the place moves on."""
        try:
            events = self._maker.take(message)
        except InvalidTradeEvent:
            self._maker.counters["unpublishable"] += 1
            events = []
        if message.id is not None:
            self.place = message.id
        return events

    def unsaved(self) -> tuple[dict[str, bytes], list[str]]:
        """The fields to write and those to delete, all in one step; both empty if nothing is new.
        What is returned counts as saved."""
        orders, owners = self._maker.take_changed()
        if not orders and not owners and self.place == self._saved_place:
            return {}, []
        self._saved_place = self.place
        gone = self._maker.memory.forget_ended(self._keep_ended)
        return self._fields(orders - set(gone), owners), [ORDER + order_id for order_id in gone]

    def everything(self) -> dict[str, bytes]:
        """All fields: Redis was emptied."""
        memory = self._maker.memory
        self._maker.take_changed()
        self._saved_place = self.place
        return self._fields(set(memory.orders), set(memory.holdings))

    def _fields(self, orders: set[str], owners: set[str]) -> dict[str, bytes]:
        memory = self._maker.memory
        fields = {PLACE: self.place.encode()} if self.place is not None else {}
        fields |= {ORDER + each: _encode(memory.orders[each]) for each in orders}
        fields |= {HOLDING + each: _encode(memory.holdings[each]) for each in owners}
        return fields


def _read(saved: Mapping[str, bytes]) -> Memory:
    memory = Memory()
    try:
        for name, body in saved.items():
            if name.startswith(ORDER):
                memory.orders[name.removeprefix(ORDER)] = _order.decode(body)
            elif name.startswith(HOLDING):
                memory.holdings[name.removeprefix(HOLDING)] = _holding.decode(body)
    except msgspec.DecodeError as error:
        raise ValueError(f"the bridge's memory cannot be read: {error}") from error
    # A hash has no order; the oldest are to be forgotten first.
    memory.orders = dict(sorted(memory.orders.items(), key=lambda item: item[1].born))
    return memory


def read_hash(answer: Mapping[Any, Any]) -> dict[str, bytes]:
    """A hash as redis-py gives it, with names as text."""
    return {
        name.decode() if isinstance(name, bytes) else str(name): body
        for name, body in answer.items()
    }
