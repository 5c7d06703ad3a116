"""Pure: trade events to bytes and back, and a state hash's texts to typed values.

A hash holds text only, so a value that is no text is kept as its JSON; text that could be mistaken
for that is kept as a JSON string. Ids are always plain. So `HGETALL` reads well, and numbers come
back as numbers.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from .checks import MAX_EVENT_BYTES
from .errors import InvalidTradeEvent
from .events import TradeEvent, received
from .kinds import FILL_TYPES, SHAPES, TradeEventType

_NUMBER: Final = re.compile(r"-?(?:0|[1-9]\d*)(?:\.\d+)?(?:[eE][+-]?\d+)?")
_FIRST: Final = {"order_id": 0, "position_id": 0, "status": 1}
_LITERALS: Final = ("true", "false", "null")
_NUMBER_STARTS: Final = frozenset("-0123456789")
_JSON_STARTS: Final = frozenset('"[{')

to_json: Final = msgspec.json.Encoder(decimal_format="number").encode
_to_msgpack: Final = msgspec.msgpack.Encoder().encode
_from_json: Final = msgspec.json.Decoder().decode
# Numbers as they were written: 100.00 and 2E+1 are the state's texts, too.
_from_json_verbatim: Final = msgspec.json.Decoder(
    float_hook=lambda text: msgspec.Raw(text.encode())
).decode


class Packed(NamedTuple):
    """One event as MessagePack: its parts one after the other, and how many they are."""

    body: bytes
    parts: int


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
    body = to_json(
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


def pack_event(event: TradeEvent) -> Packed:
    """What the publishing function takes for one event.

    Raises:
        InvalidTradeEvent: it is too large.
    """
    return _pack(event, encode_body(event))


def pack_logged(event: TradeEvent) -> Packed:
    """The same for an event from `decode_verbatim`, whose state is to be moved again."""
    return _pack(event, b"")


def pack_events(items: list[Packed]) -> bytes:
    """Packed events as the one flat array that the functions take."""
    count = sum([packed.parts for packed in items])
    return b"\xdd" + count.to_bytes(4, "big") + b"".join([packed.body for packed in items])


def pack_texts(texts: list[str]) -> bytes:
    """A MessagePack array of texts."""
    return _to_msgpack(texts)


class _Plan(NamedTuple):
    """How one type of event is packed."""

    name: str
    subject: str
    id_field: str  # of its subject, in its data
    skipped: frozenset[str]  # what the move sets, not the event: see `set_state` in functions.lua
    renamed: Mapping[str, str]
    begins: bool  # an order's or a position's state may begin with it: then it says whose it is
    means: Callable[[Mapping[str, Any]], tuple[str, str]]


def _pack(event: TradeEvent, body: bytes) -> Packed:
    plan, data = _PLANS[event.event_type], event.data
    fields = _fields(event, plan) if plan.subject else []
    parts = [
        plan.name,
        event.symbol,
        event.event_id,
        plan.subject,
        data[plan.id_field] if plan.subject else "",
        _as_text(body),
        event.timestamp,
        *plan.means(data),
        len(fields),
        *fields,
    ]
    # Without the array's own head: the events of a batch are one flat array.
    return Packed(_to_msgpack(parts)[1 if len(parts) < 16 else 3 :], len(parts))


def _as_text(body: bytes) -> msgspec.Raw:
    # As MessagePack text and not as binary, which the server's unpacker does not know.
    return msgspec.Raw(b"\xdb" + len(body).to_bytes(4, "big") + body)


def _fields(event: TradeEvent, plan: _Plan) -> list[str]:
    """The event's own fields of the hash: name, text, …"""
    fields: list[str] = []
    for name, value in event.data.items():
        if name not in plan.skipped:
            fields.append(plan.renamed.get(name, name))
            fields.append(value_to_text(name, value))
    if plan.begins and event.account is not None:
        fields += ("account", event.account)
    return fields


def _number(value: Any) -> str:
    return to_json(value).decode()


# What a move has to reckon with: MEANS and TOTAL in functions.lua.


def _means_nothing(_: Mapping[str, Any]) -> tuple[str, str]:
    return "", ""


def _means_a_fill(data: Mapping[str, Any]) -> tuple[str, str]:
    total = data.get("filled_volume")
    return _number(data["volume"]), "" if total is None else _number(total)


def _means_a_profit(data: Mapping[str, Any]) -> tuple[str, str]:
    return _number(data["pnl"]), ""


def _means_a_change(data: Mapping[str, Any]) -> tuple[str, str]:
    return ("replaced" if data.get("replaced_by") else ""), ""


_MEANS: Final = {
    **dict.fromkeys(FILL_TYPES, _means_a_fill),
    TradeEventType.POSITION_PARTIALLY_CLOSED: _means_a_profit,
    TradeEventType.POSITION_CLOSED: _means_a_profit,
    TradeEventType.ORDER_MODIFIED: _means_a_change,
}
_MOVED: Final = {
    **dict.fromkeys((*FILL_TYPES, TradeEventType.ORDER_CREATED), frozenset({"filled_volume"})),
    TradeEventType.POSITION_PARTIALLY_CLOSED: frozenset({"pnl"}),
    TradeEventType.POSITION_CLOSED: frozenset({"pnl", "volume"}),
}
_BEGINNINGS: Final = frozenset(
    {
        TradeEventType.ORDER_CREATED,
        TradeEventType.ORDER_REJECTED,
        TradeEventType.POSITION_OPENED,
    }
)
_PLANS: Final = {
    kind: _Plan(
        name=kind.value,
        subject=shape.subject or "",
        id_field=f"{shape.subject}_id",
        skipped=_MOVED.get(kind, frozenset()),
        renamed=shape.renamed,
        begins=kind in _BEGINNINGS,
        means=_MEANS.get(kind, _means_nothing),
    )
    for kind, shape in SHAPES.items()
}


def value_to_text(name: str, value: Any) -> str:
    """As a state hash keeps it."""
    if isinstance(value, str) and (name.endswith("_id") or not _looks_like_json(value)):
        return str(value)
    return to_json(value).decode()


def text_to_value(name: str, text: str) -> Any:
    """The way back. A whole number comes back as an int, which equals the float."""
    if name.endswith("_id") or not _looks_like_json(text):
        return text
    try:
        return _from_json(text)
    except msgspec.DecodeError:
        return text  # somebody else wrote it


def _looks_like_json(text: str) -> bool:
    # Letters are the rule, and need no expression to be told from a number.
    first = text[:1]
    if first in _NUMBER_STARTS:
        return bool(_NUMBER.fullmatch(text))
    return first in _JSON_STARTS or text in _LITERALS


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
    return _decode(_from_json, log_id, fields)


def decode_verbatim(log_id: bytes | str, fields: Mapping[bytes, bytes]) -> TradeEvent:
    """The same with its numbers unread, for `pack_logged`: as floats they would lose digits.

    Raises:
        ValueError: it is none.
    """
    return _decode(_from_json_verbatim, log_id, fields)


def _decode(
    read: Callable[[bytes], Any], log_id: bytes | str, fields: Mapping[bytes, bytes]
) -> TradeEvent:
    try:
        found = read(fields[b"m"])
        found["log_id"] = log_id.decode() if isinstance(log_id, bytes) else log_id
        if reason := fields.get(b"a"):
            found["anomaly"] = reason.decode()
        return received(found)
    except (msgspec.DecodeError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"not a trade event: {error}") from error
