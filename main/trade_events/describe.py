"""Pure: a trade event in one line of words for a person."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from .events import TradeEvent
from .kinds import SHAPES

TIME: Final = slice(11, 23)  # `14:30:05.123` of an RFC 3339 text
SYMBOL_WIDTH: Final = 8
TYPE_WIDTH: Final = 25


def describe_event(event: TradeEvent) -> str:
    """`14:30:05.123  XAUUSD   order.created   12345  order_type=BUY price=2000.5 volume=0.1`."""
    required = SHAPES[event.event_type].required
    first = next((name for name in required if name.endswith("_id")), "")
    words = [printable(event.data[first])] if first in event.data else []
    words += [
        f"{printable(name)}={printable(value)}"
        for name, value in event.data.items()
        if name != first
    ]
    words += [f"{name}={printable(value)}" for name, value in _origin(event) if value]
    time = event.timestamp.rstrip("Z")[TIME].ljust(12)
    line = f"{time}  {event.symbol:<{SYMBOL_WIDTH}} {event.event_type.value:<{TYPE_WIDTH}} "
    return line + " ".join(words) + (f"  ANOMALY {event.anomaly}" if event.anomaly else "")


def event_json(event: TradeEvent) -> str:
    """As it is on its channel."""
    return msgspec.json.encode(event_fields(event)).decode()


def event_fields(event: TradeEvent) -> dict[str, Any]:
    """The same, not yet JSON."""
    fields: dict[str, Any] = {
        "event_id": event.event_id,
        "event_type": event.event_type.value,
        "symbol": event.symbol,
        "timestamp": event.timestamp,
        "data": event.data,
        "correlation_id": event.correlation_id,
        "source": event.source,
        "account": event.account,
    }
    if event.anomaly:
        fields["anomaly"] = event.anomaly
    return fields | {"log_id": event.log_id}


def _origin(event: TradeEvent) -> tuple[tuple[str, str | None], ...]:
    return ("source", event.source), ("correlation_id", event.correlation_id)


def printable(value: object) -> str:
    """Text, or JSON; no control character reaches a terminal."""
    text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
    return "".join(letter if letter.isprintable() else "�" for letter in text)
