"""What state has to be, told a second time: a fold over events, written without a look at the
server's code."""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import Any

from main.trade_events import TradeEvent
from main.trade_events import TradeEventType as T

State = dict[str, Any]
ENDED = {"filled", "cancelled", "rejected", "replaced", "closed"}
FILLS = {T.ORDER_FILLED, T.ORDER_PARTIALLY_FILLED}


class Reference:
    """`orders` and `positions` by (symbol, id), and the anomalies by event id."""

    def __init__(self) -> None:
        self.orders: dict[tuple[str, str], State] = {}
        self.positions: dict[tuple[str, str], State] = {}
        self.anomalies: dict[str, str] = {}
        self._seen: set[str] = set()

    def take_all(self, events: Iterable[TradeEvent]) -> Reference:
        for event in events:
            if event.event_id not in self._seen:
                self._seen.add(event.event_id)
                self._take(event)
        return self

    def _take(self, event: TradeEvent) -> None:
        family = event.event_type.value.partition(".")[0]
        if family not in ("order", "position"):
            return
        states = self.orders if family == "order" else self.positions
        place = (event.symbol, event.data[f"{family}_id"])
        state = states.get(place)
        if _is_old_news(event, state):
            return
        reason = _objection(family, event, state)
        if reason:
            self.anomalies[event.event_id] = reason
            return
        state = states.setdefault(place, {"symbol": event.symbol, "created_at": event.timestamp})
        (_move_order if family == "order" else _move_position)(event, state)
        state |= {"updated_at": event.timestamp, "last_event": event.event_type.value}

    def open_ids(self, symbol: str) -> tuple[set[str], set[str]]:
        """Of orders, and of positions."""
        orders, positions = (
            {
                key
                for (name, key), s in states.items()
                if name == symbol and s["status"] not in ENDED
            }
            for states in (self.orders, self.positions)
        )
        return orders, positions


def _is_old_news(event: TradeEvent, state: State | None) -> bool:
    if event.event_type not in FILLS or state is None or "filled_volume" not in event.data:
        return False
    return bool(event.data["filled_volume"] <= state.get("filled_volume", 0))


def _objection(family: str, event: TradeEvent, state: State | None) -> str | None:
    if state is None:
        starts = (T.ORDER_CREATED, T.ORDER_REJECTED, T.POSITION_OPENED)
        return None if event.event_type in starts else f"unknown_{family}"
    if event.event_type in (T.ORDER_CREATED, T.POSITION_OPENED):
        return "already_exists"
    return f"{family}_ended" if state["status"] in ENDED else None


def _move_order(event: TradeEvent, state: State) -> None:
    data, before = dict(event.data), state.get("status")
    match event.event_type:
        case T.ORDER_CREATED:
            state |= data | {"status": "pending", "filled_volume": 0}
        case T.ORDER_PARTIALLY_FILLED | T.ORDER_FILLED:
            is_done = event.event_type is T.ORDER_FILLED
            state["status"] = "filled" if is_done else "partially_filled"
            price, volume = data.pop("price"), data.pop("volume")
            total = data.pop("filled_volume", None)
            if total is None and is_done and state["volume"] is not None:
                total = state["volume"]
            elif total is None:
                total = float(Decimal(str(state["filled_volume"])) + Decimal(str(volume)))
            state |= data | {"filled_volume": total}
            state |= {"last_fill_price": price, "last_fill_volume": volume}
        case T.ORDER_CANCELLED:
            state |= data | {"status": "cancelled"}
        case T.ORDER_REJECTED:
            state |= data | {"status": "rejected"}
        case T.ORDER_MODIFIED:
            state |= data | {"status": "replaced" if "replaced_by" in data else before}


def _move_position(event: TradeEvent, state: State) -> None:
    data = dict(event.data)
    if event.event_type in (T.POSITION_PARTIALLY_CLOSED, T.POSITION_CLOSED):
        data["pnl"] = float(Decimal(str(state.get("pnl", 0))) + Decimal(str(data["pnl"])))
    match event.event_type:
        case T.POSITION_OPENED:
            state |= data | {"status": "active"}
        case T.POSITION_MODIFIED:
            state |= data
        case T.POSITION_PARTIALLY_CLOSED:
            data["last_closed_volume"] = data.pop("closed_volume")
            data["volume"] = data.pop("remaining_volume")
            state |= data
        case T.POSITION_CLOSED:
            state |= data | {"status": "closed", "volume": 0}
