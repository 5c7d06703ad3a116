"""What every test of the TickerClient needs: a played broker, a publisher, and clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from main.utils.redis.client import TickerClient
from main.utils.redis.config import RedisConfig
from main.utils.redis.messages import OrderMessage
from main.utils.redis.publisher import RedisPublisher
from tests.integration.utils.redis.conftest import Publishers, Subscribers, order
from tests.integration.utils.redis.played_broker import PlayedBroker

Clients = Callable[..., TickerClient]


@pytest.fixture
def broker(config: RedisConfig, subscriber_on: Subscribers) -> Iterator[PlayedBroker]:
    with RedisPublisher(config) as publisher:
        yield PlayedBroker(subscriber_on(config), publisher)


@pytest.fixture
def publisher(config: RedisConfig, publisher_on: Publishers) -> RedisPublisher:
    return publisher_on(config)


@pytest.fixture
def client_as(config: RedisConfig) -> Iterator[Clients]:
    """Makes clients, and closes them."""
    made: list[TickerClient] = []

    def make(client_id: str = "me", **options: Any) -> TickerClient:
        made.append(TickerClient(config, client_id, **options))
        return made[-1]

    yield make
    for client in made:
        client.close()


def own_order(number: int, client_order_id: str, **more: Any) -> OrderMessage:
    made = order(number=number)
    more = {"client_order_id": client_order_id, **more}
    return OrderMessage(
        **{name: getattr(made, name) for name in made.__struct_fields__ if name != "order_data"},
        order_data={**made.order_data, **more},
    )
