"""Replay, rebuild and the operational configuration."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from main.trade_events import InvalidTradeEvent, RedisEventBus, TradeEvent
from main.trade_events.operations import BOUNDS, MEANINGS
from tests.conftest import wait_for
from tests.integration.trade_events.conftest import Heard

pytestmark = pytest.mark.integration


def sig(number: int, symbol: str = "A", **more: Any) -> TradeEvent:
    return TradeEvent.create_signal_validated(symbol, number, **more)


def created(number: int, **more: Any) -> TradeEvent:
    return TradeEvent.create_order_created("AAPL", number, "BUY", 1.5, 10, **more)


def told(bus: RedisEventBus, *arguments: Any, **named: Any) -> list[int]:
    return [int(event.data["signal_id"]) for event in bus.replay(*arguments, **named)]


# -- replay


def test_replay_tells_a_symbols_events_in_the_order_of_their_publication(
    bus: RedisEventBus,
) -> None:
    bus.publish_many(sig(number, "AB"[number % 2]) for number in range(1_201))
    assert told(bus, "A") == list(range(0, 1_201, 2))
    assert told(bus, None) == list(range(1_201))
    assert told(bus, "C") == []


def test_replay_begins_after_an_id_and_ends_at_one(bus: RedisEventBus) -> None:
    ids = [receipt.log_id for receipt in bus.publish_many(sig(number) for number in range(5))]
    assert told(bus, "A", from_id=ids[1]) == [2, 3, 4]
    assert told(bus, "A", from_id=ids[1], until_id=ids[3]) == [2, 3]
    assert told(bus, "A", from_id="0") == [0, 1, 2, 3, 4]


def test_replay_begins_at_a_moment_of_publication(bus: RedisEventBus) -> None:
    long_ago = "2020-01-01T00:00:00Z"
    (first,) = bus.publish_many([sig(0, timestamp=long_ago)])
    moment_ms = int(str(first.log_id).partition("-")[0]) + 1
    bus._client.xadd(bus.names.log, {"m": _body(bus)}, id=f"{moment_ms + 5}-0")
    moment = datetime.fromtimestamp(moment_ms / 1_000, UTC)
    assert told(bus, "A", since=moment) == [0]
    assert told(bus, "A", since=moment.isoformat()) == [0]
    assert told(bus, "A", since=(moment - timedelta(seconds=9)).replace(tzinfo=None)) == [0, 0]
    assert told(bus, "A", since=moment + timedelta(hours=1)) == []


def _body(bus: RedisEventBus) -> bytes:
    ((_, fields),) = bus._client.xrange(bus.names.log)
    body: bytes = fields[b"m"]
    return body


@pytest.mark.parametrize(
    ("named", "field"),
    [
        ({"since": "yesterday"}, "since"),
        ({"from_id": "x"}, "from_id"),
        ({"from_id": "5-"}, "from_id"),
        ({"from_id": 5}, "from_id"),
        ({"until_id": "+"}, "until_id"),
        ({"since": "2026-01-01", "from_id": "5"}, "since"),
        ({"symbol": "A*"}, "symbol"),
    ],
)
def test_a_bad_replay_is_refused_before_anything_is_read(
    bus: RedisEventBus, named: dict[str, Any], field: str
) -> None:
    arguments = {"symbol": "A"} | named
    with pytest.raises(InvalidTradeEvent) as caught:
        bus.replay(**arguments)
    assert caught.value.field == field


# -- rebuild


def test_a_rebuild_leaves_alone_what_began_before_the_log_does(bus: RedisEventBus) -> None:
    bus.publish_many([created(1), created(2)])
    bus._client.xtrim(bus.names.log, maxlen=1, approximate=False)
    bus.publish(TradeEvent.create_order_filled("AAPL", "1", 1.5, 10))
    bus.publish(TradeEvent.create_order_cancelled("AAPL", "2"))
    rebuilt = bus.rebuild(apply=True)
    assert rebuilt.is_equal
    assert (rebuilt.compared, rebuilt.older) == (1, 1)
    order = bus.get_order("AAPL", "1")
    assert order is not None
    assert order["status"] == "filled"


def test_a_rebuild_of_an_empty_bus_finds_nothing(bus: RedisEventBus) -> None:
    rebuilt = bus.rebuild()
    assert (rebuilt.events, rebuilt.compared, rebuilt.is_equal) == (0, 0, True)


def test_a_rebuild_tells_what_differs_and_changes_nothing_unless_told(bus: RedisEventBus) -> None:
    bus.publish_many([created(1), created(2), created(3)])
    client = bus._client
    client.hset("order:AAPL:1", "price", "9")
    client.delete("order:AAPL:2")
    client.zrem("orders:open:AAPL", "3")
    client.hset("order:AAPL:4", mapping={"status": "pending", "first_log_id": "9999999999999-0"})
    rebuilt = bus.rebuild()
    assert rebuilt.differences["order:AAPL:1"] == "price"
    assert "status" in rebuilt.differences["order:AAPL:2"]
    assert rebuilt.differences["order:AAPL:3"] == "index"
    assert rebuilt.differences["order:AAPL:4"] == "surplus"
    assert client.hget("order:AAPL:1", "price") == b"9"
    assert bus.rebuild(apply=True).differences == rebuilt.differences
    assert bus.rebuild().is_equal
    assert client.exists("order:AAPL:4") == 0
    assert 0 < client.ttl("order:AAPL:2") <= 8_640_000, "with its expiry"


def test_somebody_elses_keys_are_left_alone(bus: RedisEventBus) -> None:
    bus.publish(created(1))
    bus._client.hset("order:AAPL:theirs", "what", "ever")
    bus._client.set("order:AAPL:text", "x")
    assert bus.rebuild(apply=True).is_equal
    assert bus._client.hget("order:AAPL:theirs", "what") == b"ever"
    assert [order["order_id"] for order in bus.get_orders()] == ["1"]


def test_state_that_has_expired_is_no_difference_and_its_id_may_be_used_again(
    bus: RedisEventBus,
) -> None:
    bus.configure(ended_order_ttl_s=1)
    bus.publish_many([created(1), TradeEvent.create_order_cancelled("AAPL", "1")])
    wait_for(lambda: bus.get_order("AAPL", "1") is None, what="its second is over")
    rebuilt = bus.rebuild(apply=True)
    assert rebuilt.is_equal, rebuilt
    assert bus.get_order("AAPL", "1") is None
    assert bus.publish(created(1, event_id="again")).status == "published"
    rebuilt = bus.rebuild()
    assert rebuilt.is_equal, rebuilt


def test_a_rebuild_while_events_come_compares_each_at_a_moment_when_it_stands_still(
    bus: RedisEventBus, in_thread: Callable[..., threading.Thread]
) -> None:
    begun, ended = threading.Event(), threading.Event()

    def publish() -> None:
        for number in range(100_000):
            if ended.is_set():
                return
            bus.publish_many(
                [created(number), TradeEvent.create_order_filled("AAPL", number, 1.5, 10)]
            )
            begun.set()

    in_thread(publish)
    assert begun.wait(20), "the publisher has begun"
    try:
        for apply in (False, True, False):
            rebuilt = bus.rebuild(apply=apply)
            assert rebuilt.is_equal, rebuilt
    finally:
        ended.set()
    assert bus.rebuild().compared > 0


# -- configuration


def test_every_setting_has_a_default_a_range_and_a_meaning(bus: RedisEventBus) -> None:
    in_force = bus.config()
    assert {*BOUNDS, "groups"} == set(MEANINGS) == set(vars(in_force))
    for name, (least, most, _) in BOUNDS.items():
        assert least <= getattr(in_force, name) <= most


def test_a_change_is_in_force_for_everybody_and_can_be_taken_back(bus: RedisEventBus) -> None:
    bus.configure(max_deliveries=9, claim_idle_ms="500")
    assert (bus.config().max_deliveries, bus.config().claim_idle_ms) == (9, 500)
    assert bus._client.hget("trades:config", "max_deliveries") == b"9"
    bus.configure(max_deliveries=None)
    assert bus.config().max_deliveries == 5


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"max_deliveries": 0}, "max_deliveries"),
        ({"max_deliveries": "many"}, "max_deliveries"),
        ({"max_deliveries": 2.5}, "max_deliveries"),
        ({"max_deliveries": True}, "max_deliveries"),
        ({"invented": 1}, "invented"),
        ({"groups": "a b"}, "groups"),
        ({"claim_idle_ms": 500, "log_max_events": -1}, "log_max_events"),
    ],
)
def test_a_bad_change_changes_nothing(
    bus: RedisEventBus, changes: dict[str, Any], field: str
) -> None:
    with pytest.raises(InvalidTradeEvent) as caught:
        bus.configure(**changes)
    assert caught.value.field == field
    assert bus._client.hgetall("trades:config") == {}


def test_a_hash_that_holds_nonsense_counts_as_the_default(bus: RedisEventBus) -> None:
    bus._client.hset("trades:config", mapping={"log_max_events": "many", "invented": "1"})
    assert bus.config().log_max_events == 250_000
    assert bus.publish(created(1)).status == "published"


def test_groups_are_made_and_taken_away_by_the_configuration(bus: RedisEventBus) -> None:
    bus.publish(sig(1))
    bus.configure(groups="risk, audit")
    names = {group["name"] for group in bus._client.xinfo_groups(bus.names.log)}
    assert names == {b"risk", b"audit"}
    assert bus.config().groups == ("risk", "audit")
    bus.configure(groups="audit")
    assert [g["name"] for g in bus._client.xinfo_groups(bus.names.log)] == [b"audit"]
    bus.configure(groups=None)
    assert bus.config().groups == ()


def test_a_configured_group_misses_nothing_before_its_first_consumer(
    bus: RedisEventBus, in_thread: Callable[..., threading.Thread], heard: Heard
) -> None:
    bus.configure(groups="audit")
    bus.publish_many([sig(1), sig(2)])
    in_thread(bus.consume, "audit", "c", heard)
    heard.wait(2)
    bus.stop()
