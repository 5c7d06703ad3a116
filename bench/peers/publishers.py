"""From Alpaca to Redis, written with other tools. None of them journals, but for cryptofeed.

Each is a worker that says "ready" once it is subscribed. Trades are published on the tickers' own
channels, as JSON with the fields that Alpaca sent.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections.abc import Callable, Sequence
from decimal import Decimal
from multiprocessing.connection import Connection
from typing import Any

import redis
import redis.asyncio

from .frames import frames, frames_asyncio


def channel_of(ticker: str) -> str:
    return f"TICKER_UPDATES_{ticker}"


def handwritten_raw(pipe: Connection, url: str, port: int, tickers: Sequence[str]) -> None:
    """alpaca-py in raw mode, `json.dumps`, `redis.publish`: what one writes first."""
    client = redis.Redis(port=port)

    async def on_trade(trade: Any) -> None:
        client.publish(channel_of(trade["S"]), json.dumps(trade, default=str))

    _run_alpaca_py(pipe, url, tickers, on_trade, raw=True)


def handwritten_parsed(pipe: Connection, url: str, port: int, tickers: Sequence[str]) -> None:
    """The same with alpaca-py's models, its default."""
    client = redis.Redis(port=port)

    async def on_trade(trade: Any) -> None:
        body = {
            "S": trade.symbol,
            "i": trade.id,
            "x": trade.exchange,
            "p": trade.price,
            "s": trade.size,
            "c": trade.conditions,
            "t": trade.timestamp.isoformat(),
            "z": trade.tape,
        }
        client.publish(channel_of(trade.symbol), json.dumps(body))

    _run_alpaca_py(pipe, url, tickers, on_trade, raw=False)


def _run_alpaca_py(
    pipe: Connection, url: str, tickers: Sequence[str], handler: Callable[..., Any], *, raw: bool
) -> None:
    from alpaca.data.live import StockDataStream  # noqa: PLC0415  (0.6 s, here only)

    stream = StockDataStream(
        "local",
        "local-secret",
        raw_data=raw,
        url_override=url,
        websocket_params={"compression": None, "max_size": None, "max_queue": 1024},
    )
    stream.subscribe_trades(handler, *tickers)
    _say_ready_later(pipe)
    stream.run()


def _say_ready_later(pipe: Connection) -> None:
    """alpaca-py has no word for it: signed in and subscribed long before this."""
    timer = threading.Timer(2.0, pipe.send, ("ready",))
    timer.daemon = True
    timer.start()


def redis_py_pipeline(pipe: Connection, url: str, port: int, tickers: Sequence[str]) -> None:
    """redis-py with hiredis: one pipeline for each frame."""
    client = redis.Redis(port=port)
    for trades in frames(url, tickers):
        if not trades:
            pipe.send("ready")
            continue
        with client.pipeline(transaction=False) as commands:
            for trade in trades:
                commands.publish(channel_of(trade["S"]), json.dumps(trade, default=str))
            commands.execute()


def redis_asyncio(pipe: Connection, url: str, port: int, tickers: Sequence[str]) -> None:
    """redis.asyncio on uvloop: one publish for each message."""

    async def run() -> None:
        client = redis.asyncio.Redis(port=port)
        async for trades in frames_asyncio(url, tickers):
            if not trades:
                pipe.send("ready")
            for trade in trades:
                await client.publish(channel_of(trade["S"]), json.dumps(trade, default=str))

    _run_on_uvloop(run())


def faststream(pipe: Connection, url: str, port: int, tickers: Sequence[str]) -> None:
    """FastStream's Redis broker on uvloop, with its pipeline: one for each frame."""
    from faststream.redis import RedisBroker  # noqa: PLC0415

    async def run() -> None:
        broker = RedisBroker(f"redis://127.0.0.1:{port}", logger=None)
        await broker.connect()
        client = redis.asyncio.Redis(port=port)
        async for trades in frames_asyncio(url, tickers):
            if not trades:
                pipe.send("ready")
                continue
            async with client.pipeline(transaction=False) as commands:
                for trade in trades:
                    body = json.dumps(trade, default=str)
                    await broker.publish(body, channel_of(trade["S"]), pipeline=commands)
                await commands.execute()

    _run_on_uvloop(run())


def cryptofeed(pipe: Connection, url: str, port: int, tickers: Sequence[str]) -> None:
    """cryptofeed's TradeStream backend (XADD, its own queue and pipelining writer) on uvloop.

    It publishes nothing and numbers nothing; its journal is the stream. It still imports aioredis,
    which does not run on Python 3.11 and lives on as redis.asyncio, so it gets that.
    """
    sys.modules["aioredis"] = redis.asyncio
    from cryptofeed.backends.redis import TradeStream  # noqa: PLC0415

    async def run() -> None:
        backend = TradeStream(port=port)
        backend.start(asyncio.get_running_loop())
        async for trades in frames_asyncio(url, tickers):
            if not trades:
                pipe.send("ready")
            for trade in trades:
                at_s = trade["t"].to_unix()
                await backend(
                    feed="ALPACA",
                    symbol=trade["S"],
                    side="buy",
                    amount=Decimal(str(trade["s"])),
                    price=Decimal(str(trade["p"])),
                    order_id=str(trade["i"]),
                    timestamp=at_s,
                    receipt_timestamp=at_s,
                )

    _run_on_uvloop(run())


def _run_on_uvloop(main: Any) -> None:
    import uvloop  # noqa: PLC0415

    uvloop.run(main)
