"""Pure: messages as rows. `SCHEMA` is what docs/recorder.md promises.

`payload` is the message exactly as it was published; the other columns are taken from it, so that
a question about prices needs no JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import msgspec
import pyarrow as pa

from ..utils.redis.messages import parse_rfc3339

_NAME: Final = pa.dictionary(pa.int32(), pa.string())
_MOMENT: Final = pa.timestamp("ns", tz="UTC")

SCHEMA: Final = pa.schema(
    [
        pa.field("recorded_at", _MOMENT, nullable=False),
        pa.field("channel", _NAME, nullable=False),
        pa.field("symbol", _NAME),
        pa.field("type", _NAME),
        pa.field("timestamp", _MOMENT),
        pa.field("epoch", pa.int64(), nullable=False),
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("price", pa.float64()),
        pa.field("volume", pa.float64()),
        pa.field("last_eligible", pa.bool_()),
        pa.field("payload", pa.string(), nullable=False),
    ],
    metadata={"tickerbus_recording": "1"},
)


class Row(NamedTuple):
    """One message. `channel` is without the bus's prefix; `recorded_at` in ns since 1970."""

    recorded_at: int
    channel: str
    payload: str


class _Fields(msgspec.Struct, frozen=True, gc=False):
    """What the columns want of any message."""

    type: str | None = None
    symbol: str | None = None
    timestamp: str | None = None
    epoch: int = 0
    seq: int = 0
    price: float | None = None
    volume: float | None = None
    last_eligible: bool | None = None


_decode_one = msgspec.json.Decoder(_Fields).decode
_decode_all = msgspec.json.Decoder(list[_Fields]).decode


def to_table(rows: Sequence[Row]) -> pa.Table:
    """The rows, in their order. A payload of another shape than ours has empty columns."""
    fields = _fields(rows)
    columns: dict[str, Any] = {
        "recorded_at": pa.array([row.recorded_at for row in rows], _MOMENT),
        "channel": _names([row.channel for row in rows]),
        "symbol": _names([each.symbol for each in fields]),
        "type": _names([each.type for each in fields]),
        "timestamp": _moments([each.timestamp for each in fields]),
        "epoch": pa.array([each.epoch for each in fields], pa.int64()),
        "seq": pa.array([each.seq for each in fields], pa.int64()),
        "price": pa.array([each.price for each in fields], pa.float64()),
        "volume": pa.array([each.volume for each in fields], pa.float64()),
        "last_eligible": pa.array([each.last_eligible for each in fields], pa.bool_()),
        "payload": pa.array([row.payload for row in rows], pa.string()),
    }
    return pa.table(columns, schema=SCHEMA)


def _fields(rows: Sequence[Row]) -> list[_Fields]:
    try:
        return _decode_all("[" + ",".join([row.payload for row in rows]) + "]")
    except msgspec.DecodeError:
        return [_fields_of(row.payload) for row in rows]


def _fields_of(payload: str) -> _Fields:
    try:
        return _decode_one(payload)
    except msgspec.DecodeError:
        return _Fields()


def _names(names: list[str | None] | list[str]) -> pa.Array:
    return pa.array(names, pa.string()).dictionary_encode()


def _moments(texts: list[str | None]) -> pa.Array:
    try:
        return pa.array(texts, pa.string()).cast(_MOMENT)
    except pa.ArrowInvalid:  # one of them is no time: the others still are
        return pa.array([_moment_or_none(text) for text in texts], _MOMENT)


def _moment_or_none(text: str | None) -> int | None:
    try:
        return None if text is None else parse_rfc3339(text)
    except ValueError:
        return None
