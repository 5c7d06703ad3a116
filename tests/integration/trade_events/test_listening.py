"""Pub/sub handlers: each event once and in order, whatever happens to the connection."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable
from typing import Any

import pytest

from main.trade_events import InvalidTradeEvent, RedisEventBus, TradeEvent, TradeEventType
from main.utils.redis.config import RedisConfig
from main.utils.redis.errors import IllegalUse, NotPermitted
from tests.conftest import wait_for
from tests.integration.trade_events.conftest import Buses, Heard, start_server

pytestmark = pytest.mark.integration

InThread = Callable[..., threading.Thread]


def sig(number: int, symbol: str = "A") -> TradeEvent:
    return TradeEvent.create_signal_validated(symbol, number)


def numbers(heard: Heard) -> list[int]:
    return [int(event.data["signal_id"]) for event in heard.events]


def test_a_handler_gets_its_type_of_its_symbol_and_nothing_else(
    bus: RedisEventBus, listening: RedisEventBus, heard: Heard
) -> None:
    everything = Heard()
    listening.subscribe("XAUUSD", TradeEventType.ORDER_CREATED, heard)
    listening.subscribe_all("XAUUSD", everything)
    assert listening.wait_until_subscribed()
    bus.publish(TradeEvent.create_order_created("BTCUSD", "1", "BUY", 1, 1))
    bus.publish(TradeEvent.create_order_created("XAUUSD", "1", "BUY", 1, 1))
    bus.publish(TradeEvent.create_order_cancelled("XAUUSD", "1"))
    bus.publish(TradeEvent.create_order_cancelled("XAUUSD", "1", event_id="x"))
    everything.wait(3)
    assert heard.types == ["order.created"]
    assert everything.types == ["order.created", "order.cancelled", "order.cancelled"]
    assert [event.anomaly for event in everything.events] == [None, None, "order_ended"]


@pytest.mark.parametrize("symbol", ["BRK.B", "BTC/USD", "EURUSD.r"])
def test_symbols_with_dots_and_slashes_have_channels(
    bus: RedisEventBus, listening: RedisEventBus, heard: Heard, symbol: str
) -> None:
    listening.subscribe_all(symbol, heard)
    assert listening.wait_until_subscribed()
    bus.publish(sig(1, "BRKxB"))
    bus.publish(sig(2, symbol))
    heard.wait(1)
    assert numbers(heard) == [2]


def test_one_may_hear_every_symbol_or_only_the_anomalies(
    bus: RedisEventBus, listening: RedisEventBus, heard: Heard
) -> None:
    anomalies = Heard()
    listening.subscribe_all(None, heard)
    listening.subscribe_anomalies(None, anomalies)
    assert listening.wait_until_subscribed()
    bus.publish_many([sig(1), sig(2, "B"), TradeEvent.create_order_cancelled("C", "9")])
    heard.wait(3)
    anomalies.wait(1)
    assert [(e.symbol, e.anomaly) for e in anomalies.events] == [("C", "unknown_order")]


def test_what_a_plain_redis_client_sees_is_the_documents_channel_and_json(
    bus: RedisEventBus, config: RedisConfig
) -> None:
    client = config.client()
    pubsub = client.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe("trades:XAUUSD:order.created")
    wait_for(lambda: client.pubsub_numsub("trades:XAUUSD:order.created")[0][1] == 1)
    receipt = bus.publish(TradeEvent.create_order_created("XAUUSD", "1", "BUY", 1.5, 1))
    message = wait_for(lambda: pubsub.get_message(timeout=1))
    assert b'"event_type":"order.created"' in message["data"]
    assert f'"log_id":"{receipt.log_id}"'.encode() in message["data"]
    pubsub.close()
    client.close()


# -- subscribing and listening, in any order


def test_what_comes_between_subscribe_and_listen_is_heard(
    bus: RedisEventBus, config: RedisConfig, buses: Buses, heard: Heard, in_thread: InThread
) -> None:
    bus.publish(sig(0))
    listener = buses(config)
    listener.subscribe_all("A", heard)
    bus.publish_many(sig(number) for number in range(1, 10))
    in_thread(listener.listen)
    heard.wait(9)
    bus.publish(sig(10))
    heard.wait(10)
    listener.stop()
    assert numbers(heard) == list(range(1, 11)), "not what was before the subscription"


def test_one_may_subscribe_and_unsubscribe_while_listening_also_in_a_handler(
    bus: RedisEventBus, listening: RedisEventBus, heard: Heard
) -> None:
    late = Heard()

    def first(event: TradeEvent) -> None:
        heard(event)
        listening.unsubscribe("A", TradeEventType.SIGNAL_VALIDATED, first)
        listening.subscribe("A", TradeEventType.SIGNAL_VALIDATED, late)

    listening.subscribe("A", TradeEventType.SIGNAL_VALIDATED, first)
    assert listening.wait_until_subscribed()
    bus.publish_many(sig(number) for number in range(20))
    late.wait(19)
    bus.publish(sig(20))
    late.wait(20)
    assert numbers(heard) == [0]
    assert numbers(late) == list(range(1, 21))


def test_unsubscribe_takes_a_type_a_handler_or_all_of_a_symbol(
    bus: RedisEventBus, listening: RedisEventBus, heard: Heard
) -> None:
    other = Heard()
    listening.subscribe("A", TradeEventType.SIGNAL_VALIDATED, heard)
    listening.subscribe_all("A", heard)
    listening.subscribe_all("A", other)
    assert listening.unsubscribe("A", TradeEventType.SIGNAL_VALIDATED) == 1
    assert listening.unsubscribe("A", handler=heard) == 1
    assert listening.unsubscribe("B") == 0
    assert listening.wait_until_subscribed()
    bus.publish(sig(1))
    other.wait(1)
    assert len(heard) == 0
    assert listening.unsubscribe("A") == 1


def test_two_cannot_listen_on_one_bus(listening: RedisEventBus) -> None:
    assert listening.wait_until_subscribed()
    with pytest.raises(IllegalUse, match="another thread listens"):
        listening.listen()


def test_stop_before_listen_ends_it_at_once(bus: RedisEventBus) -> None:
    bus.stop()
    bus.listen()


@pytest.mark.parametrize(
    ("arguments", "field"),
    [
        (("A*", TradeEventType.ORDER_CREATED, print), "symbol"),
        (("A", "order.invented", print), "event_type"),
        (("A", TradeEventType.ORDER_CREATED, "no handler"), "handler"),
    ],
)
def test_a_bad_subscription_is_refused_by_its_field(
    bus: RedisEventBus, arguments: Any, field: str
) -> None:
    with pytest.raises(InvalidTradeEvent) as caught:
        bus.subscribe(*arguments)
    assert caught.value.field == field


# -- handlers that fail


def test_a_handler_that_raises_is_isolated_counted_and_kept(
    bus: RedisEventBus, listening: RedisEventBus, heard: Heard
) -> None:
    def failing(event: TradeEvent) -> None:
        raise RuntimeError(f"cannot do {event.data['signal_id']}")

    listening.subscribe_all("A", failing)
    listening.subscribe_all("A", heard)
    assert listening.wait_until_subscribed()
    receipts = bus.publish_many([sig(1), sig(2)])
    heard.wait(2)
    wait_for(lambda: len(bus.failed()) == 2)
    newest, oldest = bus.failed()
    assert (newest.where, newest.deliveries, newest.log_id) == ("handler", 1, receipts[1].log_id)
    assert "RuntimeError: cannot do 2" in newest.error
    assert __file__ in newest.error, "it says where"
    assert "failing" in newest.who
    assert newest.event is not None
    assert newest.event.data == {"signal_id": "2"}
    assert "cannot do 1" in oldest.error
    assert listening.counters["handler_failures"] == 2
    assert bus.server_counters()["handler_failures"] == 2


def test_what_is_no_event_does_not_end_the_listening(
    bus: RedisEventBus, listening: RedisEventBus, heard: Heard
) -> None:
    listening.subscribe_all("A", heard)
    assert listening.wait_until_subscribed()
    bus._client.publish("trades:A:order.created", "rubbish")
    bus._client.publish("trades:A:order.created", '{"event_type":"order.created"}')
    bus.publish(sig(1))
    heard.wait(1)
    assert listening.counters["undecodable"] == 2
    bus._client.xadd(bus.names.log, {"m": "rubbish"})
    bus._client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    bus.publish(sig(2))
    heard.wait(2)
    assert numbers(heard) == [1, 2]
    assert len(list(bus.replay("A"))) == 2


# -- a connection that is lost


def test_events_that_a_lost_connection_missed_come_from_the_log(
    bus: RedisEventBus, listening: RedisEventBus, heard: Heard
) -> None:
    listening.subscribe_all("A", heard)
    assert listening.wait_until_subscribed()
    for number in range(300):
        bus.publish(sig(number))
        if number % 60 == 30:
            wait_for(lambda: bus._client.client_list(_type="pubsub"))
            bus._client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    heard.wait(300)
    assert numbers(heard) == list(range(300)), "each once, in order"
    assert listening.counters["listener_reconnects"] >= 4
    assert listening.counters["gaps"] == 0


def test_a_handler_that_blocks_loses_nothing(
    bus: RedisEventBus, listening: RedisEventBus, heard: Heard
) -> None:
    gate = threading.Event()

    def slow(event: TradeEvent) -> None:
        assert gate.wait(20)
        heard(event)

    listening.subscribe_all("A", slow)
    assert listening.wait_until_subscribed()
    bus.publish(sig(0))
    bus._client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    bus.publish_many(sig(number) for number in range(1, 1_000))
    gate.set()
    heard.wait(1_000)
    assert numbers(heard) == list(range(1_000))


def test_a_server_that_restarts_is_followed_and_an_emptied_log_is_told(
    buses: Buses, heard: Heard, in_thread: InThread
) -> None:
    server = start_server("valkey")
    config = RedisConfig(host="127.0.0.1", port=server.port, timeout_s=0.5)
    bus, listener = buses(config), buses(config)
    listener.subscribe_all("A", heard)
    in_thread(listener.listen)
    try:
        bus.publish(sig(0))
        heard.wait(1)
        server.kill()
        bus.publish(sig(1), wait=False)
        server.start()
        assert bus.flush(20)
        heard.wait(2)
        assert numbers(heard) == [0, 1]
        os.kill(server.pid, signal.SIGSTOP)
        bus.publish(sig(2), wait=False)
        wait_for(lambda: listener.counters["listener_reconnects"] >= 2, what="frozen is noticed")
        os.kill(server.pid, signal.SIGCONT)
        heard.wait(3)
        assert numbers(heard) == [0, 1, 2]
    finally:
        listener.stop()
        server.stop()


def test_a_log_that_was_trimmed_too_far_is_told_as_a_gap(
    bus: RedisEventBus, listening: RedisEventBus, heard: Heard
) -> None:
    listening.subscribe_all("A", heard)
    assert listening.wait_until_subscribed()
    bus.publish(sig(0))
    heard.wait(1)
    gate = threading.Event()
    listening.subscribe_all("BLOCK", lambda _event: gate.wait(20))
    assert listening.wait_until_subscribed()
    bus.publish(sig(0, "BLOCK"))
    bus._client.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    bus.publish_many(sig(number) for number in range(1, 5))
    bus._client.xtrim(bus.names.log, maxlen=1, approximate=False)
    gate.set()
    wait_for(lambda: listening.counters["gaps"] == 1)
    bus.publish(sig(9))
    heard.wait(3)
    assert numbers(heard) == [0, 4, 9]


def test_a_user_who_may_not_subscribe_is_told(config: RedisConfig, buses: Buses) -> None:
    admin = config.client()
    rights = [">pw", "on", "~*", "resetchannels", "&trades:B:*", "+@all"]
    admin.execute_command("ACL", "SETUSER", "deaf", *rights)
    try:
        deaf = buses(
            RedisConfig(host=config.host, port=config.port, username="deaf", password="pw")
        )
        deaf.subscribe_all("A", print)
        with pytest.raises(NotPermitted, match="trades:A:anomaly and 18 more channels"):
            deaf.listen()
    finally:
        admin.execute_command("ACL", "DELUSER", "deaf")
        admin.close()
