"""The bridge on a real Valkey: order messages in, trade events out, each once."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest

from main.embedded_valkey import EmbeddedValkey
from main.order_events import OrderEvents
from main.trade_events import RedisEventBus
from main.utils.redis.config import RedisConfig
from main.utils.redis.messages import OrderMessage, PriceMessage
from main.utils.redis.publisher import RedisPublisher
from tests.conftest import wait_for
from tests.integration.events_bridge.conftest import (
    RunningBridge,
    StartBridge,
    counts,
    fill,
    kinds,
    message,
    order_data,
    tell,
)

pytestmark = pytest.mark.integration

ROUND_TRIP = [
    "order.created",
    "order.filled",
    "trade.executed",
    "position.opened",
    "order.created",
    "order.filled",
    "trade.executed",
    "position.closed",
]


def buy_and_sell() -> list[OrderMessage]:
    return [fill(10, 10), fill(10, 10, "o-2", price="101.5", side="sell")]


def price() -> PriceMessage:
    return PriceMessage(
        symbol="AAPL",
        timestamp="2026-11-20T15:00:00Z",
        price=100.0,
        volume=1,
        feed="iex",
        last_eligible=True,
        backfilled=False,
    )


def test_a_round_trip_becomes_its_events_and_state(
    publisher: RedisPublisher, bus: RedisEventBus, start_bridge: StartBridge
) -> None:
    """Live, with prices in between; position and profit can be asked of the bus."""
    start_bridge()
    publisher.publish_batch([price(), buy_and_sell()[0], price()])
    wait_for(lambda: len(kinds(bus)) == 4, what="the purchase was told")
    (held,) = bus.get_active_positions("AAPL")
    assert (held["owner"], held["volume"], held["direction"]) == ("bot", 10, "LONG")
    tell(publisher, buy_and_sell()[1])
    wait_for(lambda: kinds(bus) == ROUND_TRIP, what="the sale was told")
    closed = bus.get_position("AAPL", "o-1:10")
    assert closed is not None
    assert (closed["status"], closed["pnl"]) == ("closed", 20)
    rebuilt = bus.rebuild()
    assert rebuilt.is_equal, rebuilt


def test_what_happened_while_it_was_away_is_told(
    publisher: RedisPublisher, bus: RedisEventBus, start_bridge: StartBridge
) -> None:
    """From the place where it left off, with the position that it held."""
    first = start_bridge()
    tell(publisher, buy_and_sell()[0])
    wait_for(lambda: len(kinds(bus)) == 4, what="the purchase was told")
    first.stop()
    tell(publisher, buy_and_sell()[1])
    start_bridge()
    wait_for(lambda: kinds(bus) == ROUND_TRIP, what="the sale was told")


@pytest.mark.parametrize("restarted", [False, True])
def test_a_new_brokers_messages_follow_the_old_ones(
    publisher: RedisPublisher,
    bus: RedisEventBus,
    start_bridge: StartBridge,
    redis_config: RedisConfig,
    restarted: bool,
) -> None:
    """A broker's restart begins a new epoch; the bridge may be away meanwhile, or not."""
    first = start_bridge()
    tell(publisher, buy_and_sell()[0])
    wait_for(lambda: len(kinds(bus)) == 4, what="the purchase was told")
    if restarted:
        first.stop()
    successor = RedisPublisher(redis_config)
    successor.open_epoch()
    tell(successor, buy_and_sell()[1])
    successor.close()
    if restarted:
        start_bridge()
    wait_for(lambda: kinds(bus) == ROUND_TRIP, what="the sale was told")


def test_a_bridge_that_lost_its_memory_doubles_nothing(
    publisher: RedisPublisher,
    bus: RedisEventBus,
    start_bridge: StartBridge,
    redis_config: RedisConfig,
) -> None:
    """It tells the whole journal again, and the bus takes each event once."""
    tell(publisher, *buy_and_sell())
    first = start_bridge()
    wait_for(lambda: kinds(bus) == ROUND_TRIP, what="all was told")
    first.stop()
    with redis_config.client() as client:
        assert client.delete("trades:bridge:memory:AAPL") == 1
    again = start_bridge()
    wait_for(lambda: again.bridge.counters["events_duplicate"] == 8, what="all was told again")
    assert kinds(bus) == ROUND_TRIP


def test_a_symbol_that_trades_for_the_first_time_is_found(
    publisher: RedisPublisher, bus: RedisEventBus, start_bridge: StartBridge
) -> None:
    """Any that Alpaca sends, an option's too; nobody has to register it."""
    running = start_bridge()
    tell(publisher, buy_and_sell()[0])
    for symbol in ("BTC/USD", "AAPL261218C00250000"):
        told = msgspec.structs.replace(
            message("new", order_data(f"o-{symbol[:3]}", symbol=symbol)), symbol=symbol
        )
        tell(publisher, told)
    wait_for(lambda: counts(bus)["order.created"] == 3, what="all three were told")
    assert running.bridge.symbols == ["AAPL", "AAPL261218C00250000", "BTC/USD"]
    assert bus.get_order("BTC/USD", "o-BTC") is not None


def test_the_executors_word_of_the_same_fill_is_the_same_event(
    publisher: RedisPublisher, bus: RedisEventBus, start_bridge: StartBridge
) -> None:
    """Whoever comes first: the other's is a duplicate, also of position and trade."""
    executor = OrderEvents("AAPL", "trader")
    heard = [event for each in buy_and_sell()[:1] for event in executor.take(each)]
    bus.publish_many(heard)
    running = start_bridge()
    tell(publisher, *buy_and_sell())
    wait_for(lambda: kinds(bus) == ROUND_TRIP, what="all was told once")
    wait_for(lambda: running.bridge.counters["events_duplicate"] == 4, what="it is counted")
    late = [event for each in buy_and_sell()[1:] for event in executor.take(each)]
    assert {receipt.status for receipt in bus.publish_many(late)} == {"duplicate"}


def test_a_fill_after_a_cancel_moves_the_position_and_is_an_anomaly_of_the_order(
    publisher: RedisPublisher, bus: RedisEventBus, start_bridge: StartBridge
) -> None:
    """It happens at real venues; shares that were bought are held, whatever the order says."""
    running = start_bridge()
    tell(publisher, message("canceled", order_data(status="canceled")), fill(4, 4))
    wait_for(lambda: bus.get_active_positions("AAPL"), what="the position is known")
    wait_for(lambda: running.bridge.counters["events_anomaly"] == 1, what="it is counted")
    order = bus.get_order("AAPL", "o-1")
    assert order is not None
    assert order["status"] == "cancelled"


def test_messages_that_no_event_can_say_stop_nobody(
    publisher: RedisPublisher, bus: RedisEventBus, start_bridge: StartBridge
) -> None:
    """Orders come from outside."""
    start_bridge()
    tell(
        publisher,
        message("new", order_data("an id with spaces")),
        message("fill", {}),
        fill(10, 10),
    )
    wait_for(lambda: counts(bus)["position.opened"] == 1, what="the good one was told")


def test_a_second_bridge_waits_until_the_first_has_ended(start_bridge: StartBridge) -> None:
    """Two would each write half of the memory."""
    first = start_bridge()
    assert first.bridge.wait_until_caught_up(5)
    second = start_bridge()
    assert not second.bridge.wait_until_caught_up(0.5)
    first.stop()
    assert second.bridge.wait_until_caught_up(5)
    assert second.failure is None


def test_redis_emptied_under_it_gets_its_memory_back(
    publisher: RedisPublisher,
    bus: RedisEventBus,
    start_bridge: StartBridge,
    redis_config: RedisConfig,
) -> None:
    """What it held it still knows, and the sale that follows closes it."""
    running = start_bridge()
    tell(publisher, buy_and_sell()[0])
    wait_for(lambda: len(kinds(bus)) == 4, what="the purchase was told")
    with redis_config.client() as client:
        wait_for(lambda: client.hexists("trades:bridge:memory:AAPL", "o:o-1"), what="remembered")
        client.flushall()
        wait_for(lambda: client.hexists("trades:bridge:memory:AAPL", "o:o-1"), what="written anew")
        owner = client.get("trades:bridge:owner")
    assert owner is not None
    assert running.failure is None


@pytest.fixture
def lasting_valkey() -> Iterator[EmbeddedValkey]:
    """One that keeps what it confirmed, as the containers' does."""
    with EmbeddedValkey(None, "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


def test_redis_restarted_under_it_loses_and_doubles_nothing(
    lasting_valkey: EmbeddedValkey,
) -> None:
    """Killed in the middle of the work."""
    config = RedisConfig(host="127.0.0.1", port=lasting_valkey.port)
    expected = {
        "order.created": 300,
        "order.filled": 300,
        "trade.executed": 300,
        "position.opened": 1,
        "position.modified": 299,
    }
    publisher = RedisPublisher(config)
    publisher.open_epoch()
    running = RunningBridge(config)
    try:
        with RedisEventBus(config) as bus:
            for number in range(300):
                tell(publisher, fill(10, 10, f"o-{number}"))
            lasting_valkey.kill()
            lasting_valkey.start()
            wait_for(lambda: bus.is_connected, what="Redis answers again")
            wait_for(lambda: counts(bus) == expected, timeout_s=20, what="all was told once")
            (held,) = bus.get_active_positions("AAPL")
            assert held["volume"] == 3_000
    finally:
        running.stop()
        publisher.close()
