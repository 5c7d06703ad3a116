"""Pure: trade events to bytes and back, and a state hash's texts to typed values.

A hash holds text only, so a value that is no text is kept as its JSON; text that could be mistaken
for that is kept as a JSON string. Ids are always plain. So `HGETALL` reads well, and numbers come
back as numbers.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import msgspec

from .checks import MAX_EVENT_BYTES
from .errors import InvalidTradeEvent
from .events import TradeEvent, received
from .kinds import FILL_TYPES, SHAPES, TradeEventType

_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_FIRST: Final = {"order_id": 0, "position_id": 0, "status": 1}
_LITERALS: Final = ("true", "false", "null")

_to_json: Final = msgspec.json.Encoder(decimal_format="number").encode
_to_msgpack: Final = msgspec.msgpack.Encoder().encode
_from_json: Final = msgspec.json.Decoder().decode
_PNL_TYPES: Final = (
    TradeEventType.POSITION_CLOSED,
    TradeEventType.POSITION_PARTIALLY_CLOSED,
)
# What the move sets, not the event: see `judge` in functions.lua.
_MOVED: Final = {
    **dict.fromkeys(FILL_TYPES, frozenset({"filled_volume"})),
    **dict.fromkeys(_PNL_TYPES, frozenset({"pnl"})),
}
_NONE_MOVED: Final[frozenset[str]] = frozenset()


class _Body(msgspec.Struct, frozen=True, kw_only=True):
    event_id: str
    event_type: str
    symbol: str
    timestamp: str
    data: Mapping[str, Any]
    correlation_id: str | None
    source: str | None
    account: str | None


def encode_body(event: TradeEvent) -> bytes:
    """The JSON that is logged; what is published has `log_id` (and `anomaly`) after it.

    Raises:
        InvalidTradeEvent: too large.
    """
    body = _to_json(
        _Body(
            event_id=event.event_id,
            event_type=event.event_type.value,
            symbol=event.symbol,
            timestamp=event.timestamp,
            data=event.data,
            correlation_id=event.correlation_id,
            source=event.source,
            account=event.account,
        )
    )
    if len(body) > MAX_EVENT_BYTES:
        lack = f"makes an event of {len(body):,} bytes; at most {MAX_EVENT_BYTES:,}"
        raise InvalidTradeEvent("data", lack)
    return body


def pack_event(event: TradeEvent) -> bytes:
    """What the publishing function takes for one event, as MessagePack.

    Raises:
        InvalidTradeEvent: it is too large.
    """
    return _to_msgpack([*_parts(event), *_state_parts(event)])


def pack_logged(event: TradeEvent) -> bytes:
    """The same for an event from the log, to be applied again."""
    return _to_msgpack(
        [*_parts(event, b""), *_state_parts(event), event.log_id, event.anomaly or ""]
    )


def pack_array(items: list[bytes]) -> bytes:
    """Packed items as one MessagePack array."""
    return b"\xdd" + len(items).to_bytes(4, "big") + b"".join(items)


def _parts(event: TradeEvent, body: bytes | None = None) -> list[Any]:
    shape = SHAPES[event.event_type]
    return [
        event.event_type.value,
        event.symbol,
        event.event_id,
        shape.subject or "",
        event.data[f"{shape.subject}_id"] if shape.subject else "",
        _as_text(encode_body(event) if body is None else body),
        event.timestamp,
        event.account or "",
    ]


def _as_text(body: bytes) -> msgspec.Raw:
    # As MessagePack text and not as binary, which the server's unpacker does not know.
    return msgspec.Raw(b"\xdb" + len(body).to_bytes(4, "big") + body)


def _state_parts(event: TradeEvent) -> tuple[list[str], dict[str, str]]:
    """The hash's fields, and what the move has to reckon with."""
    shape = SHAPES[event.event_type]
    if not shape.subject:
        return [], {}
    skipped = _MOVED.get(event.event_type, _NONE_MOVED)
    pairs: list[str] = []
    for name, value in event.data.items():
        if name not in skipped:
            pairs.append(shape.renamed.get(name, name))
            pairs.append(value_to_text(name, value))
    return pairs, _means(event)


def _means(event: TradeEvent) -> dict[str, str]:
    kind, data = event.event_type, event.data
    if kind in FILL_TYPES:
        means = {"execution": str(data["volume"])}
        if "filled_volume" in data:
            means["filled"] = str(data["filled_volume"])
        return means
    if kind in _PNL_TYPES:
        return {"pnl": str(data["pnl"])}
    if kind is TradeEventType.ORDER_MODIFIED and data.get("replaced_by"):
        return {"replaced": "1"}
    return {}


def value_to_text(name: str, value: Any) -> str:
    """As a state hash keeps it."""
    if isinstance(value, str):
        if name.endswith("_id") or not _looks_like_json(value):
            return value
    elif isinstance(value, float | Decimal):
        return str(value)
    return _to_json(value).decode()


def text_to_value(name: str, text: str) -> Any:
    """The way back. A whole number comes back as an int, which equals the float."""
    if name.endswith("_id") or not _looks_like_json(text):
        return text
    try:
        return _from_json(text)
    except msgspec.DecodeError:
        return text  # somebody else wrote it


def _looks_like_json(text: str) -> bool:
    return text.startswith(('"', "[", "{")) or text in _LITERALS or bool(_NUMBER.fullmatch(text))


def hash_to_state(fields: Mapping[bytes, bytes]) -> dict[str, Any]:
    """An order or position as `HGETALL` gives it, typed; its id and status first."""
    named = {name.decode(): text.decode(errors="replace") for name, text in fields.items()}
    order = sorted(named, key=lambda name: _FIRST.get(name, len(_FIRST)))
    return {name: text_to_value(name, named[name]) for name in order}


def decode_published(payload: bytes) -> TradeEvent:
    """An event from a channel.

    Raises:
        ValueError: it is none.
    """
    try:
        return received(_from_json(payload))
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a trade event: {error}") from error


def decode_logged(log_id: bytes | str, fields: Mapping[bytes, bytes]) -> TradeEvent:
    """An event from the log, or from the streams of anomalies and failures.

    Raises:
        ValueError: it is none.
    """
    try:
        found = _from_json(fields[b"m"])
        found["log_id"] = log_id.decode() if isinstance(log_id, bytes) else log_id
        if reason := fields.get(b"a"):
            found["anomaly"] = reason.decode()
        return received(found)
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a trade event: {error}") from error
