"""A plain address that moves: the old server stays, as a replica, and answers READONLY."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import redis

from main.alpaca_broker import AlpacaBroker
from main.alpaca_broker.leadership import Leadership, Standing
from main.alpaca_broker.lease_store import LeaseStore
from main.alpaca_broker.registry import Holding
from main.alpaca_sim import LocalAlpaca
from main.embedded_valkey import EmbeddedValkey
from main.utils.redis.config import RedisConfig
from main.utils.redis.constants import CHANNELS
from main.utils.redis.messages import OrderMessage
from main.utils.redis.publisher import RedisPublisher
from main.utils.redis.registration import RegistrationClient
from main.utils.redis.subscriber import RedisSubscriber
from tests.conftest import wait_for
from tests.faults.cable import Cable
from tests.integration.alpaca_broker.bench import Bus, broker_config
from tests.integration.utils.redis.conftest import order

pytestmark = pytest.mark.integration


class Moving:
    """An address that leads to `old`, and after `move` to `new`; connections that are open stay."""

    def __init__(self, old: EmbeddedValkey, new: EmbeddedValkey, cable: Cable) -> None:
        self.old, self.new, self._cable = old, new, cable
        self.config = RedisConfig(host="127.0.0.1", port=cable.port)

    def move(self) -> None:
        self._cable.target = self.new.port
        with redis.Redis(port=self.old.port) as client:
            client.replicaof("127.0.0.1", self.new.port)


@pytest.fixture
def moving(own_valkey: EmbeddedValkey) -> Iterator[Moving]:
    at_once = ("--shutdown-timeout", "0")  # it need not wait for its replica
    with EmbeddedValkey(None, *at_once) as new, Cable("redis", own_valkey.port) as cable:
        yield Moving(own_valkey, new, cable)


def lease_writer(client: redis.Redis) -> Callable[[], Any]:
    held = Holding(ticker="AAPL", client_id="s1", until_ms=None)
    return lambda: LeaseStore(client, CHANNELS).write([held], [])


def leader(client: redis.Redis) -> Callable[[], Any]:
    leadership = Leadership(client, CHANNELS, "account")

    def keep() -> None:
        assert leadership.renew() in (Standing.OWNER, Standing.RETAKEN)

    return keep


def reconciler(client: redis.Redis) -> Callable[[], Any]:
    return lambda: client.set(CHANNELS.BROKER_RECONCILED, "2026-11-21T00:00:00Z")


@pytest.mark.parametrize("user", [lease_writer, leader, reconciler])
def test_who_hears_readonly_goes_where_the_primary_is(
    moving: Moving, user: Callable[[redis.Redis], Callable[[], Any]]
) -> None:
    with closing(moving.config.client()) as client, redis.Redis(port=moving.new.port) as there:
        write = user(client)
        write()
        moving.move()
        with pytest.raises(redis.RedisError):
            write()
        write()
        assert there.dbsize() == 1


def test_the_publisher_loses_nothing_and_publishes_nothing_on_the_replica(moving: Moving) -> None:
    with (
        RedisPublisher(moving.config) as publisher,
        redis.Redis(port=moving.new.port) as there,
    ):
        publisher.open_epoch()
        publisher.publish_batch([order(number=1)])
        moving.move()
        publisher.publish_batch([order(number=2)])
        assert publisher.counters["reconnects"] == 1
        # The new primary had none of the first one's orders: they are written there again.
        entries: Any = there.xrange(CHANNELS.order_log("AAPL"))
        numbers = [json.loads(fields[b"m"])["order_data"]["id"] for _, fields in entries]
        assert numbers == ["order-1", "order-2"]


def test_a_broker_without_traffic_notices_that_its_primary_is_demoted(
    moving: Moving, sim: LocalAlpaca
) -> None:
    """A heartbeat alone would never be refused: publishing is allowed on a replica."""
    broker = AlpacaBroker(broker_config(moving.config, sim.address))
    broker.start()
    try:
        moving.move()
        there = RedisConfig(host="127.0.0.1", port=moving.new.port)
        with Bus(there) as bus, RegistrationClient(there, "s1") as client:
            bus.status(lambda status: status["state"] == "RUNNING")
            assert client.register(["AAPL"])[0].status == "accepted"
            bus.listen("TICKER_UPDATES_AAPL")
            sim.trade("AAPL", 101.0)
            bus.wait_for_trades("AAPL", 1)
    finally:
        broker.stop()


def test_a_subscriber_left_behind_on_a_server_that_tells_nothing_looks_for_the_primary(
    own_valkey: EmbeddedValkey,
) -> None:
    """Its connection stays alive, and pings are answered: only the heartbeat is missing."""
    with (
        EmbeddedValkey(None) as new,
        Cable("redis", own_valkey.port) as cable,
        RedisSubscriber(RedisConfig(host="127.0.0.1", port=cable.port)) as subscriber,
    ):
        heard: list[Any] = []
        subscriber.subscribe(CHANNELS.get_ticker_channel("AAPL"), heard.append)
        subscriber.start_listening()
        with closing(redis.Redis(port=own_valkey.port)) as client:
            client.publish(CHANNELS.BROKER_STATUS, '{"type":"broker_status","epoch":1}')
        cable.target = new.port  # connections that are open stay where they are
        with RedisPublisher(RedisConfig(host="127.0.0.1", port=new.port)) as publisher:
            publisher.open_epoch()
            publisher.publish_batch([order(number=1)])
            wait_for(lambda: any(isinstance(one, OrderMessage) for one in heard), 10)
