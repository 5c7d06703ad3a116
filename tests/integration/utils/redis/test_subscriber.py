"""RedisSubscriber on a real server: channels, threads, queues, deadlines."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
import structlog

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


class Gate:
    """A handler that blocks until it is opened."""

    def __init__(self) -> None:
        self.opened, self.entered = threading.Event(), threading.Event()
        self.recorder = Recorder()

    def __call__(self, message: object) -> None:
        self.entered.set()
        assert self.opened.wait(20)
        self.recorder(message)


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.opened.set()


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
    publisher._packer.seqs["AAPL"] = 2
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


# -- handlers


def test_a_handler_that_raises_is_logged_and_counted_and_ends_nothing(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)

    def raising(message: object) -> None:
        recorder(message)
        if message == 1:
            raise ValueError("out of cheese")

    bus.subscribe("CHANNEL", raising)
    bus.start_listening()
    with structlog.testing.capture_logs() as logs:
        publisher.publish("CHANNEL", 1)
        publisher.publish("CHANNEL", 2)
        wait_for(lambda: recorder.messages == [1, 2])
    (event,) = [entry for entry in logs if entry["event"] == "handler.raised"]
    assert event["exc_info"]
    assert bus.counters["handler_errors"] == 1


def test_user_code_runs_in_named_worker_threads_one_for_each_handler(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    seen: list[tuple[str, object]] = []

    def first(message: object) -> None:
        seen.append((threading.current_thread().name, message))

    def second(message: object) -> None:
        seen.append((threading.current_thread().name, message))

    bus.subscribe("A", first)
    bus.subscribe("B", first)
    bus.subscribe("C", second, decode=lambda *_: threading.current_thread().name)
    bus.start_listening()
    for number in range(100):
        publisher.publish("AB"[number % 2], number)
    publisher.publish("C", 0)
    wait_for(lambda: len(seen) == 101)
    (name,) = {name for name, message in seen if not isinstance(message, str)}
    assert name.startswith("bus-handler-")
    assert name.endswith("first")
    assert [message for _, message in seen if not isinstance(message, str)] == list(range(100))
    ((worker, decoder),) = [item for item in seen if isinstance(item[1], str)]
    assert worker == decoder != name
    assert "bus-reader" in {thread.name for thread in threading.enumerate()}


# -- slow handlers


def test_a_full_queue_is_bounded_and_caught_up_from_the_journal(
    config: RedisConfig,
    publisher_on: Publishers,
    subscriber_on: Subscribers,
    recorder: Recorder,
    gate: Gate,
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    bus.subscribe(AAPL, gate, capacity=100)
    bus.subscribe(AAPL, recorder)
    bus.start_listening()
    for start in range(1, 5_001, 100):
        publisher.publish_batch([price(number=number) for number in range(start, start + 100)])
    wait_for(lambda: len(recorder) == 5_000)  # the stalled one does not delay the other
    (stalled,) = [outlet for outlet in bus._board.outlets if outlet.handler == gate]
    assert len(stalled.queue) < 100 + 1_200  # its capacity, and what one read may bring
    gate.opened.set()
    wait_for(lambda: len(gate.recorder) >= 5_000)
    assert gate.recorder.seqs == list(range(1, 5_001))
    assert not gate.recorder.gaps
    assert bus.counters["queue_full"] >= 1


def test_what_the_journal_lost_while_the_handler_was_slow_is_its_own_gap(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, gate: Gate
) -> None:
    bus = subscriber_on(config)
    publisher = publisher_on(config)
    bus.subscribe(AAPL, gate, capacity=10)
    bus.start_listening()
    publisher.publish_batch([price(number=1)])
    gate.entered.wait(5)
    for start in range(2, 15_002, 100):
        publisher.publish_batch([price(number=number) for number in range(start, start + 100)])
    gate.opened.set()
    wait_for(lambda: gate.recorder.seqs[-1:] == [15_001])
    (gap,) = gate.recorder.gaps
    assert gap.cause == "consumer_slow"
    assert gap.lost is not None
    assert len(gate.recorder.seqs) + gap.lost == 15_001
    assert gate.recorder.seqs == sorted(set(gate.recorder.seqs))


def test_latest_keeps_each_tickers_newest_trade_every_order_and_exact_counts(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, gate: Gate
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    bus.subscribe(AAPL, gate, policy="latest")
    bus.subscribe(MSFT, gate, policy="latest")
    bus.start_listening()
    publisher.publish_batch([price(number=1)])
    assert gate.entered.wait(5)
    publisher.publish_batch([price(number=number) for number in range(2, 501)])
    publisher.publish_batch([order(number=501)])
    publisher.publish_batch([price("MSFT", number=number) for number in range(1, 101)])
    publisher.publish_batch([price(number=number) for number in range(502, 601)])
    publisher.publish_batch([price(number=601, eligible=False), order(number=602)])
    wait_for(lambda: bus.skipped == {"AAPL": 499 + 99 - 1, "MSFT": 99})
    gate.opened.set()
    wait_for(lambda: len(gate.recorder) == 6)
    kept = [(type(m).__name__, m.symbol, m.seq) for m in gate.recorder.messages]  # type: ignore[attr-defined]
    assert kept == [
        ("PriceMessage", "AAPL", 1),
        ("OrderMessage", "AAPL", 501),
        ("PriceMessage", "MSFT", 100),
        ("PriceMessage", "AAPL", 600),
        ("OrderMessage", "AAPL", 601),
        ("PriceMessage", "AAPL", 602),
    ]


# -- late joiners


def test_a_late_joiner_gets_the_last_price_and_what_follows(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    publisher.publish_batch([price(number=number) for number in range(1, 11)])
    publisher.publish_batch([price(number=number, eligible=False) for number in range(11, 1_501)])
    publisher.publish_batch([order(number=1_501)])
    bus.start_listening()
    last = bus.last("AAPL")
    assert last is not None
    assert last.seq == 10
    bus.subscribe(AAPL, recorder, start=Start.from_last())
    publisher.publish_batch([price(number=1_502)])
    wait_for(lambda: recorder.seqs[-1:] == [1_502])
    assert recorder.seqs == list(range(10, 1_503))
    assert not recorder.gaps


def test_a_late_joiner_where_nothing_was_ever_said_joins_live(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    publisher, bus, since = publisher_on(config), subscriber_on(config), Recorder()
    bus.start_listening()
    assert bus.last("AAPL") is None
    bus.subscribe(AAPL, recorder, start=Start.from_last())
    bus.subscribe(AAPL, since, start=Start.since(datetime(2020, 1, 1, tzinfo=UTC)))
    publisher.publish_batch([price(number=1)])
    wait_for(lambda: (recorder.seqs, since.seqs) == ([1], [1]))
    assert not recorder.gaps
    assert not since.gaps


def test_since_begins_with_the_first_message_of_that_time(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    publisher.publish_batch([price(number=number) for number in range(1, 101)])
    everything, nothing = Recorder(), Recorder()
    bus.subscribe(AAPL, recorder, start=Start.since(price(number=60).timestamp))
    bus.subscribe(AAPL, everything, start=Start.since("2020-01-01T00:00:00Z"))
    bus.subscribe(AAPL, nothing, start=Start.since("2099-01-01T00:00:00Z"))
    bus.start_listening()
    publisher.publish_batch([price(number=101)])
    wait_for(lambda: recorder.seqs[-1:] == everything.seqs[-1:] == nothing.seqs[-1:] == [101])
    assert recorder.seqs == list(range(60, 102))
    assert everything.seqs == list(range(1, 102))
    assert nothing.seqs == [101]
    assert not recorder.gaps + everything.gaps + nothing.gaps


def test_since_a_time_that_the_journal_no_longer_has_is_told_and_brings_the_orders(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    publisher.publish_batch([price(number=1)])
    publisher.publish_batch([order(number=2)])
    publisher.publish_batch([price(number=3), price(number=4)])
    client = config.client()
    client.xtrim(CHANNELS.ticker_log("AAPL"), maxlen=1, approximate=False)
    client.close()
    late = Recorder()
    bus.start_listening()
    since = price(number=2).timestamp
    bus.subscribe(AAPL, recorder, start=Start.since(since))
    bus.subscribe(AAPL, late, start=Start.since(price(number=3).timestamp))
    wait_for(lambda: (recorder.seqs, late.seqs) == ([2, 4], [4]))
    (gap,) = recorder.gaps
    assert recorder.messages[0] is gap
    assert gap.from_ == since
    assert len(late.gaps) == 1


def test_live_means_from_the_moment_of_the_call(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    publisher.publish_batch([price(number=1)])
    bus.subscribe(AAPL, recorder)
    bus.start_listening()
    publisher.publish_batch([price(number=2)])
    wait_for(lambda: recorder.seqs == [2])


# -- quotes, which no journal keeps


def test_a_hole_among_quotes_is_told(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    quotes = CHANNELS.get_quotes_channel("AAPL")
    bus.subscribe(quotes, recorder)
    bus.start_listening()
    for seq in (1, 2, 5, 6):
        body = {
            "type": "quote",
            "symbol": "AAPL",
            "timestamp": price(number=seq).timestamp,
            "bid_price": 1.0,
            "bid_size": 1,
            "ask_price": 1.1,
            "ask_size": 1,
            "feed": "iex",
            "epoch": publisher.epoch,
            "seq": seq,
        }
        publisher.publish(quotes, body)
    wait_for(lambda: recorder.seqs == [1, 2, 5, 6])
    (gap,) = recorder.gaps
    assert recorder.messages[2] is gap
    assert (gap.lost, gap.symbol) == (2, "AAPL")


# -- the end


def test_stop_hands_over_what_was_received_and_leaves_no_thread(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    slow = Recorder()

    def handler(message: object) -> None:
        time.sleep(0.001)
        slow(message)

    bus.subscribe(AAPL, handler)
    bus.start_listening()
    publisher.publish_batch([price(number=number) for number in range(1, 301)])
    wait_for(lambda: len(slow) > 0)
    assert bus.stop() == []
    assert slow.seqs == list(range(1, 301))
    names = {thread.name for thread in threading.enumerate()}
    assert not {name for name in names if name.startswith("bus-")}


def test_stop_ends_in_time_inside_a_blocked_handler_and_names_it(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, gate: Gate
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    bus.subscribe("CHANNEL", gate)
    bus.start_listening()
    publisher.publish("CHANNEL", 1)
    assert gate.entered.wait(5)
    begun = time.monotonic()
    assert bus.stop(timeout_s=0.5) == ["bus-handler-Gate"]
    assert time.monotonic() - begun < 1.0


def test_a_handler_may_stop_its_own_subscriber(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    bus.subscribe("CHANNEL", lambda _message: recorder(bus.stop()))
    bus.start_listening()
    publisher.publish("CHANNEL", 1)
    wait_for(lambda: recorder.messages == [[]], 5)


def test_listening_again_after_a_stop_goes_on_where_it_stopped(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    bus.subscribe(AAPL, recorder)
    bus.start_listening()
    publisher.publish_batch([price(number=1)])
    wait_for(lambda: len(recorder) == 1)
    bus.stop()
    publisher.publish_batch([price(number=2), price(number=3)])
    bus.start_listening()
    publisher.publish_batch([price(number=4)])
    wait_for(lambda: recorder.seqs == [1, 2, 3, 4])


def test_ping_says_whether_redis_answers(
    own_valkey: EmbeddedValkey, subscriber_on: Subscribers
) -> None:
    bus = subscriber_on(RedisConfig(host="127.0.0.1", port=own_valkey.port))
    assert bus.ping()
    own_valkey.kill()
    assert not bus.ping()


def test_closing_twice_and_without_listening_is_harmless(
    config: RedisConfig, subscriber_on: Subscribers
) -> None:
    bus = subscriber_on(config)
    bus.close()
    bus.close()
