"""Pure: Alpaca's market-data frames to typed messages.

A frame is an array, MessagePack or JSON. The whole array is decoded in one step into structs; only
when one element does not fit is it taken apart, so that the others are not lost with it.
Timestamps keep their nanoseconds: MessagePack's extension type is read by hand.
"""

from __future__ import annotations

import struct
import sys
from typing import Annotated, Any, Final, TypeAlias

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.msgpack import Ext

from ..utils.redis.messages import parse_rfc3339, rfc3339

Timestamp: TypeAlias = Ext | str
_CONTROL_TYPES: Final = ("success", "error", "subscription")  # compared: `T` may be of any type

_END_OF_9999_NS: Final = 253_402_300_800 * 1_000_000_000

# What a decoder raises on bytes from outside: not its grammar, not UTF-8, or nested too deeply.
UNREADABLE: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


# What no trade can have makes it unreadable: found while it is decoded, which costs nothing.
_FINITE: Final = sys.float_info.max
Price: TypeAlias = Annotated[float, Meta(gt=0, le=_FINITE)]
Size: TypeAlias = Annotated[int, Meta(ge=0)] | Annotated[float, Meta(ge=0, le=_FINITE)]


class Trade(msgspec.Struct, tag_field="T", tag="t", gc=False):
    S: str
    p: Price
    s: Size
    t: Timestamp
    i: int | str | UnsetType = UNSET
    x: str | UnsetType = UNSET
    c: tuple[str, ...] | UnsetType | None = UNSET  # a key of what the rule remembers
    z: str | UnsetType = UNSET


class HistoricalTrade(msgspec.Struct, gc=False):
    """A trade as REST lists it, under its symbol. Ten thousand come at once."""

    p: Price
    s: Size
    t: Timestamp
    i: int | str | UnsetType = UNSET
    x: str | UnsetType = UNSET
    c: tuple[str, ...] | UnsetType | None = UNSET
    z: str | UnsetType = UNSET
    u: str | None = None  # "canceled", "incorrect" or "corrected"

    def of(self, symbol: str) -> Trade:
        """As the stream would have told it."""
        return Trade(S=symbol, p=self.p, s=self.s, t=self.t, i=self.i, x=self.x, c=self.c, z=self.z)


class Quote(msgspec.Struct, tag_field="T", tag="q", gc=False):
    S: str
    bp: float
    bs: int | float
    ap: float
    as_: int | float = msgspec.field(name="as")
    t: Timestamp
    bx: str | UnsetType = UNSET
    ax: str | UnsetType = UNSET
    c: tuple[str, ...] | UnsetType | None = UNSET
    z: str | UnsetType = UNSET


class _Bar(msgspec.Struct, tag_field="T", gc=False):
    S: str
    o: float
    h: float
    l: float  # noqa: E741  (Alpaca's key)
    c: float
    v: int | float
    t: Timestamp
    n: int | UnsetType = UNSET
    vw: float | UnsetType = UNSET


class MinuteBar(_Bar, tag="b"): ...


class UpdatedBar(_Bar, tag="u"): ...


class DailyBar(_Bar, tag="d"): ...


class TradingStatus(msgspec.Struct, tag_field="T", tag="s"):
    S: str
    t: Timestamp
    sc: str = ""
    sm: str = ""
    rc: str = ""
    rm: str = ""
    z: str | UnsetType = UNSET


class Correction(msgspec.Struct, tag_field="T", tag="c"):
    S: str
    t: Timestamp
    oi: int | str
    op: float
    os: int | float
    ci: int | str
    cp: float
    cs: int | float
    oc: list[str] | UnsetType = UNSET
    cc: list[str] | UnsetType = UNSET
    x: str | UnsetType = UNSET
    z: str | UnsetType = UNSET


class CancelError(msgspec.Struct, tag_field="T", tag="x"):
    S: str
    t: Timestamp
    i: int | str
    p: float
    s: int | float
    x: str | UnsetType = UNSET
    a: str | UnsetType = UNSET
    z: str | UnsetType = UNSET


MarketMessage: TypeAlias = (
    Trade | Quote | MinuteBar | UpdatedBar | DailyBar | TradingStatus | Correction | CancelError
)

_msgpack: Final[msgspec.msgpack.Decoder[list[MarketMessage]]] = msgspec.msgpack.Decoder(
    list[MarketMessage]
)
_msgpack_raw: Final = msgspec.msgpack.Decoder(list[msgspec.Raw])
_msgpack_one: Final[msgspec.msgpack.Decoder[MarketMessage]] = msgspec.msgpack.Decoder(MarketMessage)
_json_any: Final = msgspec.json.Decoder()
_unpack_moment: Final = struct.Struct(">Q").unpack


def decode_frame(frame: bytes | str) -> tuple[list[MarketMessage], int]:
    """The market messages of one data frame, and how many elements could not be read."""
    if isinstance(frame, bytes):
        try:
            return _msgpack.decode(frame), 0
        except UNREADABLE:
            return _decode_one_by_one(frame)
    return _convert_json(frame)


def _decode_one_by_one(frame: bytes) -> tuple[list[MarketMessage], int]:
    try:
        elements = _msgpack_raw.decode(frame)
    except UNREADABLE:
        return [], 1
    messages: list[MarketMessage] = []
    for element in elements:
        try:
            messages.append(_msgpack_one.decode(element))
        except UNREADABLE:
            continue
    return messages, len(elements) - len(messages)


def _convert_json(frame: str) -> tuple[list[MarketMessage], int]:
    try:
        elements = _json_any.decode(frame)
    except UNREADABLE:
        return [], 1
    if not isinstance(elements, list):
        return [], 1
    messages: list[MarketMessage] = []
    for element in elements:
        try:
            messages.append(msgspec.convert(element, MarketMessage))
        except msgspec.ValidationError:
            continue
    return messages, len(elements) - len(messages)


def decode_control(frame: bytes | str) -> dict[str, Any] | None:
    """The control message of this frame, or None when it carries data.

    Control messages are alone in their array, and their type is longer than the one letter of
    data, so that a look at the first bytes tells nearly every data frame apart.
    """
    if isinstance(frame, bytes):
        if frame[:1] != b"\x91" or (frame[2:4] == b"\xa1T" and frame[4:5] == b"\xa1"):
            return None
        decoder: Any = msgspec.msgpack
    else:
        if frame[:6] == '[{"T":' and frame[8:9] == '"':
            return None
        decoder = msgspec.json
    try:
        elements = decoder.decode(frame)
    except UNREADABLE:
        return None
    match elements:
        case [dict() as control] if control.get("T") in _CONTROL_TYPES:
            return dict(control)
    return None


def moment(timestamp: Timestamp) -> tuple[int, int]:
    """(seconds since 1970, nanoseconds): the parts of a timestamp, as they mostly come.

    Raises:
        ValueError: as `unix_ns`.
    """
    if type(timestamp) is Ext and timestamp.code == -1:
        raw: Any = timestamp.data  # bytes
        if len(raw) == 8:
            packed: int = _unpack_moment(raw)[0]
            return packed & 0x3_FFFF_FFFF, packed >> 34
    return divmod(unix_ns(timestamp), 1_000_000_000)


def unix_ns(timestamp: Timestamp) -> int:
    """Nanoseconds since 1970 of a MessagePack timestamp, or of an RFC 3339 text.

    Raises:
        ValueError: it is neither, or not between 1970 and 9999.
    """
    if isinstance(timestamp, str):
        return _within_reason(parse_rfc3339(timestamp))
    raw = bytes(timestamp.data)
    if timestamp.code != -1:
        raise ValueError(f"extension type {timestamp.code} is not a timestamp")
    if len(raw) == 8:
        packed = int.from_bytes(raw)
        return (packed & 0x3_FFFF_FFFF) * 1_000_000_000 + (packed >> 34)
    if len(raw) == 4:
        return int.from_bytes(raw) * 1_000_000_000
    if len(raw) == 12:
        seconds = int.from_bytes(raw[4:], signed=True)
        return _within_reason(seconds * 1_000_000_000 + int.from_bytes(raw[:4]))
    raise ValueError(f"a timestamp of {len(raw)} bytes")


def _within_reason(unix_ns: int) -> int:
    if not 0 <= unix_ns < _END_OF_9999_NS:
        raise ValueError(f"{unix_ns} ns is not a moment between 1970 and 9999")
    return unix_ns


def timestamp_text(timestamp: Timestamp) -> str:
    """RFC 3339 in UTC, nothing rounded.

    Raises:
        ValueError: not a timestamp.
    """
    return rfc3339(unix_ns(timestamp))
