"""Whole frames from Alpaca for the peers that have no client of their own: `websockets` and the C
MessagePack decoder, as alpaca-py itself uses them, but without a callback for each message."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any

import msgpack
from websockets.asyncio.client import connect as connect_asyncio
from websockets.sync.client import connect

HEADERS = {"Content-Type": "application/msgpack"}
SIGN_IN = msgpack.packb({"action": "auth", "key": "local", "secret": "local-secret"})
OPTIONS: dict[str, Any] = {"compression": None, "max_size": None, "additional_headers": HEADERS}


def subscription(tickers: Sequence[str]) -> bytes:
    return msgpack.packb({"action": "subscribe", "trades": list(tickers)})


def frames(url: str, tickers: Sequence[str]) -> Iterator[list[dict[str, Any]]]:
    """The trades of each frame; the first is empty: subscribed."""
    with connect(url, ping_interval=None, **OPTIONS) as socket:
        socket.recv()
        for request in (SIGN_IN, subscription(tickers)):
            socket.send(request)
            socket.recv()
        yield []
        for frame in socket:
            yield msgpack.unpackb(frame)


async def frames_asyncio(url: str, tickers: Sequence[str]) -> AsyncIterator[list[dict[str, Any]]]:
    """The same in asyncio."""
    async with connect_asyncio(url, ping_interval=None, **OPTIONS) as socket:
        await socket.recv()
        for request in (SIGN_IN, subscription(tickers)):
            await socket.send(request)
            await socket.recv()
        yield []
        async for frame in socket:
            yield msgpack.unpackb(frame)
