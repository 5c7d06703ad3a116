"""Frames that are ready before they are needed, for rates that no live market reaches. Pure.

One trade per ticker is encoded as a template; each message is a copy of it in which only the id
and the time are new. Whole websocket frames are joined into chunks, so that sending 500,000
messages a second costs a few hundred writes.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from .encoding import Encoding, pack_timestamp
from .messages import Timestamp, Trade, rfc3339
from .walk import Walk

_MARK_ID = 1 << 62  # forces the nine-byte form of MessagePack and is easy to find in JSON
_MARK_NS = 1_234_567_890_123_456_789
_CHUNK_S = 0.002


@dataclass(frozen=True, kw_only=True)
class Chunk:
    """Websocket frames that are due together, `after_ns` the start."""

    after_ns: int
    data: bytes
    messages: int


@dataclass(frozen=True, kw_only=True)
class Series:
    """One ticker's prepared trades: ids from `first_id` on, one higher each time."""

    symbol: str
    first_id: int
    count: int


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """Everything that one kind of connection will get."""

    chunks: tuple[Chunk, ...]
    series: tuple[Series, ...]
    messages: int


@dataclass(frozen=True, kw_only=True)
class Order:
    """What to prepare: `count` trades, `per_frame` to a frame, at `per_s`, from `start_ns` on."""

    walks: Sequence[Walk]
    first_ids: Sequence[int]
    count: int
    per_frame: int
    per_s: float
    start_ns: int

    def due(self, number: int) -> int:
        """When a message is due."""
        return self.start_ns + int(number * 1e9 / self.per_s)

    def series(self) -> tuple[Series, ...]:
        """How many each ticker gets, and from which id on."""
        tickers = len(self.walks)
        return tuple(
            Series(
                symbol=walk.asset.symbol,
                first_id=first_id,
                count=(self.count - index + tickers - 1) // tickers,
            )
            for index, (walk, first_id) in enumerate(zip(self.walks, self.first_ids, strict=True))
        )


class Template:
    """One ticker's trade, with holes for its id and its time."""

    def __init__(self, walk: Walk, encoding: Encoding) -> None:
        walk.step()
        drawn = walk.trade(_MARK_NS)
        marked = _with_id(drawn, _MARK_ID)
        text = encoding.encode(marked)
        self._packed = encoding.binary
        if self._packed:
            holes = (struct.pack(">Q", _MARK_ID), pack_timestamp(_MARK_NS))
        else:
            holes = (str(_MARK_ID).encode(), rfc3339(_MARK_NS).encode())
        self._head, rest = text.split(holes[0], 1)
        self._middle, self._tail = rest.split(holes[1], 1)

    def fill(self, trade_id: int, at_ns: int) -> bytes:
        """The message with this id and time."""
        if self._packed:
            moment = struct.pack(">Q", at_ns % 1_000_000_000 << 34 | at_ns // 1_000_000_000)
            number = struct.pack(">Q", trade_id)
        else:
            moment, number = rfc3339(at_ns).encode(), str(trade_id).encode()
        return b"".join((self._head, number, self._middle, moment, self._tail))


def prepare(order: Order, encoding: Encoding) -> Prepared:
    """Trades in turns over the tickers. Each one's time is the moment at which it is due."""
    templates = [Template(walk, encoding) for walk in order.walks]
    per_chunk = max(1, round(order.per_s * _CHUNK_S / order.per_frame)) * order.per_frame
    chunks = tuple(
        _chunk(order, templates, encoding, first, min(first + per_chunk, order.count))
        for first in range(0, order.count, per_chunk)
    )
    return Prepared(chunks=chunks, series=order.series(), messages=order.count)


def _chunk(
    order: Order, templates: Sequence[Template], encoding: Encoding, first: int, last: int
) -> Chunk:
    tickers = len(templates)
    frames = []
    for begin in range(first, last, order.per_frame):
        messages = [
            templates[n % tickers].fill(order.first_ids[n % tickers] + n // tickers, order.due(n))
            for n in range(begin, min(begin + order.per_frame, last))
        ]
        frames.append(websocket_frame(encoding.frame(messages), binary=encoding.binary))
    after_ns = order.due(first) - order.start_ns
    return Chunk(after_ns=after_ns, data=b"".join(frames), messages=last - first)


def websocket_frame(payload: bytes, *, binary: bool) -> bytes:
    """An unmasked, final websocket frame (RFC 6455), as a server sends it."""
    first = 0x82 if binary else 0x81
    length = len(payload)
    if length < 126:
        return bytes((first, length)) + payload
    if length < 1 << 16:
        return struct.pack(">BBH", first, 126, length) + payload
    return struct.pack(">BBQ", first, 127, length) + payload


def _with_id(trade: Trade, trade_id: int) -> Trade:
    return Trade(
        symbol=trade.symbol,
        trade_id=trade_id,
        exchange=trade.exchange,
        price=trade.price,
        size=trade.size,
        conditions=trade.conditions,
        timestamp=Timestamp(trade.timestamp.ns),
        tape=trade.tape,
        taker_side=trade.taker_side,
    )
