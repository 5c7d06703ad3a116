"""After Redis was emptied the order journals are whole again."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import msgspec
import pytest
import redis

from main.alpaca_broker.order_ledger import OrderLedger
from main.alpaca_broker.told_before import load_ledger
from main.utils.redis.config import RedisConfig
from main.utils.redis.errors import RedisUnavailable
from main.utils.redis.gap_tracker import Place
from main.utils.redis.journal import Journal
from main.utils.redis.messages import OrderMessage, PriceMessage, encode, rfc3339
from main.utils.redis.order_memory import OrderMemory
from main.utils.redis.publisher import RedisPublisher
from tests.integration.utils.redis.conftest import Publishers

pytestmark = pytest.mark.integration
ORDER_LOG, TICKER_LOG = "ORDER_LOG_AAPL", "TICKER_LOG_AAPL"
AT = rfc3339(time.time_ns())


def order(number: int, symbol: str = "AAPL") -> OrderMessage:
    return OrderMessage(
        symbol=symbol,
        timestamp=AT,
        event="new",
        order_data={"id": f"o{number}"},
        update={},
        account_id="a",
        paper=True,
        source="stream",
    )


def price() -> PriceMessage:
    return PriceMessage(
        symbol="AAPL",
        timestamp=AT,
        price=1.0,
        volume=1,
        feed="iex",
        last_eligible=True,
        backfilled=False,
    )


@pytest.fixture
def client(config: RedisConfig) -> Iterator[redis.Redis]:
    with closing(config.client()) as client:
        yield client


@pytest.fixture
def publisher(config: RedisConfig, publisher_on: Publishers) -> RedisPublisher:
    return publisher_on(config)


def reconnect(publisher: RedisPublisher) -> None:
    """And the first that goes out is a heartbeat."""
    publisher.reconnect()
    publisher.publish("BROKER_STATUS", {"type": "broker_status"})


def test_the_orders_of_this_epoch_are_written_again(
    client: redis.Redis, publisher: RedisPublisher
) -> None:
    publisher.publish_batch([order(1), price(), order(2), order(3, "MSFT")])
    keys = (ORDER_LOG, "ORDER_LOG_MSFT")
    before = [client.xrange(key) for key in keys]
    assert [len(entries) for entries in before] == [2, 1]  # type: ignore[arg-type]
    client.flushall()
    publisher.publish_batch([price()])
    assert [client.xrange(key) for key in keys] == before
    assert all(client.ttl(key) > 86_400 for key in keys)  # type: ignore[operator]
    client.flushall()
    publisher.restore_epoch()
    publisher.restore_epoch()
    assert [client.xrange(key) for key in keys] == before
    publisher.publish_batch([order(4)])
    assert client.xlen(ORDER_LOG) == 3


def test_the_orders_of_earlier_runs_that_were_loaded_are_written_again_too(
    config: RedisConfig, client: redis.Redis, publisher_on: Publishers
) -> None:
    first = publisher_on(config)
    first.publish_batch([order(1), order(2)])
    first.close()
    second = publisher_on(config)
    told = load_ledger(client, second.names, OrderLedger())
    assert len(told) == 2
    second.remember_orders(told)
    second.publish_batch([order(3)])
    before = client.xrange(ORDER_LOG)
    client.flushall()
    second.restore_epoch()
    assert client.xrange(ORDER_LOG) == before
    assert client.xlen(ORDER_LOG) == 3


def test_a_new_connection_to_an_empty_redis_writes_them_before_a_heartbeat_goes_out(
    client: redis.Redis, publisher: RedisPublisher
) -> None:
    publisher.publish_batch([order(1)])
    client.flushall()
    client.function_flush()
    reconnect(publisher)
    assert client.xlen(ORDER_LOG) == 1
    assert client.get("BROKER_EPOCH") == str(publisher.epoch).encode()


def test_another_primary_that_lacks_the_last_orders_gets_them_before_anything_else(
    config: RedisConfig, client: redis.Redis, publisher: RedisPublisher
) -> None:
    """A failover that was not waited for: it has the epoch, and an older journal."""
    publisher.publish_batch([order(1)])
    older = {key: client.dump(key) for key in (ORDER_LOG, TICKER_LOG)}
    publisher.publish_batch([order(2), order(3)])
    whole = client.xrange(ORDER_LOG)
    for key, value in older.items():
        client.restore(key, 0, value, replace=True)
    assert client.xlen(ORDER_LOG) == 1
    reconnect(publisher)
    assert client.xrange(ORDER_LOG) == whole
    publisher.publish_batch([order(4)])
    assert client.xlen(ORDER_LOG) == 4
    assert client.xlen(TICKER_LOG) == 2, "who was behind finds the others among orders"
    refill = Journal(config, publisher.names).refill(
        "AAPL", Place(publisher.epoch, 1), 10, frozenset()
    )
    assert [getattr(entry, "place", entry) for entry in refill.plan] == [
        Place(publisher.epoch, seq) for seq in (2, 3, 4)
    ]


def test_a_new_run_on_a_redis_that_came_back_older_gives_it_the_orders_back(
    config: RedisConfig, client: redis.Redis
) -> None:
    memory = OrderMemory()
    with RedisPublisher(config, order_memory=memory) as first:
        first.open_epoch()
        first.publish_batch([order(1)])
        older = client.dump(ORDER_LOG)
        first.publish_batch([order(2), order(3)])
        whole = client.xrange(ORDER_LOG)
    client.restore(ORDER_LOG, 0, older, replace=True)
    with RedisPublisher(config, order_memory=memory) as second:
        second.open_epoch()
        second.publish_batch([order(4)])
        assert client.xrange(ORDER_LOG)[:3] == whole  # type: ignore[index]
        assert client.xlen(ORDER_LOG) == 4


def test_who_was_superseded_writes_no_orders_at_a_reconnect(
    client: redis.Redis, publisher: RedisPublisher
) -> None:
    publisher.publish_batch([order(1)])
    client.set("BROKER_EPOCH", publisher.epoch + 1)
    client.delete(ORDER_LOG)
    reconnect(publisher)
    assert not client.exists(ORDER_LOG)


def test_orders_of_long_ago_are_not_brought_back() -> None:
    memory = OrderMemory()
    for number, age_s in ((1, 61), (2, 0)):
        moment = rfc3339(time.time_ns() - age_s * 10**9)
        told = msgspec.structs.replace(order(number), timestamp=moment)
        memory.remember(b"ORDER_LOG_AAPL", b"1-%d" % number, encode(told))
    ((commands, replies),) = memory.writes(60, newest=2)
    assert replies == 2
    assert b"1-2" in commands
    assert b"1-1" not in commands


def test_an_order_in_the_batch_that_finds_redis_empty_is_there_once(
    client: redis.Redis, publisher: RedisPublisher
) -> None:
    client.flushall()
    publisher.publish_batch([order(1), order(2)])
    assert client.xlen(ORDER_LOG) == client.xlen(TICKER_LOG) == 2


def test_an_order_whose_confirmation_was_read_early_is_written_again_too(
    client: redis.Redis, publisher: RedisPublisher
) -> None:
    publisher.publish_batch([order(1)], more=True)
    publisher.publish("ELSEWHERE", {})  # reads the batch's reply, to have the connection
    client.flushall()
    publisher.reconnect()
    publisher.publish_batch([order(2)])
    assert client.xlen(ORDER_LOG) == 2


def test_there_is_no_epoch_until_every_order_is_written_again(
    own_config: RedisConfig, publisher_on: Publishers
) -> None:
    """Who sees an epoch may conclude that what the journals lack is lost."""
    with closing(own_config.client()) as client:
        client.execute_command("ACL", "SETUSER", "broker", "on", "nopass", "+@all", "~*", "&*")
        publisher = publisher_on(replace(own_config, username="broker", password="any"))
        publisher.publish_batch([order(1)])
        client.flushall()
        client.execute_command("ACL", "SETUSER", "broker", "-xadd")
        with pytest.raises(RedisUnavailable, match="xadd"):
            publisher.restore_epoch()
        assert client.get("BROKER_EPOCH") is None
        client.execute_command("ACL", "SETUSER", "broker", "+xadd")
        publisher.restore_epoch()
        assert client.xlen(ORDER_LOG) == 1
        assert client.get("BROKER_EPOCH") == str(publisher.epoch).encode()


def test_a_foreign_value_under_a_journals_name_does_not_keep_the_broker_waiting(
    client: redis.Redis, publisher: RedisPublisher
) -> None:
    publisher.publish_batch([order(1)])
    client.flushall()
    client.set(ORDER_LOG, "not ours")
    publisher.publish_batch([order(2)])
    assert client.xlen(ORDER_LOG) == 1


def test_it_remembers_only_so_many_and_writes_each_journal_in_its_order() -> None:
    told: list[bytes] = []
    memory = OrderMemory(kept=2, on_new=lambda entry: told.append(entry[1]))
    for number in (8, 9, 10, 11):
        memory.remember(b"L", b"7-%d" % number, b'{"n":%d}' % number)
        memory.remember(b"L", b"7-%d" % number, b'{"n":%d}' % number)
    memory.replace(memory.entries()[::-1])
    ((packed, replies),) = memory.writes(60)
    assert (len(memory), replies) == (2, 3)
    first, second = packed.index(b"$4\r\n7-10\r\n$1\r\nm\r\n$8"), packed.index(b"7-11")
    assert first < second
    assert packed.count(b"XADD") == 2
    assert packed.endswith(b"*3\r\n$6\r\nEXPIRE\r\n$1\r\nL\r\n$2\r\n60\r\n")
    assert told == [b"7-8", b"7-9", b"7-10", b"7-11"]
