"""RedisSubscriber on a real server: what it decodes, and subscribing at any time."""

from __future__ import annotations

import dataclasses
import threading

import pytest

from main.embedded_valkey import EmbeddedValkey
from main.utils.redis.config import RedisConfig
from main.utils.redis.constants import CHANNELS
from main.utils.redis.errors import IllegalUse, NotPermitted, RedisUnavailable
from main.utils.redis.messages import OrderMessage, PriceMessage, encode
from main.utils.redis.start import Start
from main.utils.redis.subscriber import RedisSubscriber
from tests.conftest import wait_for
from tests.integration.utils.redis.conftest import (
    Publishers,
    Recorder,
    Subscribers,
    order,
    price,
)

AAPL, MSFT = CHANNELS.get_ticker_channel("AAPL"), CHANNELS.get_ticker_channel("MSFT")
pytestmark = pytest.mark.integration


# -- channels and decoding


def test_a_redis_that_is_not_there_is_told_at_construction() -> None:
    with pytest.raises(RedisUnavailable):
        RedisSubscriber(RedisConfig(host="127.0.0.1", port=1))


def test_typed_messages_on_the_contracts_channels_and_plain_json_elsewhere(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    bus.subscribe(AAPL, recorder)
    bus.subscribe("SOMETHING", recorder)
    bus.start_listening()
    publisher.publish_batch([price(), order()])
    publisher.publish("SOMETHING", {"a": [1, "b"]})
    wait_for(lambda: len(recorder) == 3)
    kinds = [type(message) for message in recorder.messages]
    assert kinds == [OrderMessage, PriceMessage, dict]
    assert recorder.messages[2] == {"a": [1, "b"]}


def test_a_decode_of_ones_own_gets_the_channel_and_the_bytes(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    bus.subscribe("BROKER_REGISTRATION", recorder, decode=lambda *raw: raw)
    bus.subscribe(AAPL, recorder, decode=lambda channel, payload: payload[:15])
    bus.start_listening()
    publisher.publish("BROKER_REGISTRATION", b"{not json")
    wait_for(lambda: len(recorder) == 1)
    publisher.publish_batch([price()])
    wait_for(lambda: len(recorder) == 2)
    assert recorder.messages == [("BROKER_REGISTRATION", b"{not json"), b'{"type":"price"']


def test_a_pattern_gives_the_real_channel_to_the_decode(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    bus.start_listening()
    bus.subscribe("BROKER_REGISTRATION.*", recorder, decode=lambda channel, payload: channel)
    publisher.publish(CHANNELS.get_client_registration_channel("me"), {})
    wait_for(lambda: recorder.messages == ["BROKER_REGISTRATION.me"])
    bus.unsubscribe("BROKER_REGISTRATION.*")
    wait_for(lambda: not publisher.publish("BROKER_REGISTRATION.me", {}))


def test_what_cannot_be_decoded_is_ignored_and_counted(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    bus.subscribe("SOMETHING", recorder)
    bus.subscribe(AAPL, recorder)
    bus.start_listening()
    publisher.publish("SOMETHING", b"{not json")
    publisher.publish(AAPL, b"{not json")
    publisher.publish("SOMETHING", {"last": True})
    wait_for(lambda: recorder.messages == [{"last": True}])
    assert bus.counters["ignored"] == 2


def test_an_unknown_type_is_ignored_but_its_number_counts(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    bus.subscribe(AAPL, recorder)
    bus.start_listening()
    publisher.publish_batch([price(number=1)])
    future = {"type": "auction", "symbol": "AAPL", "epoch": publisher.epoch, "seq": 2}
    publisher.publish(AAPL, future)
    assert publisher._packer is not None
    publisher._packer._ticker("AAPL").seq = 2
    publisher.publish_batch([price(number=3)])
    wait_for(lambda: len(recorder) == 2)
    assert recorder.seqs == [1, 3]
    assert bus.counters["ignored"] == 1
    assert "holes" not in bus.counters


def test_a_message_without_a_number_is_handed_over(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    bus.subscribe(AAPL, recorder)
    bus.start_listening()
    publisher.publish(AAPL, price())
    publisher.publish_batch([price(number=2)])
    wait_for(lambda: recorder.seqs == [0, 1])


def test_a_repeat_is_dropped_and_counted(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    bus.subscribe(AAPL, recorder)
    bus.start_listening()
    publisher.publish_batch([price(number=1), price(number=2)])
    again = encode(price(number=1))[:-1] + b',"epoch":%d,"seq":1}' % publisher.epoch
    publisher.publish(AAPL, again)
    publisher.publish_batch([price(number=3)])
    wait_for(lambda: recorder.seqs == [1, 2, 3])
    assert bus.counters["repeats_dropped"] == 1


def test_a_prefix_keeps_two_buses_apart(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    paper = dataclasses.replace(config, bus_prefix="PAPER_")
    bus, other, publisher = subscriber_on(paper), publisher_on(config), publisher_on(paper)
    bus.subscribe(bus.names.get_ticker_channel("AAPL"), recorder)
    bus.start_listening()
    other.publish_batch([price(number=1)])
    publisher.publish_batch([price(number=2)])
    wait_for(lambda: len(recorder) == 1)
    assert recorder.messages[0].timestamp == price(number=2).timestamp  # type: ignore[attr-defined]


# -- subscribing at any time, from anywhere


def test_subscribing_while_listening_returns_once_redis_confirmed(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    bus.start_listening()
    for number in range(50):
        bus.subscribe(f"CHANNEL_{number}", recorder)
        assert publisher.publish(f"CHANNEL_{number}", number) == 1
    wait_for(lambda: recorder.messages == list(range(50)))


def test_a_handler_may_subscribe_and_unsubscribe(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)

    def join(_message: object) -> None:
        bus.subscribe("INNER", recorder)
        bus.unsubscribe("OUTER")
        recorder("joined")

    bus.subscribe("OUTER", join)
    bus.start_listening()
    publisher.publish("OUTER", {})
    wait_for(lambda: recorder.messages == ["joined"], 3)
    publisher.publish("INNER", "in")
    wait_for(lambda: recorder.messages == ["joined", "in"])
    wait_for(lambda: not publisher.publish("OUTER", {}))


def test_leaving_and_joining_again_at_once_ends_joined(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    bus.start_listening()
    for _ in range(30):
        bus.subscribe("CHANNEL", recorder)
        bus.unsubscribe("CHANNEL")
    bus.subscribe("CHANNEL", recorder)
    assert publisher.publish("CHANNEL", 1) == 1
    wait_for(lambda: recorder.messages == [1])


def test_many_threads_may_subscribe_at_once(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    bus.start_listening()
    channels = [CHANNELS.get_ticker_channel(f"T{number}") for number in range(40)]
    threads = [
        threading.Thread(target=bus.subscribe, args=(channel, recorder)) for channel in channels
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    publisher.publish_batch([price(f"T{number}") for number in range(40)])
    wait_for(lambda: len(recorder) == 40)


def test_one_of_two_handlers_may_leave(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    publisher, bus, other = publisher_on(config), subscriber_on(config), Recorder()
    bus.start_listening()
    bus.subscribe(AAPL, recorder)
    bus.subscribe(AAPL, other)
    publisher.publish_batch([price(number=1)])
    wait_for(lambda: (recorder.seqs, other.seqs) == ([1], [1]))
    bus.unsubscribe(AAPL, other)
    publisher.publish_batch([price(number=2)])
    wait_for(lambda: recorder.seqs == [1, 2])
    assert other.seqs == [1]


def test_a_channel_that_redis_refuses_is_named_and_harms_no_other(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    publisher = publisher_on(config)
    client = config.client()
    rules = "reset on >secret +@all ~* resetchannels &ALLOWED &TICKER_*"
    client.execute_command("ACL", "SETUSER", "limited", *rules.split())
    bus = subscriber_on(dataclasses.replace(config, username="limited", password="secret"))
    bus.subscribe("ALLOWED", recorder)
    bus.start_listening()
    with pytest.raises(NotPermitted, match="FORBIDDEN"):
        bus.subscribe("FORBIDDEN", recorder)
    bus.subscribe(AAPL, recorder)  # needs no right to the heartbeat, though it is poorer without
    publisher.publish("ALLOWED", 1)
    wait_for(lambda: recorder.messages == [1])
    publisher.publish_batch([price(number=1)])
    wait_for(lambda: len(recorder) == 2)
    assert "connections_lost" not in bus.counters
    bus.close()
    client.acl_deluser("limited")
    client.close()


def test_no_confirmation_within_the_deadline_subscribes_nothing(
    own_valkey: EmbeddedValkey, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    config = RedisConfig(host="127.0.0.1", port=own_valkey.port)
    bus = subscriber_on(config, confirm_timeout_s=0.3)
    bus.start_listening()
    own_valkey.kill()
    with pytest.raises(RedisUnavailable):
        bus.subscribe("CHANNEL", recorder)
    own_valkey.start()
    client = config.client()
    wait_for(lambda: bus.counters.get("reconnects"))
    assert client.pubsub_channels() == []
    client.close()


def test_illegal_uses_change_nothing(
    config: RedisConfig, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    bus = subscriber_on(config)
    bus.subscribe(AAPL, recorder)
    with pytest.raises(IllegalUse, match="already"):
        bus.subscribe(AAPL, recorder)
    with pytest.raises(IllegalUse, match="policy"):
        bus.subscribe(MSFT, recorder, policy="latest")
    with pytest.raises(IllegalUse, match="no journal"):
        bus.subscribe("SOMETHING", recorder, start=Start.from_last())
    bus.start_listening()
    with pytest.raises(IllegalUse, match="listening already"):
        bus.start_listening()
    bus.close()
    with pytest.raises(IllegalUse):
        bus.subscribe(MSFT, recorder)
