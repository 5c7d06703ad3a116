"""Messages on their way to one reader: bounded, and batched more the slower it reads. Pure."""

from __future__ import annotations

from collections import deque

from msgspec import UNSET

from .encoding import Encoding
from .messages import MarketMessage, Trade


class Published:
    """A message with its serial (trades only), encoded at most once per encoding."""

    __slots__ = ("_json", "_msgpack", "channel", "message", "on_iex", "serial", "symbol")

    def __init__(self, message: MarketMessage, channel: str, serial: int = 0) -> None:
        self.message = message
        self.channel = channel
        self.symbol = message.symbol
        self.serial = serial
        # IEX shows its own trades only.
        self.on_iex = not isinstance(message, Trade) or message.exchange in ("V", UNSET)
        self._json: bytes | None = None
        self._msgpack: bytes | None = None

    def encoded(self, encoding: Encoding) -> bytes:
        """The bytes on the wire."""
        if encoding.binary:
            if self._msgpack is None:
                self._msgpack = encoding.encode(self.message)
            return self._msgpack
        if self._json is None:
            self._json = encoding.encode(self.message)
        return self._json


class Outbox:
    """A bounded queue. When it is full the reader is too slow (407)."""

    def __init__(self, bound: int, max_frame: int) -> None:
        self._bound = bound
        self._max_frame = max_frame
        self._waiting: deque[Published] = deque()
        self.overflowed = False

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, item: Published) -> None:
        """Queue one message; past the bound it is dropped and the box has overflowed."""
        if len(self._waiting) >= self._bound:
            self.overflowed = True
        else:
            self._waiting.append(item)

    def take(self) -> list[Published]:
        """The next frame's messages."""
        waiting = self._waiting
        if len(waiting) <= self._max_frame:
            batch = list(waiting)
            waiting.clear()
            return batch
        return [waiting.popleft() for _ in range(self._max_frame)]

    def clear(self) -> int:
        """Throw away what waits; how many."""
        dropped = len(self._waiting)
        self._waiting.clear()
        return dropped
