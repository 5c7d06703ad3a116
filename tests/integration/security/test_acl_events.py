"""The role `events` on a real server: enough for the trade event bus, and for nothing else."""

from __future__ import annotations

import threading

import pytest
import redis
from msgspec.structs import replace

from main.events_bridge import BridgeConfig, EventsBridge
from main.trade_events import RedisEventBus, TradeEvent
from main.trade_events.operations import BOUNDS
from main.utils.redis.messages import GapMessage
from main.utils.redis.publisher import RedisPublisher
from tests.conftest import wait_for
from tests.integration.security.conftest import Users
from tests.unit.order_events.test_maker import fill

pytestmark = pytest.mark.integration


@pytest.mark.parametrize("prefix", ["", "PAPER_"])
def test_the_trade_event_bus_does_all_its_work_as_its_user(users: Users, prefix: str) -> None:
    config = users.grant("events", prefix=prefix)
    heard: list[TradeEvent] = []
    consumed: list[TradeEvent] = []

    def failing(event: TradeEvent) -> None:
        consumed.append(event)
        raise RuntimeError("never")

    with RedisEventBus(config) as bus, RedisEventBus(config) as reader:
        bus.configure(max_deliveries=1, groups="audit", **dict.fromkeys(list(BOUNDS)[:1], 5_000))
        reader.subscribe_all(None, heard.append)
        threads = [
            threading.Thread(target=reader.listen),
            threading.Thread(target=reader.consume, args=("g", "c", failing)),
        ]
        for thread in threads:
            thread.start()
        assert reader.wait_until_subscribed()
        wait_for(lambda: "g" in bus.config().groups)
        bus.publish_many(
            [
                TradeEvent.create_order_created("AAPL", "1", "BUY", 1.0, 1),
                TradeEvent.create_order_filled("AAPL", "1", 1.0, 1, filled_volume=1),
                TradeEvent.create_order_filled("AAPL", "2", 1.0, 1, filled_volume=1),
                TradeEvent.create_position_opened("AAPL", "p", 1.0, 1, "LONG"),
                TradeEvent.create_position_closed("AAPL", "p", 2.0, 1.0),
            ]
        )
        wait_for(lambda: len(heard) == len(consumed) == 5)
        wait_for(lambda: len(bus.failed()) == 5)
        users.admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        bus.publish(TradeEvent.create_signal_validated("AAPL", "s"))
        wait_for(lambda: len(heard) == 6)
        assert bus.get_order("AAPL", "1")
        assert bus.get_active_positions("AAPL") == []
        assert len(bus.get_orders()) == 1
        assert bus.server_counters()["anomalies"] == 1
        assert bus.symbols() == ["AAPL"]
        assert bus.rebuild(apply=True).is_equal
        bus.configure(groups=None, max_deliveries=None)
        reader.stop()
        for thread in threads:
            thread.join(10)
    assert users.refusals() == []


def test_known_ids_come_and_go_as_its_user(users: Users) -> None:
    """More of them than are kept: whole sets of them are counted, looked into and dropped."""
    with RedisEventBus(users.grant("events")) as bus:
        bus.configure(event_ids_max=1_000)
        events = [TradeEvent.create_signal_validated("AAPL", n) for n in range(3_000)]
        assert {each.status for each in bus.publish_many(events)} == {"published"}
        assert bus.publish(events[-500]).status == "duplicate"
        assert bus.server_counters()["event_ids_forgotten"] > 0
    assert users.refusals() == []


def a_gap() -> GapMessage:
    return GapMessage(
        symbol="AAPL",
        timestamp="2026-11-20T15:00:01Z",
        from_="2026-11-20T15:00:00Z",
        to="2026-11-20T15:00:01Z",
        cause="upstream_disconnected",
        backfilled=False,
        lost=None,
    )


@pytest.mark.parametrize("prefix", ["", "PAPER_"])
def test_the_events_bridge_does_all_its_work_as_its_user(users: Users, prefix: str) -> None:
    """Orders that were there before it, live ones, a gap, its lease, and an emptied Redis."""
    config = users.grant("events", prefix=prefix)
    publisher = RedisPublisher(users.grant("broker", prefix=prefix))
    publisher.open_epoch()
    publisher.publish_batch([replace(fill(10, 10, "m-1"), symbol="MSFT")])
    bridge = EventsBridge(BridgeConfig(redis=config, look_every_s=0.1))
    with bridge, RedisEventBus(config) as bus:
        running = threading.Thread(target=bridge.run)
        running.start()
        try:
            assert bridge.wait_until_caught_up(10)
            publisher.publish_batch([fill(10, 10)])
            wait_for(lambda: bridge.symbols == ["AAPL", "MSFT"], what="it follows both")
            publisher.publish_batch([a_gap(), fill(10, 10, "o-2", price="101.5", side="sell")])
            wait_for(lambda: bus.get_position("AAPL", "o-1:10") is not None, what="opened")
            wait_for(lambda: bus.get_active_positions("AAPL") == [], what="closed")
            wait_for(lambda: bridge.counters["gaps"] == 1, what="the gap was looked at")
            users.admin.delete(*users.admin.keys(f"{prefix}trades:bridge:*"))
            owner = f"{prefix}trades:bridge:owner"
            wait_for(lambda: users.admin.exists(owner) == 1, what="its memory is written anew")
        finally:
            bridge.stop()
            running.join(10)
        assert len(bus.get_active_positions("MSFT")) == 1
    publisher.close()
    assert users.refusals() == []


def test_it_may_do_nothing_else(users: Users) -> None:
    config = users.grant("events")
    client = config.client()
    for command in (
        ("SET", "BROKER_EPOCH", "1"),
        ("XADD", "TICKER_LOG_AAPL", "*", "m", "x"),
        ("DEL", "BROKER_LEASES"),
        ("PUBLISH", "TICKER_UPDATES_AAPL", "x"),
        ("PUBLISH", "BROKER_REGISTRATION", "x"),
        ("FLUSHALL",),
        ("CONFIG", "SET", "maxmemory", "1"),
    ):
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.execute_command(*command)
    client.close()
