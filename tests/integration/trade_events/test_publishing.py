"""Publishing: one step, once, in order, and never in the way of trading."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import redis

from main.embedded_valkey import EmbeddedValkey
from main.trade_events import (
    InvalidTradeEvent,
    PublishRefused,
    RedisEventBus,
    TradeEvent,
)
from main.trade_events.names import TradeNames
from main.trade_events.sender import publish_head
from main.trade_events.wire import pack_event, pack_events
from main.utils.redis.config import RedisConfig
from main.utils.redis.errors import IllegalUse
from tests.conftest import wait_for
from tests.integration.trade_events.conftest import Buses, start_server

pytestmark = pytest.mark.integration


def signal_event(number: int, **more: Any) -> TradeEvent:
    return TradeEvent.create_signal_validated("A", number, **more)


def created(number: int | str, **more: Any) -> TradeEvent:
    return TradeEvent.create_order_created("AAPL", number, "BUY", 1.5, 10, **more)


def wait_until_published(bus: RedisEventBus, count: int) -> None:
    wait_for(lambda: bus.counters["published"] >= count, what=f"{count} events are published")


def logged(bus: RedisEventBus) -> list[str]:
    return [str(event.subject_id or event.data["signal_id"]) for event in bus.replay(None)]


@pytest.fixture(params=["valkey", "redis-server"])
def own_server(request: pytest.FixtureRequest) -> Iterator[EmbeddedValkey]:
    """A server that the test may kill and freeze; what it was told survives that."""
    server = start_server(request.param, "--appendonly", "yes", "--appendfsync", "always")
    yield server
    server.stop()


@pytest.fixture
def own_bus(own_server: EmbeddedValkey, buses: Buses) -> RedisEventBus:
    config = RedisConfig(host="127.0.0.1", port=own_server.port, timeout_s=0.5)
    return buses(config)


# -- once, and at once


def test_what_was_published_can_be_asked_for_at_once(bus: RedisEventBus) -> None:
    receipt = bus.publish(created(1))
    assert receipt.status == "published"
    order = bus.get_order("AAPL", "1")
    assert order is not None
    assert order["log_id"] == receipt.log_id


def test_many_are_published_in_their_order_with_a_receipt_each(bus: RedisEventBus) -> None:
    events = [created(number) for number in range(3_000)]
    receipts = bus.publish_many([*events, events[0]])
    assert [each.event_id for each in receipts] == [each.event_id for each in [*events, events[0]]]
    assert [each.status for each in receipts] == ["published"] * 3_000 + ["duplicate"]
    assert logged(bus) == [str(number) for number in range(3_000)]


def test_threads_that_publish_together_lose_and_double_nothing(bus: RedisEventBus) -> None:
    def publish(start: int) -> None:
        for number in range(start, start + 50):
            assert bus.publish(created(number)).status == "published"

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(publish, range(0, 400, 50)))
    assert sorted(map(int, logged(bus))) == list(range(400))


def test_who_does_not_wait_is_served_too(bus: RedisEventBus) -> None:
    for number in range(500):
        assert bus.publish(signal_event(number), wait=False).status == "spooled"
    assert bus.flush()
    assert logged(bus) == [str(number) for number in range(500)]
    assert bus.counters["published"] == 500


@pytest.fixture
def idle_bus(bus: RedisEventBus) -> RedisEventBus:
    """Its connection stands, and its thread has put it down."""
    bus.publish(created(0))
    wait_for(lambda: bus._sender._wire is not None and not bus._sender._is_taken)
    return bus


def test_who_waits_for_an_idle_connection_sends_by_itself(
    idle_bus: RedisEventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    senders = []
    tell = idle_bus._sender._tell

    def spy(*arguments: Any) -> None:
        senders.append(threading.current_thread())
        tell(*arguments)

    monkeypatch.setattr(idle_bus._sender, "_tell", spy)
    for number in range(1, 50):
        assert idle_bus.publish(created(number)).status == "published"
    assert set(senders) == {threading.current_thread()}


def test_who_is_interrupted_while_it_sends_leaves_the_event_to_the_thread(
    idle_bus: RedisEventBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(idle_bus._sender._wire, "receive", interrupted)
    with pytest.raises(KeyboardInterrupt):
        idle_bus.publish(created(1))
    assert idle_bus.publish(created(2)).status == "published"
    assert idle_bus.flush(20)
    assert logged(idle_bus) == ["0", "1", "2"]
    assert idle_bus.counters["duplicate"] == 1, "sent twice, logged once"


def test_a_server_that_lost_its_functions_gets_them_from_whoever_publishes_first(
    bus: RedisEventBus,
) -> None:
    bus.publish(created(1))
    bus._client.function_flush()
    bus._client.flushall()
    assert bus.publish(created(2)).status == "published"
    assert bus.rebuild().is_equal


def test_functions_that_vanish_under_full_load_are_loaded_again(bus: RedisEventBus) -> None:
    events = [created(number) for number in range(5_000)]
    flushed = threading.Thread(target=lambda: [bus._client.function_flush() for _ in range(5)])
    flushed.start()
    receipts = bus.publish_many(events)
    flushed.join()
    assert bus.flush(20)
    assert {each.status for each in receipts} <= {"published", "spooled"}
    assert list(map(int, logged(bus))) == list(range(5_000)), "no batch overtook another"


def test_a_batch_whose_forerunner_was_not_taken_is_not_taken_either(bus: RedisEventBus) -> None:
    """Redis had no memory for number 2, and has some again for number 3, which was on its way."""
    head = publish_head(TradeNames(), "a-sender")

    def send(number: int, *, is_first: bool) -> object:
        events = pack_events([pack_event(created(number))])
        return bus._client.execute_command(*head, events, number, int(is_first))

    bus.publish(created(0))  # it loads the functions
    send(1, is_first=True)
    assert send(3, is_first=False) == [b"BEHIND"]
    assert logged(bus) == ["0", "1"]
    send(2, is_first=False)
    send(3, is_first=False)
    assert logged(bus) == ["0", "1", "2", "3"]


def test_what_the_server_cannot_do_with_one_event_is_no_others_concern(
    bus: RedisEventBus,
) -> None:
    bus._client.set("orders:open:MSFT", "somebody else's")
    other = TradeEvent.create_order_created("MSFT", "1", "BUY", 1, 1)
    with pytest.raises(PublishRefused, match="orders:open:MSFT holds a string"):
        bus.publish_many([created(1), other, created(2)])
    assert logged(bus) == ["1", "2"]
    assert bus.get_order("MSFT", "1") is None
    assert not bus._client.sismember("trades:seen:1", other.event_id)
    assert bus.server_counters()["refused"] == 1


def test_every_function_can_be_the_first(bus: RedisEventBus) -> None:
    calls: list[Callable[[], Any]] = [bus.config, bus.rebuild, bus.server_counters, bus.failed]
    for call in calls:
        bus._client.function_flush()
        call()


# -- bad input: nothing is written


@pytest.mark.parametrize(
    "make",
    [
        lambda: created(1, note="x" * 1_000_000),
        lambda: created(1, price=float("nan")),
        lambda: TradeEvent.create_order_cancelled("A*", "1"),
        lambda: "no event",
    ],
)
def test_bad_input_is_refused_and_nothing_is_written(bus: RedisEventBus, make: Any) -> None:
    with pytest.raises((InvalidTradeEvent, TypeError)):
        bus.publish(make())
    assert bus._client.dbsize() == 0
    assert bus.publish(created(2)).status == "published", "the bus goes on"


def test_a_bad_event_among_many_stops_there(bus: RedisEventBus) -> None:
    with pytest.raises(InvalidTradeEvent):
        bus.publish_many([created(1), created(2, note="x" * 1_000_000), created(3)])
    assert bus.flush()
    assert "3" not in logged(bus)


# -- Redis is away


def test_nobody_waits_for_a_server_that_is_away_and_all_comes_later_in_order(
    own_server: EmbeddedValkey, own_bus: RedisEventBus
) -> None:
    own_bus.publish(created(0))
    own_server.kill()
    wait_for(lambda: own_bus.publish(created(1)).status in ("spooled",), what="it is away")
    began = time.monotonic()
    receipts = [own_bus.publish(created(number)) for number in range(2, 200)]
    assert time.monotonic() - began < 1.5, "198 events, and no waiting"
    assert {each.status for each in receipts} == {"spooled"}
    assert not own_bus.is_connected
    assert own_bus.trouble
    own_server.start()
    assert own_bus.flush(20)
    assert logged(own_bus) == [str(number) for number in range(200)]
    assert own_bus.publish(created(200)).status == "published"
    assert own_bus.is_connected
    assert own_bus.trouble is None
    assert own_bus.rebuild().is_equal


@pytest.mark.parametrize("publish_timeout_s", [0.2, 20.0])
def test_a_frozen_server_holds_up_one_publisher_once_and_no_longer_than_said(
    own_server: EmbeddedValkey, buses: Buses, publish_timeout_s: float
) -> None:
    """Said for a publisher, or for Redis: who sends by itself waits no longer for an answer."""
    config = RedisConfig(host="127.0.0.1", port=own_server.port, timeout_s=0.5)
    bus = buses(config, publish_timeout_s=publish_timeout_s)
    bus.publish(created(0))
    os.kill(own_server.pid, signal.SIGSTOP)
    try:
        began = time.monotonic()
        statuses = {bus.publish(created(number)).status for number in range(1, 100)}
        assert time.monotonic() - began < 2.0
        assert statuses == {"spooled"}
    finally:
        os.kill(own_server.pid, signal.SIGCONT)
    assert bus.flush(20)
    assert logged(bus) == [str(number) for number in range(100)], "sent twice, logged once"


def test_publishers_of_every_kind_keep_their_order_while_redis_is_killed_twice(
    own_server: EmbeddedValkey, own_bus: RedisEventBus
) -> None:
    """Some wait for each event, some send many, some do not wait: all share one connection."""
    done = threading.Event()
    ways: list[Callable[[list[TradeEvent]], Any]] = [
        lambda some: [own_bus.publish(event) for event in some],
        lambda some: [own_bus.publish(event, wait=False) for event in some],
        own_bus.publish_many,
    ]

    def publish(worker: int) -> int:
        number = 0
        while not done.is_set():
            some = [created(f"{worker}-{n}") for n in range(number, number + 20)]
            ways[worker % 3](some)
            number += 20
            time.sleep(0.005)
        return number

    with ThreadPoolExecutor(6) as pool:
        counts = [pool.submit(publish, worker) for worker in range(6)]
        try:
            for _ in range(2):
                wait_until_published(own_bus, own_bus.counters["published"] + 500)
                own_server.kill()
                wait_for(lambda: own_bus.trouble is not None, what="it is away")
                own_server.start()
                wait_for(lambda: own_bus.trouble is None, what="it is back")
        finally:
            done.set()
    assert own_bus.flush(30)
    found = logged(own_bus)
    for worker, count in enumerate(counts):
        own = [name for name in found if name.startswith(f"{worker}-")]
        assert own == [f"{worker}-{number}" for number in range(count.result())]
    assert own_bus.rebuild().is_equal


def test_a_server_that_came_back_empty_is_served_on(buses: Buses) -> None:
    server = start_server("valkey")
    bus = buses(RedisConfig(host="127.0.0.1", port=server.port, timeout_s=0.5))
    try:
        bus.publish(created(0))
        server.kill()
        wait_for(lambda: bus.publish(created(1)).status == "spooled")
        server.start()
        assert bus.flush(20)
        assert logged(bus) == ["1"]
    finally:
        server.stop()


def test_a_full_spool_drops_the_newest_and_says_so(buses: Buses) -> None:
    server = start_server("valkey")
    config = RedisConfig(host="127.0.0.1", port=server.port, timeout_s=0.5)
    bus = buses(config, spool_events=10)
    try:
        bus.publish(created(0))
        server.kill()
        wait_for(lambda: bus.publish(created(1)).status == "spooled")
        statuses = [bus.publish(created(number)).status for number in range(2, 20)]
        assert statuses == ["spooled"] * 9 + ["dropped"] * 9
        assert bus.counters["dropped"] == 9
        assert bus.spooled == 10
        server.start()
        assert bus.flush(20)
        assert logged(bus) == [str(number) for number in range(1, 11)]
    finally:
        server.stop()


def test_a_slow_server_that_is_out_of_memory_takes_it_later(
    config: RedisConfig, buses: Buses
) -> None:
    bus = buses(config, publish_timeout_s=0.2)
    bus.publish(created(0))
    client = bus._client
    client.config_set("maxmemory", "1mb")
    try:
        assert bus.publish(created(1)).status == "spooled"
        wait_for(lambda: "OOM" in (bus.trouble or ""))
    finally:
        client.config_set("maxmemory", "0")
    assert bus.flush(20)
    assert logged(bus) == ["0", "1"]


def test_a_user_without_the_right_gets_a_clear_refusal(config: RedisConfig, buses: Buses) -> None:
    admin = config.client()
    rights = ["~*", "&*", "+@read", "+ping", "+client|setname"]
    admin.execute_command("ACL", "SETUSER", "reader", "on", ">pw", *rights)
    try:
        reader = RedisConfig(host=config.host, port=config.port, username="reader", password="pw")
        bus = buses(reader)
        with pytest.raises(PublishRefused, match="NOPERM"):
            bus.publish(created(1))
        assert bus.counters["refused"] == 1
    finally:
        admin.execute_command("ACL", "DELUSER", "reader")
        admin.close()


# -- the beginning and the end


def test_nobody_there_is_a_redis_connection_error() -> None:
    with pytest.raises(redis.ConnectionError, match="not available"):
        RedisEventBus(RedisConfig(host="127.0.0.1", port=1))


def test_a_wrong_password_is_a_redis_connection_error(config: RedisConfig) -> None:
    wrong = RedisConfig(host=config.host, port=config.port, username="nobody", password="secret")
    with pytest.raises(redis.ConnectionError) as caught:
        RedisEventBus(wrong)
    assert "secret" not in str(caught.value)


def test_closing_sends_what_waits_and_ends_the_thread(config: RedisConfig, buses: Buses) -> None:
    with RedisEventBus(config) as bus:
        for number in range(2_000):
            bus.publish(signal_event(number), wait=False)
    assert not [t for t in threading.enumerate() if t.name == "trade-sender"]
    assert len(logged(buses(config))) == 2_000
    assert not bus.is_connected
    with pytest.raises(IllegalUse):
        bus.publish(signal_event(1))
    bus.close()


def test_a_program_that_just_ends_has_sent_what_waited(config: RedisConfig, buses: Buses) -> None:
    script = f"""
from main.trade_events import RedisEventBus, TradeEvent
from main.utils.redis.config import RedisConfig
bus = RedisEventBus(RedisConfig(host="127.0.0.1", port={config.port}))
for number in range(1000):
    bus.publish(TradeEvent.create_signal_validated("A", number), wait=False)
"""
    subprocess.run([sys.executable, "-c", script], timeout=60, check=True, capture_output=True)
    assert len(logged(buses(config))) == 1_000


def test_closing_while_redis_is_away_does_not_hang_and_tells_what_was_lost() -> None:
    server = start_server("valkey")
    bus = RedisEventBus(RedisConfig(host="127.0.0.1", port=server.port, timeout_s=0.3))
    server.kill()
    wait_for(lambda: bus.publish(signal_event(1)).status == "spooled")
    began = time.monotonic()
    bus.close()
    assert time.monotonic() - began < 6
    assert bus.counters["abandoned"] == bus.spooled >= 1
    server.stop()
