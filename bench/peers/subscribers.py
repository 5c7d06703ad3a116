"""Readers of ticker channels, written with other tools: workers that count and check."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from multiprocessing.connection import Connection
from typing import Any

import redis
import redis.asyncio

from ..worker import requests
from .publishers import channel_of


class Tally:
    """How many messages came, and whether each ticker's `seq` counts up by one within a run."""

    def __init__(self) -> None:
        self._seen, self._seqs, self._fault = 0, dict[str, int](), ""

    def note(self, symbol: str, seq: int) -> None:
        if seq not in (1, self._seqs.get(symbol, 0) + 1):
            self._fault = f"{symbol}: {seq} after {self._seqs.get(symbol)}"
        self._seqs[symbol] = seq
        self._seen += 1

    def note_body(self, body: dict[str, Any]) -> None:
        self.note(body["symbol"], body["seq"])

    def is_done(self, count: int) -> tuple[float, str] | None:
        """When the run ended and what was wrong with it; None while it has not."""
        if self._seen < count:
            return None
        found = (time.monotonic(), self._fault or ("too many" if self._seen > count else ""))
        self._seen, self._fault = 0, ""
        return found

    def wait_for(self, count: int, timeout_s: float = 60.0) -> tuple[float, str]:
        """The same, from another thread."""
        deadline = time.monotonic() + timeout_s
        while (found := self.is_done(count)) is None:
            if time.monotonic() > deadline:
                return time.monotonic(), f"{self._seen} of {count} came. {self._fault}"
            time.sleep(0.01)
        return found


def redis_py_listen(pipe: Connection, port: int, tickers: Sequence[str]) -> None:
    """`for message in pubsub.listen()`, hiredis, `json.loads`."""
    pubsub = redis.Redis(port=port, socket_timeout=None).pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(*map(channel_of, tickers))
    tally, messages = Tally(), pubsub.listen()
    for (count,) in requests(pipe):
        while (found := tally.is_done(count)) is None:
            tally.note_body(json.loads(next(messages)["data"]))
        pipe.send(found)


def redis_py_get_message(pipe: Connection, port: int, tickers: Sequence[str]) -> None:
    """`pubsub.get_message(timeout=1)` in a loop."""
    pubsub = redis.Redis(port=port, socket_timeout=None).pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(*map(channel_of, tickers))
    tally = Tally()
    for (count,) in requests(pipe):
        while (found := tally.is_done(count)) is None:
            if (message := pubsub.get_message(timeout=1)) is not None:
                tally.note_body(json.loads(message["data"]))
        pipe.send(found)


def redis_asyncio(pipe: Connection, port: int, tickers: Sequence[str]) -> None:
    """redis.asyncio's `listen()` on uvloop."""

    async def run() -> None:
        client = redis.asyncio.Redis(port=port, socket_timeout=None)
        pubsub = client.pubsub(ignore_subscribe_messages=True)
        await pubsub.subscribe(*map(channel_of, tickers))
        tally, messages = Tally(), pubsub.listen()
        pipe.send("ready")
        while True:
            (count,) = await asyncio.to_thread(pipe.recv)
            while (found := tally.is_done(count)) is None:
                tally.note_body(json.loads((await anext(messages))["data"]))
            pipe.send(found)

    _run_on_uvloop(run())


def faststream(pipe: Connection, port: int, tickers: Sequence[str]) -> None:
    """FastStream's subscriber on uvloop: it decodes the JSON itself."""
    from faststream.redis import PubSub, RedisBroker  # noqa: PLC0415

    async def run() -> None:
        broker, tally = RedisBroker(f"redis://127.0.0.1:{port}", logger=None), Tally()

        async def on_message(body: dict[str, Any]) -> None:
            tally.note_body(body)

        for ticker in tickers:
            broker.subscriber(channel=PubSub(channel_of(ticker), polling_interval=0.01))(on_message)
        await broker.start()
        await asyncio.sleep(1)
        pipe.send("ready")
        while True:
            (count,) = await asyncio.to_thread(pipe.recv)
            pipe.send(await asyncio.to_thread(tally.wait_for, count))

    _run_on_uvloop(run())


def _run_on_uvloop(main: Any) -> None:
    import uvloop  # noqa: PLC0415

    uvloop.run(main)
