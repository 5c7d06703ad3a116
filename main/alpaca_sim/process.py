"""The local Alpaca as a process of its own: runs until it is told to end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable

from .config import SimAddress, SimConfig
from .server import SimServer


def run_forever(config: SimConfig, on_ready: Callable[[SimAddress], None]) -> None:
    """Serve until SIGINT or SIGTERM, then end cleanly. `on_ready` is told where it listens.

    Call it from the main thread. Raises OSError if the port is taken.
    """
    asyncio.run(_serve(config, on_ready))


async def _serve(config: SimConfig, on_ready: Callable[[SimAddress], None]) -> None:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    server = SimServer(config)
    try:
        on_ready(await server.start())
        await ended.wait()
    finally:
        await server.stop()
