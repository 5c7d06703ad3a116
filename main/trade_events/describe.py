"""Pure: a trade event in one line of words for a person."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from .events import TradeEvent
from .kinds import SHAPES
from .wire import to_json

TIME: Final = slice(11, 23)  # `14:30:05.123` of an RFC 3339 text
SYMBOL_WIDTH: Final = 8
TYPE_WIDTH: Final = 25
WORDS_WIDTH: Final = 26
LONGEST: Final = 40  # characters of one word
_UUID: Final = re.compile(r"([0-9a-fA-F]{8})-[0-9a-fA-F]{4}-[0-9a-fA-F-]{22}")


def describe_event(event: TradeEvent) -> str:
    """`14:30:05.123  XAUUSD   order.created   BUY 0.1 @ 2000.5   12345`.

    What happened, to how much, at what price, and which one: of an id that is a UUID the beginning.
    Everything else is in `event_json`.
    """
    time = event.timestamp.rstrip("Z")[TIME].ljust(12)
    words = " ".join(_words(event.data))
    which = " ".join(_which(event))
    line = f"{time}  {event.symbol:<{SYMBOL_WIDTH}} {event.event_type.value:<{TYPE_WIDTH}} "
    line += f"{words:<{WORDS_WIDTH}} {which}"
    return (line + (f"  ANOMALY {event.anomaly}" if event.anomaly else "")).rstrip()


def _words(data: Mapping[str, Any]) -> Iterator[str]:
    """`BUY 0.1 @ 2000.5`, `LONG 10 @ 187.25`, `4 @ 187.25, 8 in all`."""
    side = _first(data, "direction", "side", "order_type")
    if side is not None:
        yield short(side).upper() if side in ("buy", "sell") else short(side)
    volume = _first(data, "closed_volume", "volume")
    if volume is not None:
        yield short(volume)
    elif data.get("notional") is not None:
        yield f"for {short(data['notional'])}"
    price = _first(data, "exit_price", "price", "entry_price")
    if price is not None:
        yield f"@ {short(price)}"
    total = data.get("filled_volume")
    if total is not None and total != volume:
        yield f"({short(total)} in all)"
    for name in ("remaining_volume", "pnl", "value", "threshold", "limit", "reason"):
        if data.get(name) is not None:
            yield f"{name.removesuffix('_volume')}={short(data[name])}"


def _which(event: TradeEvent) -> Iterator[str]:
    data = event.data
    required = SHAPES[event.event_type].required
    first = next((name for name in required if name.endswith("_id")), "")
    if first in data:
        yield short_id(data[first])
    if data.get("replaced_by"):
        yield f"-> {short_id(data['replaced_by'])}"
    if data.get("owner"):
        yield short(data["owner"])


def _first(data: Mapping[str, Any], *names: str) -> Any:
    return next((data[name] for name in names if data.get(name) is not None), None)


def short_id(value: object) -> str:
    """A UUID's first eight digits, anything else as it is; also where a UUID is only a part."""
    return short(_UUID.sub(r"\1", printable(value)))


def short(value: object) -> str:
    """One word, with an end."""
    text = printable(value)
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"


def event_json(event: TradeEvent) -> str:
    """As it is on its channel."""
    return to_json(event_fields(event)).decode()


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


def printable(value: object) -> str:
    """Text, or JSON; no control character reaches a terminal."""
    text = value if isinstance(value, str) else to_json(value).decode()
    return "".join(letter if letter.isprintable() else "�" for letter in text)
