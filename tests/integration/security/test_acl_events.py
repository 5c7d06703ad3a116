"""The role `events` on a real server: enough for the trade event bus, and for nothing else."""

from __future__ import annotations

import threading

import pytest
import redis

from main.trade_events import RedisEventBus, TradeEvent
from main.trade_events.operations import BOUNDS
from tests.conftest import wait_for
from tests.integration.security.conftest import Users

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
