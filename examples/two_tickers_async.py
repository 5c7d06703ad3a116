"""How far one ticker moves beside another, with asyncio: one task a ticker, one connection.

    python examples/two_tickers_async.py AAPL MSFT

Needs a running broker: `make demo`, `tickerbus up` or `tickerbus broker`. Ctrl-C ends it.
"""

import asyncio
import contextlib
import os
import sys

from tickerbus import PriceMessage, TickerClient

first, second = sys.argv[1:3] if len(sys.argv) > 2 else ("AAPL", "MSFT")
last: dict[str, float] = {}


async def keep_last(client: TickerClient, ticker: str) -> None:
    async for message in client.follow(ticker, from_last=True):
        if isinstance(message, PriceMessage) and message.last_eligible:
            last[message.symbol] = message.price


async def main() -> None:
    async with TickerClient.from_env(client_id=f"two-tickers-{os.getpid()}") as client:
        tasks = [asyncio.create_task(keep_last(client, ticker)) for ticker in (first, second)]
        before: float | None = None
        while not any(task.done() for task in tasks):
            await asyncio.sleep(0.5)
            if len(last) == 2 and (ratio := last[first] / last[second]) != before:
                print(f"{first}/{second} {ratio:.5f}", flush=True)
                before = ratio
        await asyncio.gather(*tasks)  # a rejected ticker says so here


with contextlib.suppress(KeyboardInterrupt):
    asyncio.run(main())
