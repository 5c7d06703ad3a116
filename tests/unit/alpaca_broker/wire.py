"""Alpaca's bytes, made by hand: what the broker's tests feed it with."""

from __future__ import annotations

import datetime
from typing import Any

import msgspec
from msgspec.msgpack import Ext

NOON_NS = 1_795_276_805_123_456_789  # 2026-11-21T16:00:05.123456789Z, a Saturday
TRADE: dict[str, Any] = {
    "T": "t",
    "i": 96921,
    "S": "AAPL",
    "x": "D",
    "p": 126.55,
    "s": 1,
    "c": ["@", "I"],
    "z": "C",
}


def ext96(unix_ns: int) -> Ext:
    """MessagePack's 12-byte timestamp."""
    seconds, nanoseconds = divmod(unix_ns, 1_000_000_000)
    return Ext(-1, nanoseconds.to_bytes(4) + seconds.to_bytes(8, signed=True))


def ext64(unix_ns: int) -> Ext:
    """MessagePack's 8-byte timestamp."""
    seconds, nanoseconds = divmod(unix_ns, 1_000_000_000)
    return Ext(-1, (nanoseconds << 34 | seconds).to_bytes(8))


def ext32(seconds: int) -> Ext:
    """MessagePack's 4-byte timestamp."""
    return Ext(-1, seconds.to_bytes(4))


def packed(*elements: object) -> bytes:
    """A binary frame."""
    return msgspec.msgpack.encode(list(elements))


def text(*elements: object) -> str:
    """A text frame."""
    return msgspec.json.encode(list(elements)).decode()


def trade(**fields: Any) -> dict[str, Any]:
    """Alpaca's documented example of a trade, with changes; `...` removes a key."""
    merged = {"t": ext64(NOON_NS), **fields}
    ordered = {key: merged.get(key, TRADE.get(key)) for key in (*TRADE, *merged)}
    return {key: value for key, value in ordered.items() if value is not ...}


def rfc3339_of(unix_ns: int) -> str:
    """By other means than the code under test."""
    seconds, nanoseconds = divmod(unix_ns, 1_000_000_000)
    moment = datetime.datetime(1970, 1, 1) + datetime.timedelta(seconds=seconds)  # noqa: DTZ001
    return f"{moment.isoformat()}.{nanoseconds:09d}Z"
