"""Both wire encodings of the market-data streams. Pure.

Each message is encoded once per encoding; a frame is an array header around ready bytes,
so that a hundred readers of one message cost one encoding.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any, Literal, Protocol

import msgspec

from .messages import Timestamp

EncodingName = Literal["json", "msgpack"]


class Encoding(Protocol):
    """How messages become frames, and requests become objects."""

    name: EncodingName
    binary: bool

    def encode(self, message: object) -> bytes:
        """One message."""

    def frame(self, messages: Sequence[bytes]) -> bytes:
        """An array of encoded messages."""

    def decode(self, frame: bytes | str) -> Any:
        """A client's request. Raises ValueError."""


class JsonEncoding:
    """Text frames, timestamps as RFC 3339 with nanoseconds."""

    name: EncodingName = "json"
    binary = False

    def __init__(self) -> None:
        self.encode = msgspec.json.Encoder(enc_hook=_json_hook).encode

    def frame(self, messages: Sequence[bytes]) -> bytes:
        """An array of encoded messages."""
        return b"[" + b",".join(messages) + b"]"

    def decode(self, frame: bytes | str) -> Any:
        """A client's request. Raises ValueError."""
        return _decode_json(frame)


class MsgpackEncoding:
    """Binary frames, timestamps as extension type -1 with nanoseconds."""

    name: EncodingName = "msgpack"
    binary = True

    def __init__(self) -> None:
        self.encode = msgspec.msgpack.Encoder(enc_hook=_msgpack_hook).encode

    def frame(self, messages: Sequence[bytes]) -> bytes:
        """An array of encoded messages."""
        return _array_header(len(messages)) + b"".join(messages)

    def decode(self, frame: bytes | str) -> Any:
        """A client's request; text frames are read as JSON. Raises ValueError."""
        if isinstance(frame, str):
            return _decode_json(frame)
        try:
            return msgspec.msgpack.decode(frame)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise ValueError(str(error)) from error


def _decode_json(frame: bytes | str) -> Any:
    try:
        return msgspec.json.decode(frame)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise ValueError(str(error)) from error


def _json_hook(value: object) -> object:
    if isinstance(value, Timestamp):
        return value.rfc3339()
    raise NotImplementedError(f"cannot encode {type(value).__name__}")


def _msgpack_hook(value: object) -> object:
    if isinstance(value, Timestamp):
        return msgspec.msgpack.Ext(-1, pack_timestamp(value.ns))
    raise NotImplementedError(f"cannot encode {type(value).__name__}")


def pack_timestamp(ns: int) -> bytes:
    """MessagePack's timestamp extension: 4, 8 or 12 bytes, whatever the moment needs."""
    seconds, nanos = divmod(ns, 1_000_000_000)
    if 0 <= seconds < 1 << 34:
        packed = nanos << 34 | seconds
        return struct.pack(">I", packed) if packed < 1 << 32 else struct.pack(">Q", packed)
    return struct.pack(">Iq", nanos, seconds)


def _array_header(count: int) -> bytes:
    if count < 16:
        return bytes((0x90 | count,))
    if count < 1 << 16:
        return b"\xdc" + struct.pack(">H", count)
    return b"\xdd" + struct.pack(">I", count)


JSON: Encoding = JsonEncoding()
MSGPACK: Encoding = MsgpackEncoding()


def encoding_for(content_type: str | None) -> Encoding:
    """The encoding that the `Content-Type` of the upgrade request asks for."""
    return MSGPACK if content_type and "application/msgpack" in content_type else JSON
