"""`async for message in client.follow(…)`, on a real Valkey, with a broker that is played."""

from __future__ import annotations

import asyncio
import time

import pytest

from main.utils.redis.client import TickerClient
from main.utils.redis.config import RedisConfig
from main.utils.redis.errors import RegistrationRejected
from main.utils.redis.publisher import RedisPublisher
from main.utils.redis.stream import Stream
from tests.integration.utils.redis.conftest import price
from tests.integration.utils.redis.played_broker import PlayedBroker

pytestmark = pytest.mark.integration


async def numbers(stream: Stream, count: int) -> list[tuple[str, int]]:
    found = []
    async for message in stream:
        found.append((message.symbol, message.seq))
        if len(found) == count:
            break
    return found


async def until_followed(client: TickerClient, *tickers: str) -> None:
    while set(client.tickers) != set(tickers):
        await asyncio.sleep(0.005)


def test_each_task_has_its_own_stream_over_the_one_reader(
    broker: PlayedBroker, publisher: RedisPublisher, config: RedisConfig
) -> None:
    async def main() -> None:
        async with TickerClient(config, "me") as client:
            tasks = [
                asyncio.create_task(numbers(client.follow("AAPL"), 2)),
                asyncio.create_task(numbers(client.follow("MSFT", from_last=True), 2)),
            ]
            await until_followed(client, "AAPL", "MSFT")
            while broker.asked().total() < 2:
                await asyncio.sleep(0.005)
            publisher.publish_batch([price("AAPL", 1), price("MSFT", 1)])
            publisher.publish_batch([price("AAPL", 2), price("MSFT", 2)])
            found = await asyncio.wait_for(asyncio.gather(*tasks), 10)
            assert found == [[("AAPL", 1), ("AAPL", 2)], [("MSFT", 1), ("MSFT", 2)]]

    asyncio.run(main())
    assert broker.asked()["unsubscribe", "AAPL"] == 1


def test_a_rejection_is_raised_by_the_first_step(broker: PlayedBroker, config: RedisConfig) -> None:
    async def main() -> None:
        async with TickerClient(config, "me") as client:
            stream = client.follow("BAD")
            with pytest.raises(RegistrationRejected, match="unknown_ticker"):
                await anext(stream)

    asyncio.run(main())


def test_the_event_loop_is_never_blocked_by_a_broker_that_is_away(config: RedisConfig) -> None:
    async def main() -> float:
        longest, before = 0.0, time.monotonic()
        async with TickerClient(config, "me") as client:
            step = asyncio.ensure_future(anext(client.follow("AAPL")))
            while not client.broker.away:
                await asyncio.sleep(0.01)
                longest, before = max(longest, time.monotonic() - before), time.monotonic()
            step.cancel()
        return longest

    assert asyncio.run(main()) < 1.5  # it waits 3 s for a heartbeat


def test_a_stream_that_is_always_full_lets_other_tasks_run(
    broker: PlayedBroker, publisher: RedisPublisher, config: RedisConfig
) -> None:
    async def main() -> None:
        turns = 0
        async with TickerClient(config, "me") as client:
            stream = client.follow("AAPL")
            first = asyncio.ensure_future(anext(stream))
            await until_followed(client, "AAPL")
            publisher.publish_batch([price(number=n) for n in range(1, 1_001)])
            await asyncio.wait_for(first, 10)
            while len(stream.handler.queue) < 999:
                await asyncio.sleep(0.005)

            async def others() -> None:
                nonlocal turns
                while True:
                    turns += 1
                    await asyncio.sleep(0)

            other = asyncio.create_task(others())
            await numbers(stream, 999)
            other.cancel()
        assert turns >= 5

    asyncio.run(main())


def test_closing_ends_the_loop_after_what_was_received(
    broker: PlayedBroker, publisher: RedisPublisher, config: RedisConfig
) -> None:
    async def main() -> list[int]:
        client = TickerClient(config, "me")
        async with client:
            stream = client.follow("AAPL", from_last=True)
            publisher.publish_batch([price(number=n) for n in range(1, 11)])
            first = await anext(stream)
        return [first.seq, *[message.seq async for message in stream]]

    assert asyncio.run(main()) == [10]


def test_a_cancelled_step_loses_nothing(
    broker: PlayedBroker, publisher: RedisPublisher, config: RedisConfig
) -> None:
    async def main() -> None:
        async with TickerClient(config, "me") as client:
            stream = client.follow("AAPL")
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.5):
                    await anext(stream)
            await until_followed(client, "AAPL")
            publisher.publish_batch([price()])
            assert await asyncio.wait_for(numbers(stream, 1), 10) == [("AAPL", 1)]

    asyncio.run(main())
