"""What journals keep, by age, on a real Valkey."""

from __future__ import annotations

import time
from typing import Any

from main.alpaca_broker.housekeeping import Housekeeping
from main.utils.redis.config import RedisConfig
from main.utils.redis.constants import CHANNELS
from main.utils.redis.messages import OrderMessage, encode, rfc3339

DAY_NS = 86_400 * 10**9


def order(days_old: float) -> bytes:
    message = OrderMessage(
        symbol="AAPL",
        timestamp=rfc3339(time.time_ns() - int(days_old * DAY_NS)),
        event="fill",
        order_data={},
        update={},
        account_id="a",
        paper=True,
        source="stream",
    )
    return encode(message)


def ids(client: Any, key: str) -> list[bytes]:
    return [entry_id for entry_id, _ in client.xrange(key)]


def test_orders_older_than_the_bound_are_trimmed_though_their_run_goes_on(
    redis_config: RedisConfig,
) -> None:
    client, key = redis_config.client(), CHANNELS.order_log("AAPL")
    for seq, age in enumerate((9, 8, 6.9, 1), start=1):
        client.xadd(key, {"m": order(age)}, id=f"5-{seq}")
    Housekeeping(client, CHANNELS, 7, list).keep()
    assert ids(client, key) == [b"5-3", b"5-4"]
    client.close()


def test_a_journal_that_holds_only_young_orders_stays_whole(redis_config: RedisConfig) -> None:
    client, key = redis_config.client(), CHANNELS.order_log("AAPL")
    for seq in range(1, 401):  # more than a page
        client.xadd(key, {"m": order(1)}, id=f"5-{seq}")
    Housekeeping(client, CHANNELS, 7, list).keep()
    assert len(ids(client, key)) == 400
    client.close()


def test_what_cannot_be_read_is_kept(redis_config: RedisConfig) -> None:
    client, key = redis_config.client(), CHANNELS.order_log("AAPL")
    client.xadd(key, {"m": order(9)}, id="5-1")
    client.xadd(key, {"m": b"no message"}, id="5-2")
    client.xadd(key, {"m": order(9)}, id="5-3")
    Housekeeping(client, CHANNELS, 7, list).keep()
    assert ids(client, key) == [b"5-2", b"5-3"]
    client.close()


def test_the_journal_of_a_ticker_that_was_left_ends_and_a_followed_one_does_not(
    redis_config: RedisConfig,
) -> None:
    client = redis_config.client()
    left, followed = CHANNELS.ticker_log("MSFT"), CHANNELS.ticker_log("AAPL")
    for key in (left, followed):
        client.xadd(key, {"m": "{}"}, id="5-1")
    client.expire(followed, 100)  # it was left once, and is followed again
    Housekeeping(client, CHANNELS, 7, lambda: ["AAPL"]).keep()
    assert client.ttl(left) > 6 * 86_400
    assert client.ttl(followed) == -1
    client.close()


def test_it_works_once_an_hour(redis_config: RedisConfig) -> None:
    client, key = redis_config.client(), CHANNELS.order_log("AAPL")
    keeper = Housekeeping(client, CHANNELS, 7, list)
    keeper.keep()
    client.xadd(key, {"m": order(9)}, id="5-1")
    client.xadd(key, {"m": order(1)}, id="5-2")
    keeper.keep()
    assert len(ids(client, key)) == 2
    client.close()
