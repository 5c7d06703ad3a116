"""Durable consumers: every event at least once per group, and nothing forgotten in silence."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import redis

from main.trade_events import InvalidTradeEvent, RedisEventBus, TradeEvent
from main.utils.redis.config import RedisConfig
from tests.conftest import wait_for
from tests.integration.trade_events.conftest import Buses, Heard, start_server

pytestmark = pytest.mark.integration

InThread = Callable[..., threading.Thread]


def sig(number: int, symbol: str = "A") -> TradeEvent:
    return TradeEvent.create_signal_validated(symbol, number)


def numbers(heard: Heard) -> list[int]:
    return [int(event.data["signal_id"]) for event in heard.events]


@pytest.fixture
def quick(bus: RedisEventBus) -> RedisEventBus:
    """With short waits."""
    bus.configure(claim_idle_ms=300, retry_after_ms=50, max_deliveries=3)
    return bus


def test_a_group_gets_every_event_of_every_symbol_and_shares_them(
    quick: RedisEventBus, config: RedisConfig, buses: Buses, in_thread: InThread
) -> None:
    one, other, alone = Heard(), Heard(), Heard()
    consumer = buses(config)
    quick.publish(sig(0, "BEFORE"))
    for group, name, heard in (("g", "1", one), ("g", "2", other), ("h", "1", alone)):
        in_thread(consumer.consume, group, name, heard, start="oldest", batch=4)
    wait_for(lambda: len(quick.config().groups) == 2)
    quick.publish_many(sig(number, f"S{number % 7}") for number in range(1, 500))
    quick.publish(TradeEvent.create_order_cancelled("X", "9"))
    alone.wait(501)
    wait_for(lambda: len(one) + len(other) >= 501)
    consumer.stop()
    assert sorted(one.ids + other.ids) == sorted(alone.ids)
    assert len(set(alone.ids)) == 501
    assert alone.events[-1].anomaly == "unknown_order"


@pytest.mark.parametrize(
    ("start", "expected"), [("new", [3]), ("oldest", [1, 2, 3]), ("id", [2, 3])]
)
def test_a_new_group_begins_where_it_is_told(
    bus: RedisEventBus,
    config: RedisConfig,
    buses: Buses,
    in_thread: InThread,
    heard: Heard,
    start: str,
    expected: list[int],
) -> None:
    receipts = bus.publish_many([sig(1), sig(2)])
    consumer = buses(config)
    place = str(receipts[0].log_id) if start == "id" else start
    in_thread(consumer.consume, "g", "c", heard, start=place)
    wait_for(lambda: bus.config().groups == ("g",))
    bus.publish(sig(3))
    heard.wait(len(expected))
    consumer.stop()
    assert numbers(heard) == expected


def test_a_consumer_that_comes_back_goes_on_where_it_was(
    quick: RedisEventBus, config: RedisConfig, buses: Buses, in_thread: InThread, heard: Heard
) -> None:
    for first in (0, 10, 20):
        consumer = buses(config)
        thread = in_thread(consumer.consume, "g", "c", heard, start="oldest")
        quick.publish_many(sig(number) for number in range(first, first + 10))
        heard.wait(first + 10)
        consumer.stop()
        thread.join(5)
    assert numbers(heard) == list(range(30))
    assert quick._client.xpending(quick.names.log, "g")["pending"] == 0


def test_an_event_that_fails_is_tried_again_and_the_others_go_on(
    quick: RedisEventBus, config: RedisConfig, buses: Buses, in_thread: InThread, heard: Heard
) -> None:
    tries: Counter[int] = Counter()

    def handler(event: TradeEvent) -> None:
        number = int(event.data["signal_id"])
        tries[number] += 1
        if number == 1 and tries[number] < 3:
            raise RuntimeError("not yet")
        heard(event)

    consumer = buses(config)
    in_thread(consumer.consume, "g", "c", handler, start="oldest")
    quick.publish_many(sig(number) for number in range(4))
    heard.wait(4)
    consumer.stop()
    assert numbers(heard) == [0, 2, 3, 1]
    assert tries[1] == 3
    assert quick.failed() == []


def test_an_event_that_always_fails_is_kept_as_failed_and_done_with(
    quick: RedisEventBus, config: RedisConfig, buses: Buses, in_thread: InThread, heard: Heard
) -> None:
    def handler(event: TradeEvent) -> None:
        if event.data["signal_id"] == "1":
            raise RuntimeError("never")
        heard(event)

    consumer = buses(config)
    in_thread(consumer.consume, "risk", "c1", handler, start="oldest")
    quick.publish_many(sig(number) for number in range(3))
    (failure,) = wait_for(quick.failed)
    heard.wait(2)
    consumer.stop()
    assert (failure.where, failure.who, failure.deliveries) == ("risk", "c1", 3)
    assert "RuntimeError: never" in failure.error
    assert failure.event is not None
    assert failure.event.data == {"signal_id": "1"}
    wait_for(lambda: quick._client.xpending(quick.names.log, "risk")["pending"] == 0)
    assert quick.server_counters()["dead_letters"] == 1


def test_what_is_no_event_is_kept_as_failed_at_once(
    quick: RedisEventBus, config: RedisConfig, buses: Buses, in_thread: InThread, heard: Heard
) -> None:
    consumer = buses(config)
    quick._client.xadd(quick.names.log, {"m": "rubbish"})
    quick.publish(sig(1))
    in_thread(consumer.consume, "g", "c", heard, start="oldest")
    heard.wait(1)
    (failure,) = wait_for(quick.failed)
    consumer.stop()
    assert failure.event is None
    assert "not a trade event" in failure.error
    assert [event.data for event in quick.replay("A")] == [{"signal_id": "1"}]


def _hold_for_ever(port: int, told: Any) -> None:
    """A consumer that takes an event and never comes back."""
    with RedisEventBus(RedisConfig(host="127.0.0.1", port=port)) as bus:

        def handler(_event: TradeEvent) -> None:
            told.set()
            threading.Event().wait()

        bus.consume("g", "lost", handler, start="oldest", batch=10)


def test_what_a_killed_consumer_held_is_claimed_by_another(
    quick: RedisEventBus, config: RedisConfig, buses: Buses, in_thread: InThread, heard: Heard
) -> None:
    quick.publish_many(sig(number) for number in range(5))
    context = multiprocessing.get_context("spawn")
    told = context.Event()
    process = context.Process(target=_hold_for_ever, args=(config.port, told), daemon=True)
    process.start()
    assert told.wait(30)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join(10)
    consumer = buses(config)
    in_thread(consumer.consume, "g", "heir", heard)
    heard.wait(5)
    consumer.stop()
    assert sorted(numbers(heard)) == list(range(5))
    assert consumer.counters["claimed"] == 5


def test_an_event_that_kills_its_consumers_is_not_tried_for_ever(
    quick: RedisEventBus, config: RedisConfig, buses: Buses, in_thread: InThread, heard: Heard
) -> None:
    quick.publish(sig(1))
    quick._client.xgroup_create(quick.names.log, "g", "0")
    quick._client.xreadgroup("g", "dead", {quick.names.log: ">"})
    (entry,) = quick._client.xrange(quick.names.log)
    for _ in range(2):  # as consumers would that die of it
        quick._client.xclaim(quick.names.log, "g", "dead", 0, [entry[0]])
    consumer = buses(config)
    in_thread(consumer.consume, "g", "heir", heard)
    (failure,) = wait_for(quick.failed)
    consumer.stop()
    assert failure.error == "no consumer finished it"
    assert failure.deliveries == 3
    assert len(heard) == 0


def test_events_that_were_trimmed_unread_are_told(
    quick: RedisEventBus, config: RedisConfig, buses: Buses, in_thread: InThread, heard: Heard
) -> None:
    consumer = buses(config)
    first = in_thread(consumer.consume, "g", "c", heard, start="oldest")
    quick.publish(sig(0))
    heard.wait(1)
    consumer.stop()
    first.join(5)
    quick.publish_many(sig(number) for number in range(1, 101))
    quick._client.xtrim(quick.names.log, maxlen=40, approximate=False)
    again = buses(config)
    in_thread(again.consume, "g", "c", heard)
    heard.wait(41)
    wait_for(lambda: again.counters["trimmed_unread"] == 60)
    again.stop()


def test_a_redis_that_restarts_loses_and_doubles_nothing(
    buses: Buses, in_thread: InThread, heard: Heard
) -> None:
    server = start_server("valkey", "--appendonly", "yes", "--appendfsync", "always")
    config = RedisConfig(host="127.0.0.1", port=server.port, timeout_s=0.6)
    bus, consumer = buses(config), buses(config)
    in_thread(consumer.consume, "g", "c", heard, start="oldest", batch=16)
    try:
        for number in range(600):
            bus.publish(sig(number), wait=number % 10 == 0)
            if number in (200, 400):
                server.kill()
                server.start()
        assert bus.flush(20)
        heard.wait(600)
    finally:
        consumer.stop()
        wait_for(lambda: not bus.spooled)
        assert numbers(heard) == list(range(600))
        server.stop()


def test_what_was_read_before_a_loss_is_handed_over_in_its_order_also_when_that_is_cut_off_too(
    bus: RedisEventBus, in_thread: InThread, heard: Heard, monkeypatch: pytest.MonkeyPatch
) -> None:
    bus.publish_many(map(sig, range(5)))
    client: Any = bus._config.client()
    client.xgroup_create(bus.names.log, "g", id="0")
    client.xreadgroup("g", "c", {bus.names.log: ">"})
    client.close()
    claim, cut = redis.Redis.xclaim, iter([True])

    def xclaim(*arguments: Any) -> Any:
        if next(cut, False):
            raise redis.ConnectionError("cut off")
        return claim(*arguments)

    monkeypatch.setattr(redis.Redis, "xclaim", xclaim)
    in_thread(bus.consume, "g", "c", heard)
    heard.wait(5)
    bus.stop()
    assert numbers(heard) == list(range(5))


def test_a_redis_that_comes_back_empty_has_the_groups_again_before_the_first_event(
    buses: Buses, in_thread: InThread, heard: Heard
) -> None:
    server = start_server("valkey")
    config = RedisConfig(host="127.0.0.1", port=server.port, timeout_s=0.6)
    bus, consumer = buses(config), buses(config)
    in_thread(consumer.consume, "g", "c", heard)
    try:
        wait_for(lambda: bus.config().groups == ("g",))
        bus.publish(sig(0))
        heard.wait(1)
        server.kill()
        server.start()
        bus.publish_many(sig(number) for number in range(1, 50))
        assert bus.flush(20)
        heard.wait(50)
    finally:
        consumer.stop()
        server.stop()
    assert numbers(heard) == list(range(50))


def test_a_flushed_database_keeps_the_configured_groups_going(
    quick: RedisEventBus, config: RedisConfig, buses: Buses, in_thread: InThread, heard: Heard
) -> None:
    """Only the log is gone: the group is there again with the first event."""
    quick.configure(groups="audit")
    quick.publish(sig(0))
    quick._client.delete(quick.names.log)
    quick.publish_many([sig(1), sig(2)])
    consumer = buses(config)
    in_thread(consumer.consume, "audit", "c", heard)
    heard.wait(2)
    consumer.stop()
    assert numbers(heard) == [1, 2]


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        ({"group": "a b"}, "group"),
        ({"group": ""}, "group"),
        ({"consumer": "a,b"}, "consumer"),
        ({"start": "yesterday"}, "start"),
        ({"batch": 0}, "batch"),
    ],
)
def test_bad_arguments_are_refused_by_name(
    bus: RedisEventBus, arguments: dict[str, Any], field: str
) -> None:
    given = {"group": "g", "consumer": "c", "handler": print} | arguments
    with pytest.raises(InvalidTradeEvent) as caught:
        bus.consume(**given)
    assert caught.value.field == field
    assert bus.config().groups == ()
