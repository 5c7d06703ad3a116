"""Sending prepared frames at a chosen rate, past every queue. Thin shell.

The trades are in the oracle (serials and ids), but in neither bars nor history, and no fault
touches them on their way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .encoding import EncodingName
from .prepared import Order, Prepared, Series, prepare
from .sockets import DataSocket

if TYPE_CHECKING:
    from .server import SimServer

_LEAD_NS = 50_000_000
_WIRE_BOUND = 8 * 1024 * 1024
_MOST = 20_000_000


@dataclass(frozen=True, kw_only=True)
class BlastReport:
    """What was sent: to how many connections, how many messages each (at least), how fast."""

    connections: int
    messages: int
    seconds: float
    stalled_s: float  # waited for readers that were slower than the rate
    series: tuple[Series, ...]


async def blast(
    server: SimServer,
    symbols: Sequence[str],
    *,
    count: int,
    per_s: float,
    per_frame: int = 100,
    endpoint: str = "iex",
) -> BlastReport:
    """Prepare, then send to every connection of the endpoint that follows all these trades.

    Connections must not have negotiated compression. Raises ValueError for what cannot be.
    """
    if not 0 < count <= _MOST or per_s <= 0 or per_frame < 1 or not symbols:
        raise ValueError(f"count must be 1 to {_MOST}, per_s and per_frame positive")
    readers = _readers(server, symbols, endpoint)
    walks = [server.script.walk(symbol) for symbol in symbols]
    each = -(-count // len(walks))
    order = Order(
        walks=walks,
        first_ids=[walk.reserve_trade_ids(each) for walk in walks],
        count=count,
        per_frame=per_frame,
        per_s=per_s,
        start_ns=server.now_ns() + _LEAD_NS,
    )
    ready: dict[EncodingName, Prepared] = {}
    for encoding in {socket.reader.session.encoding for socket in readers}:
        ready[encoding.name] = await asyncio.to_thread(prepare, order, encoding)
    return await _send_all(server, readers, ready)


async def _send_all(
    server: SimServer, readers: Sequence[DataSocket], ready: Mapping[EncodingName, Prepared]
) -> BlastReport:
    loop = asyncio.get_running_loop()
    begun = loop.time()
    sendings = [_send(socket, ready[socket.reader.session.encoding.name]) for socket in readers]
    sent = await asyncio.gather(*sendings)
    series = next(iter(ready.values())).series if ready else ()
    _record(server, readers, series, [messages for messages, _ in sent])
    return BlastReport(
        connections=len(readers),
        messages=min((messages for messages, _ in sent), default=0),
        seconds=loop.time() - begun,
        stalled_s=max((stalled_s for _, stalled_s in sent), default=0.0),
        series=series,
    )


def _readers(server: SimServer, symbols: Sequence[str], endpoint: str) -> list[DataSocket]:
    readers = [
        socket
        for socket in server.data_sockets.values()
        if socket.reader.endpoint == endpoint and _follows(socket, symbols)
    ]
    if any(socket.wire.compressed for socket in readers):
        raise ValueError("prepared frames need connections without permessage-deflate")
    return readers


async def _send(socket: DataSocket, prepared: Prepared) -> tuple[int, float]:
    loop = asyncio.get_running_loop()
    start, sent, stalled = loop.time(), 0, 0.0
    for chunk in prepared.chunks:
        wait_s = start + chunk.after_ns / 1e9 - loop.time()
        if wait_s > 0.001:
            await asyncio.sleep(wait_s)
        while socket.wire.backlog() > _WIRE_BOUND:
            await asyncio.sleep(0.001)
            stalled += 0.001
        if not socket.wire.write_raw(chunk.data):
            break
        sent += chunk.messages
    return sent, stalled


def _follows(socket: DataSocket, symbols: Sequence[str]) -> bool:
    subscribed = {
        symbol
        for channel, symbol in socket.reader.session.subscriptions.entries()
        if channel == "trades"
    }
    return "*" in subscribed or subscribed.issuperset(symbols)


def _record(
    server: SimServer,
    readers: Sequence[DataSocket],
    series: Sequence[Series],
    sent: Sequence[int],
) -> None:
    # A connection that ended early got fewer, in turns over the tickers.
    oracle, tickers = server.sim.oracle, len(series)
    for index, one in enumerate(series):
        first = oracle.record_series(one.symbol, one.first_id, one.count)
        for socket, messages in zip(readers, sent, strict=True):
            count = max(0, (messages - index + tickers - 1) // tickers)
            if count:
                oracle.sent_series(socket.reader.number, one.symbol, first, count)
