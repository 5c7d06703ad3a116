"""Frames that a client must survive (U11). Pure."""

from __future__ import annotations

import json
import struct

from .sockets import DataSocket, TradingSocket

_HUGE_BYTES = 5 * 1024 * 1024


def malformed_frame(what: str, socket: DataSocket | TradingSocket) -> tuple[bytes, bool]:
    """The frame, and whether it is binary. Raises ValueError for an unknown kind."""
    if isinstance(socket, TradingSocket):
        return _trading(what), True
    encoding = socket.reader.session.encoding
    if encoding.binary:
        return _packed(what), True
    return _text(what), False


def _trading(what: str) -> bytes:
    frames: dict[str, bytes] = {
        "garbage": b'{"stream":"trade_upd',
        "unknown_type": b'{"stream":"weather","data":{"sky":"blue"}}',
        "null": b'{"stream":"trade_updates","data":null}',
        "nan": b'{"stream":"trade_updates","data":{"event":"fill","price":NaN}}',
        "huge": _text("huge"),
        "empty": b"",
        "not_an_array": b"42",
    }
    return _one_of(frames, what)


def _text(what: str) -> bytes:
    frames: dict[str, bytes] = {
        "garbage": b'[{"T":"t","S":"AAPL","p":1',
        "unknown_type": b'[{"T":"zz","S":"AAPL","v":1}]',
        "null": b'[null,{"T":"t","S":null,"i":null,"p":null,"s":null,"t":null}]',
        "nan": b'[{"T":"t","S":"AAPL","i":1,"x":"V","p":NaN,"s":1,"c":["@"],'
        b'"t":"2026-01-02T15:00:00Z","z":"C"}]',
        "huge": json.dumps([{"T": "zz", "text": "x" * _HUGE_BYTES}]).encode(),
        "empty": b"[]",
        "not_an_array": b'{"T":"t"}',
    }
    return _one_of(frames, what)


def _packed(what: str) -> bytes:
    frames: dict[str, bytes] = {
        "garbage": b"\x92\x81\xa1T\xa1t\xc1",
        "unknown_type": b"\x91\x82\xa1T\xa2zz\xa1S\xa4AAPL",
        "null": b"\x92\xc0\x83\xa1T\xa1t\xa1S\xc0\xa1p\xc0",
        "nan": b"\x91\x83\xa1T\xa1t\xa1S\xa4AAPL\xa1p\xcb" + struct.pack(">d", float("nan")),
        "huge": b"\x91\x82\xa1T\xa2zz\xa4text\xdb"
        + struct.pack(">I", _HUGE_BYTES)
        + b"x" * _HUGE_BYTES,
        "empty": b"\x90",
        "not_an_array": b"\x81\xa1T\xa1t",
    }
    return _one_of(frames, what)


def _one_of(frames: dict[str, bytes], what: str) -> bytes:
    if what not in frames:
        raise ValueError(f"what must be one of {', '.join(frames)}, not {what!r}")
    return frames[what]
