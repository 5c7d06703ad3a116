"""A real Valkey, a publisher that stands for the broker, and bridges on threads."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from main.events_bridge import BridgeConfig, EventsBridge
from main.trade_events import RedisEventBus
from main.utils.redis.config import RedisConfig
from main.utils.redis.messages import OrderMessage
from main.utils.redis.publisher import RedisPublisher
from tests.unit.order_events.test_maker import fill, message, order_data

__all__ = ["fill", "message", "order_data"]


class RunningBridge:
    """`run` on a thread of its own."""

    def __init__(self, config: RedisConfig, **options: Any) -> None:
        self.bridge = EventsBridge(BridgeConfig(redis=config, look_every_s=0.1, **options))
        self.failure: Exception | None = None
        self._opened = threading.Event()
        self._thread = threading.Thread(target=self._run, name="bridge-under-test")
        self._thread.start()
        assert self._opened.wait(10)

    def _run(self) -> None:
        try:
            with self.bridge:
                self._opened.set()
                self.bridge.run()
        except Exception as error:
            self.failure = error

    @property
    def ended(self) -> bool:
        return not self._thread.is_alive()

    def stop(self) -> None:
        self.bridge.stop()
        self._thread.join(10)
        assert self.ended, "the bridge did not end within 10 s"
        if self.failure is not None:
            raise self.failure


StartBridge = Callable[..., RunningBridge]


@pytest.fixture
def start_bridge(redis_config: RedisConfig) -> Iterator[StartBridge]:
    running: list[RunningBridge] = []

    def start(**options: Any) -> RunningBridge:
        running.append(RunningBridge(redis_config, **options))
        return running[-1]

    yield start
    for each in running:
        each.stop()


@pytest.fixture
def publisher(redis_config: RedisConfig) -> Iterator[RedisPublisher]:
    """What the broker's order producer does with a message."""
    publisher = RedisPublisher(redis_config)
    publisher.open_epoch()
    yield publisher
    publisher.close()


@pytest.fixture
def bus(redis_config: RedisConfig) -> Iterator[RedisEventBus]:
    with RedisEventBus(redis_config) as bus:
        yield bus


def tell(publisher: RedisPublisher, *messages: OrderMessage) -> None:
    publisher.publish_batch(list(messages))


def kinds(bus: RedisEventBus) -> list[str]:
    """What stands in the log, in its order."""
    return [event.event_type.value for event in bus.replay(None)]


def counts(bus: RedisEventBus) -> Counter[str]:
    return Counter(kinds(bus))
