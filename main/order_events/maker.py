"""Pure: order messages of one symbol in, trade events out, each once.

* Whatever is heard of an order first, `order.created` comes before it.
* Every execution gives `order.partially_filled` or `order.filled`, `trade.executed`, and what it
  does to its owner's position. Its place is the order's cumulative quantity up to it, which the
  stream and REST both tell; so both give it the same event id. Should the stream tell two
  executions at one place (its snapshots may run ahead), the second is named by its execution id.
* `canceled` and `expired` become `order.cancelled`; `rejected` also `trade.failed`; `replaced`
  becomes `order.modified` of the old order, and the new order is created like any other.
* Requests under way (`pending_cancel`, …), refused requests and halts of an order move nothing.

Arrival order of different orders decides which of two crossing positions opens first; it is that of
the journal, and the same for whoever reads it again.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from decimal import Decimal
from typing import Any, Final

from ..trade_events import TradeEvent, TradeEventType, event_id_of
from ..utils.decimals import decimal_or_none, plain
from ..utils.executions import FILL_EVENTS, cumulative_of
from ..utils.redis.messages import OrderMessage
from .owners import owner_of_order
from .positions import ZERO, PositionChange
from .records import Memory, OrderRecord

ENDS: Final = frozenset({"canceled", "expired"})
_HITS: Final = {
    "stop": TradeEventType.STOP_LOSS_HIT,
    "stop_limit": TradeEventType.STOP_LOSS_HIT,
    "trailing_stop": TradeEventType.STOP_LOSS_HIT,
    "limit": TradeEventType.TAKE_PROFIT_HIT,
}


class OrderEvents:
    """One symbol of one account. Not thread-safe: one owner feeds it.

    `memory` may come from an earlier run; `changed` and `take_changed` say what of it is new.
    """

    def __init__(self, symbol: str, source: str, memory: Memory | None = None) -> None:
        self.symbol = symbol
        self.memory = memory if memory is not None else Memory()
        self.counters: Counter[str] = Counter()
        self._source = source
        self._changed: set[str] = set()
        self._changed_owners: set[str] = set()

    def take(self, message: OrderMessage) -> list[TradeEvent]:
        """The events of one message; none for what was told before."""
        order = message.order_data
        order_id = order.get("id")
        if not isinstance(order_id, str) or not order_id:
            self.counters["orders_without_id"] += 1
            return []
        if not order.get("symbol"):
            self.counters["multi_leg_orders"] += 1  # its legs have no executions of their own here
            return []
        record = self._record(order_id, order)
        told = _Told(self, message, order_id, record)
        events = [*told.created(), *told.what_happened()]
        if events:
            self._changed.add(order_id)
        return events

    def take_changed(self) -> tuple[set[str], set[str]]:
        """The order ids and the owners of which something changed since the last call."""
        changed = self._changed, self._changed_owners
        self._changed, self._changed_owners = set(), set()
        return changed

    # -- for the one message that is being told

    def move_position(self, owner: str | None, name: str, qty: Decimal, price: Decimal) -> Any:
        """Apply an execution to its owner's position."""
        self._changed_owners.add(owner or "")
        return self.memory.holding(owner).apply(name, qty, price)

    def _record(self, order_id: str, order: Mapping[str, Any]) -> OrderRecord:
        record = self.memory.orders.get(order_id)
        if record is None:
            record = self.memory.orders[order_id] = OrderRecord(
                owner=owner_of_order(order, self.memory),
                born=str(order.get("created_at") or ""),
                order_class=str(order.get("order_class") or ""),
                side=str(order.get("side") or ""),
            )
            self._changed.add(order_id)
        self._inherit(order, record)
        return record

    def _inherit(self, order: Mapping[str, Any], parent: OrderRecord) -> None:
        """Legs are their parent's owner's, also where they are heard of first."""
        legs = order.get("legs")
        for leg in legs if isinstance(legs, list) else ():
            leg_id = leg.get("id") if isinstance(leg, Mapping) else None
            if isinstance(leg_id, str) and leg_id not in self.memory.orders:
                self.memory.orders[leg_id] = OrderRecord(owner=parent.owner)
                self._changed.add(leg_id)


class _Told:
    """One message, as events."""

    def __init__(
        self, maker: OrderEvents, message: OrderMessage, order_id: str, record: OrderRecord
    ) -> None:
        self._maker, self._message, self._record = maker, message, record
        self._order, self._order_id = message.order_data, order_id
        self._account = message.account_id

    def created(self) -> Iterator[TradeEvent]:
        """`order.created`, if nothing was told of the order before."""
        if self._record.created:
            return
        self._record.created = True
        order = self._order
        terms = {
            name: decimal_or_none(order.get(name))
            for name in ("notional", "limit_price", "stop_price")
        }
        told = {
            name: order[name]
            for name in ("client_order_id", "side", "type", "time_in_force", "replaces")
            if isinstance(order.get(name), str) and order[name]
        }
        if self._order.get("order_class"):
            told["order_class"] = str(order["order_class"])
        yield self._event(
            TradeEventType.ORDER_CREATED,
            {
                "order_type": str(order.get("side") or "unknown").upper(),
                "price": terms["limit_price"] or terms["stop_price"],
                "volume": decimal_or_none(order.get("qty")),
                **{name: number for name, number in terms.items() if number is not None},
                **told,
            },
            timestamp=str(
                order.get("submitted_at") or order.get("created_at") or self._message.timestamp
            ),
        )

    def what_happened(self) -> Iterator[TradeEvent]:
        event, record = self._message.event, self._record
        if event in FILL_EVENTS:
            yield from self._fill()
        elif event in ENDS and not record.ended:
            record.ended = True
            yield self._event(TradeEventType.ORDER_CANCELLED, {"reason": event})
        elif event == "rejected" and not record.ended:
            record.ended = True
            reason = str(self._order.get("reject_reason") or "rejected by the venue")
            yield self._event(TradeEventType.ORDER_REJECTED, {"reason": reason})
            yield self._failed(reason)
        elif event == "replaced" and not record.ended:
            record.ended = True
            yield self._replaced()
        elif event == "restated":
            yield from self._restated()
        else:
            self._maker.counters["without_an_event"] += 1

    # -- ends and changes

    def _failed(self, reason: str) -> TradeEvent:
        data = {"trade_id": self._order_id, "reason": reason, "order_id": self._order_id}
        return self._event(TradeEventType.TRADE_FAILED, data, subject=self._order_id)

    def _replaced(self) -> TradeEvent:
        replaced_by = str(self._order.get("replaced_by") or "unknown")
        return self._event(TradeEventType.ORDER_MODIFIED, {"replaced_by": replaced_by})

    def _restated(self) -> Iterator[TradeEvent]:
        """A corporate action changed quantity or price."""
        name = str(self._message.update.get("event_id") or self._message.timestamp)
        if name in self._record.modified:
            return
        self._record.modified.append(name)
        data: dict[str, Any] = {"modification_id": name}
        for key, told in (("price", "limit_price"), ("volume", "qty")):
            if (number := decimal_or_none(self._order.get(told))) is not None:
                data[key] = number
        yield self._event(TradeEventType.ORDER_MODIFIED, data)

    # -- executions

    def _fill(self) -> Iterator[TradeEvent]:
        update, record = self._message.update, self._record
        qty, price = decimal_or_none(update.get("qty")), decimal_or_none(update.get("price"))
        if qty is None or price is None or qty <= 0:
            self._maker.counters["fills_without_quantity_or_price"] += 1
            return
        execution_id = str(update.get("execution_id") or "")
        total = cumulative_of(self._message)
        cumulative = total if total is not None else record.filled + qty
        place = _normal(cumulative)
        if record.knows(place, execution_id) or self._exceeds(qty, total, execution_id):
            return
        twin = place in record.told
        if twin:
            record.twins.append(execution_id)
        else:
            record.told[place] = execution_id
        record.filled += qty
        record.ended = record.ended or self._message.event == "fill"
        trade_id = f"{self._order_id}:{execution_id if twin else place}"
        yield self._fill_event(trade_id, cumulative, qty, price, execution_id, twin=twin)
        yield self._executed(trade_id, qty, price)
        yield from self._positions(trade_id, qty, price)

    def _exceeds(self, qty: Decimal, total: Decimal | None, execution_id: str) -> bool:
        """Whether REST tells what the stream told at another place: more than was ever filled."""
        filled = decimal_or_none(self._order.get("filled_qty"))
        most = max((each for each in (filled, total) if each is not None), default=None)
        return not execution_id and most is not None and self._record.filled + qty > most

    def _fill_event(
        self,
        trade_id: str,
        cumulative: Decimal,
        qty: Decimal,
        price: Decimal,
        execution_id: str,
        *,
        twin: bool,
    ) -> TradeEvent:
        whole = self._message.event == "fill"
        kind = TradeEventType.ORDER_FILLED if whole else TradeEventType.ORDER_PARTIALLY_FILLED
        data: dict[str, Any] = {
            "price": price,
            "volume": qty,
            "filled_volume": cumulative,
            "trade_id": trade_id,
        }
        if execution_id:
            data["execution_id"] = execution_id
        average = decimal_or_none(self._order.get("filled_avg_price"))
        if average is not None:
            data["average_price"] = average
        discriminator = execution_id if twin else cumulative
        return self._event(kind, data, subject=self._order_id, discriminator=discriminator)

    def _executed(self, trade_id: str, qty: Decimal, price: Decimal) -> TradeEvent:
        data = {
            "trade_id": trade_id,
            "order_id": self._order_id,
            "price": price,
            "volume": qty,
            "side": str(self._order.get("side") or "unknown"),
        }
        return self._event(TradeEventType.TRADE_EXECUTED, data, subject=trade_id)

    def _positions(self, trade_id: str, qty: Decimal, price: Decimal) -> Iterator[TradeEvent]:
        signed = qty if self._order.get("side") == "buy" else -qty
        changes = self._maker.move_position(self._record.owner, trade_id, signed, price)
        for change in changes:
            yield self._position_event(change, trade_id)
        if self._message.event == "fill":
            yield from self._hit(changes, price)

    def _position_event(self, change: PositionChange, trade_id: str) -> TradeEvent:
        kind = TradeEventType(f"position.{change.kind}")
        data: dict[str, Any] = {
            "position_id": change.position_id,
            "order_id": self._order_id,
            "trade_id": trade_id,
            "entry_price": change.entry_price,
            "direction": change.direction,
        }
        match change.kind:
            case "opened" | "modified":
                data["volume"] = change.remaining
            case "partially_closed":
                data |= {
                    "exit_price": change.price,
                    "closed_volume": change.qty,
                    "remaining_volume": change.remaining,
                    "pnl": change.pnl,
                }
            case "closed":
                data |= {
                    "exit_price": change.price,
                    "closed_volume": change.qty,
                    "pnl": change.pnl,
                }
        return self._event(kind, data, subject=change.position_id, discriminator=trade_id)

    def _hit(self, changes: list[PositionChange], price: Decimal) -> Iterator[TradeEvent]:
        """A bracket's leg that filled is its stop loss or its take profit."""
        kind = _HITS.get(str(self._order.get("type")))
        is_leg = self._order.get("order_class") in ("bracket", "oto", "oco")
        closed = [change for change in changes if change.kind in ("closed", "partially_closed")]
        if kind is None or not is_leg or not closed:
            return
        data = {"position_id": closed[0].position_id, "price": price, "order_id": self._order_id}
        yield self._event(kind, data, subject=self._order_id)

    def _event(
        self,
        kind: TradeEventType,
        data: dict[str, Any],
        *,
        subject: str | None = None,
        discriminator: str | Decimal | None = None,
        timestamp: str | None = None,
    ) -> TradeEvent:
        if kind.value.startswith("order."):
            data = {"order_id": self._order_id, **data}
        if self._record.owner is not None:
            data["owner"] = self._record.owner
        event_id = ""  # an order's own is made of account, order and type by the bus itself
        if subject is not None:
            event_id = event_id_of(self._account, subject, kind, discriminator)
        return TradeEvent(
            event_type=kind,
            symbol=self._maker.symbol,
            timestamp=timestamp or self._message.timestamp,
            data=data,
            source=self._maker._source,
            correlation_id=str(self._order.get("client_order_id") or "") or None,
            account=self._account,
            event_id=event_id,
        )


def _normal(number: Decimal) -> str:
    """One spelling: "1", "1.0" and "1.00" are the same place."""
    return plain(number.normalize()) if number else plain(ZERO)
