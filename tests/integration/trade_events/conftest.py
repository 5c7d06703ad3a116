"""A Valkey and, where it is installed, a Redis 7.0; buses on them; threads that listen."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Iterator
from typing import Any
from unittest.mock import patch

import pytest

from main.embedded_valkey import EmbeddedValkey
from main.trade_events import RedisEventBus, TradeEvent
from main.utils.redis.config import RedisConfig
from tests.conftest import wait_for

Buses = Callable[..., RedisEventBus]
KINDS = ("valkey", "redis-server")


def start_server(kind: str, *arguments: str) -> EmbeddedValkey:
    """A server on loopback, keeping nothing on disk unless `arguments` say so."""
    server = EmbeddedValkey(None, *arguments)
    if kind == "valkey":
        server.start()
        return server
    path = shutil.which("redis-server")
    if path is None:
        pytest.skip("no redis-server on PATH: `make redis-server` installs it as root")
    with patch("main.embedded_valkey.find_server", return_value=path):
        server.start()
    return server


@pytest.fixture(scope="session", params=KINDS)
def trade_server(request: pytest.FixtureRequest) -> Iterator[EmbeddedValkey]:
    """Both, one after the other: whatever uses this is shown on both."""
    server = start_server(request.param)
    yield server
    server.stop()


def emptied(server: EmbeddedValkey) -> RedisConfig:
    config = RedisConfig(host="127.0.0.1", port=server.port)
    client = config.client()
    client.flushall()
    client.function_flush()
    client.close()
    return config


@pytest.fixture
def config(trade_server: EmbeddedValkey) -> RedisConfig:
    """For a server that is empty, without functions too."""
    return emptied(trade_server)


@pytest.fixture
def buses() -> Iterator[Buses]:
    """Makes buses, and closes them."""
    made: list[RedisEventBus] = []

    def make(config: RedisConfig, **options: Any) -> RedisEventBus:
        # A loaded machine is slow, but not away.
        made.append(RedisEventBus(config, **{"publish_timeout_s": 20.0, **options}))
        return made[-1]

    yield make
    for bus in made:
        bus.close()


@pytest.fixture
def bus(config: RedisConfig, buses: Buses) -> RedisEventBus:
    return buses(config)


@pytest.fixture
def in_thread() -> Iterator[Callable[..., threading.Thread]]:
    """Runs a call in a thread; at the end, the test must have told it to end."""
    started: list[threading.Thread] = []

    def run(call: Callable[..., Any], *arguments: Any, **named: Any) -> threading.Thread:
        thread = threading.Thread(target=call, args=arguments, kwargs=named, daemon=True)
        started.append(thread)
        thread.start()
        return thread

    yield run
    for thread in started:
        thread.join(10)
        assert not thread.is_alive(), "not told to end"


@pytest.fixture
def listening(
    config: RedisConfig, buses: Buses, in_thread: Callable[..., threading.Thread]
) -> Iterator[RedisEventBus]:
    """A second bus that listens."""
    bus = buses(config)
    in_thread(bus.listen)
    yield bus
    bus.stop()


class Heard:
    """A handler that keeps what it got."""

    def __init__(self) -> None:
        self.events: list[TradeEvent] = []

    def __call__(self, event: TradeEvent) -> None:
        self.events.append(event)

    def __len__(self) -> int:
        return len(self.events)

    @property
    def ids(self) -> list[str]:
        return [event.event_id for event in self.events]

    @property
    def types(self) -> list[str]:
        return [event.event_type.value for event in self.events]

    def wait(self, count: int, timeout_s: float = 20.0) -> list[TradeEvent]:
        wait_for(lambda: len(self.events) >= count, timeout_s, f"{count} events")
        return self.events


@pytest.fixture
def heard() -> Heard:
    return Heard()
