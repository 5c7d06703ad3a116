"""The real stack, started once for all examples."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from alpaca.trading.client import TradingClient

from main.embedded_valkey import EmbeddedValkey
from tests.integration.examples.processes import (
    REPOSITORY,
    Process,
    RealStack,
    environment,
    real_stack,
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStack]:
    folder = tmp_path_factory.mktemp("stack")
    with EmbeddedValkey() as valkey, real_stack(valkey.port, folder) as stack:
        yield stack


@pytest.fixture
def run_example(stack: RealStack) -> Iterator[Callable[..., Process]]:
    """`run_example("print_ticker.py", "AAPL")`, as a user types it."""
    started: list[Process] = []

    def run(name: str, *arguments: str) -> Process:
        started.append(stack.start(str(REPOSITORY / "examples" / name), *arguments))
        return started[-1]

    yield run
    for process in started:
        process.end()


@pytest.fixture
def run_bus_example(tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """`run_bus_example(port, "subscribe_ticker", "AAPL")`, on the Redis of that port."""
    started: list[Process] = []

    def run(redis_port: int, name: str, *arguments: str) -> Process:
        module = f"main.utils.redis.examples.{name}"
        env = environment(REDIS_HOST="127.0.0.1", REDIS_PORT=str(redis_port))
        started.append(Process(["-m", module, *arguments], tmp_path, env))
        return started[-1]

    yield run
    for process in started:
        process.end()


@pytest.fixture
def account(stack: RealStack) -> Iterator[TradingClient]:
    client = TradingClient("local", "local-secret", raw_data=True, url_override=stack.alpaca_url)
    yield client
    client._session.close()
