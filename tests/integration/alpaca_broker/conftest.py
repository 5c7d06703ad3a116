"""A real Valkey, a local Alpaca over real sockets, and the broker in this process."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack

import pytest

from main.alpaca_broker import AlpacaBroker
from main.alpaca_sim import LocalAlpaca, MarketRules, SimConfig, StreamRules
from main.utils.redis.config import RedisConfig
from tests.integration.alpaca_broker.bench import Bus, broker_config

StartBroker = Callable[..., AlpacaBroker]


@pytest.fixture
def sim() -> Iterator[LocalAlpaca]:
    """A market where nothing happens by itself, without limits on how often it is asked."""
    with quiet_market() as running:
        yield running


def quiet_market(**streams: object) -> LocalAlpaca:
    rules = {"handshake_limit": 0, "zombie_slot_s": 0.5} | streams
    return LocalAlpaca(
        SimConfig(
            tickers=("ZZZZ",),
            market=MarketRules(default_rate=0),
            streams=StreamRules(**rules),  # type: ignore[arg-type]
            trading_rest_limit=0,
            data_rest_limit=0,
        )
    )


@pytest.fixture
def new_broker(sim: LocalAlpaca, redis_config: RedisConfig) -> Iterator[StartBroker]:
    """`new_broker(**settings)`, not started; ended with the test, if the test did not."""
    with ExitStack() as stack:

        def make(alpaca: LocalAlpaca = sim, **settings: object) -> AlpacaBroker:
            broker = AlpacaBroker(broker_config(redis_config, alpaca.address, **settings))
            stack.callback(lambda: broker.state == "STOPPED" or broker.stop())
            return broker

        yield make


@pytest.fixture
def start_broker(new_broker: StartBroker) -> StartBroker:
    """The same, started."""

    def start(*alpaca: LocalAlpaca, **settings: object) -> AlpacaBroker:
        broker = new_broker(*alpaca, **settings)
        broker.start()
        return broker

    return start


@pytest.fixture
def broker(start_broker: StartBroker) -> AlpacaBroker:
    return start_broker()


@pytest.fixture
def bus(redis_config: RedisConfig) -> Iterator[Bus]:
    """A plain client of the bus."""
    with Bus(redis_config) as client:
        yield client
