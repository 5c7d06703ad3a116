"""What a subscriber misses comes back from the journals, or is told as a gap."""

from __future__ import annotations

import os
import signal
import threading
import time

import pytest

from main.embedded_valkey import EmbeddedValkey
from main.utils.redis.batch import JournalBounds
from main.utils.redis.config import RedisConfig
from main.utils.redis.constants import CHANNELS
from main.utils.redis.messages import OrderMessage, encode
from main.utils.redis.publisher import RedisPublisher
from main.utils.redis.start import Start
from tests.conftest import wait_for
from tests.integration.utils.redis.conftest import (
    Publishers,
    Recorder,
    Subscribers,
    order,
    price,
)

AAPL = CHANNELS.get_ticker_channel("AAPL")
pytestmark = pytest.mark.integration


def cut_subscribers(config: RedisConfig) -> None:
    client = config.client()
    client.client_kill_filter(_type="pubsub")
    client.close()


def write_past_the_wire(publisher: RedisPublisher, *numbers: int) -> None:
    """Into the journal only, as if the channel's copy had been lost on its way."""
    client = publisher._config.client()
    packer = publisher._packer
    assert packer is not None
    for number in numbers:
        packer._ticker("AAPL").seq = seq = packer.seqs.get("AAPL", 0) + 1
        body = encode(price(number=number))[:-1] + b',"epoch":%d,"seq":%d}' % (packer.epoch, seq)
        client.xadd(CHANNELS.ticker_log("AAPL"), {"m": body}, id=f"{packer.epoch}-{seq}")
    client.close()


def publish_status(publisher: RedisPublisher, *, with_map: bool = True) -> None:
    status: dict[str, object] = {"type": "broker_status", "epoch": publisher.epoch}
    if with_map:
        seqs = publisher.seqs().items()
        status["tickers"] = {symbol: {"seq": seq, "state": "LIVE"} for symbol, seq in seqs}
    publisher.publish(CHANNELS.BROKER_STATUS, status)


def test_a_cut_connection_loses_and_repeats_nothing(
    config: RedisConfig,
    publisher_on: Publishers,
    subscriber_on: Subscribers,
    recorder: Recorder,
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    bus.subscribe(AAPL, recorder)
    bus.start_listening()
    for number in range(1, 2_001):
        publisher.publish_batch([price(number=number)])
        if number % 400 == 0:
            cut_subscribers(config)
    wait_for(lambda: len(recorder) >= 2_000)
    assert recorder.seqs == list(range(1, 2_001))
    assert bus.counters["connections_lost"] >= 2
    assert bus.counters["refilled"] > 0
    assert not recorder.gaps


def test_a_hole_in_the_wire_is_filled_in_order(
    config: RedisConfig,
    publisher_on: Publishers,
    subscriber_on: Subscribers,
    recorder: Recorder,
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    bus.subscribe(AAPL, recorder)
    bus.start_listening()
    publisher.publish_batch([price(number=1)])
    write_past_the_wire(publisher, 2, 3)
    publisher.publish_batch([price(number=4)])
    wait_for(lambda: len(recorder) == 4)
    assert recorder.seqs == [1, 2, 3, 4]
    assert bus.counters["holes"] == 1


@pytest.mark.parametrize("with_map", [True, False], ids=["heartbeat_map", "journal_top"])
def test_a_lost_last_message_shows_within_two_seconds(
    config: RedisConfig,
    publisher_on: Publishers,
    subscriber_on: Subscribers,
    recorder: Recorder,
    with_map: bool,
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    bus.subscribe(AAPL, recorder)
    bus.start_listening()
    publisher.publish_batch([price(number=1)])
    wait_for(lambda: len(recorder) == 1)
    write_past_the_wire(publisher, 2)
    lost_at = time.monotonic()
    publish_status(publisher, with_map=with_map)
    wait_for(lambda: len(recorder) == 2, 5)
    assert time.monotonic() - lost_at < 2.3
    assert recorder.seqs == [1, 2]


def test_the_first_message_of_a_ticker_is_not_lost_either(
    config: RedisConfig,
    publisher_on: Publishers,
    subscriber_on: Subscribers,
    recorder: Recorder,
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    bus.subscribe(AAPL, recorder)
    bus.start_listening()
    write_past_the_wire(publisher, 1)
    publish_status(publisher)
    wait_for(lambda: len(recorder) == 1, 5)
    assert recorder.seqs == [1]


def test_what_the_journal_no_longer_has_is_told_and_orders_come_all_the_same(
    config: RedisConfig,
    publisher_on: Publishers,
    subscriber_on: Subscribers,
    recorder: Recorder,
) -> None:
    publisher = publisher_on(config, JournalBounds(max_per_ticker=100))
    publisher.publish_batch([price(number=1)])
    place = f"{publisher.epoch}-1"
    publisher.publish_batch([order(number=2)])
    publisher.publish_batch([price(number=number) for number in range(3, 1_001)])
    client = config.client()
    first = client.xrange(CHANNELS.ticker_log("AAPL"), count=1)[0][0].decode()
    client.close()
    first_seq = int(first.partition("-")[2])
    bus = subscriber_on(config)
    bus.subscribe(AAPL, recorder, start=Start.from_id(place))
    bus.start_listening()
    wait_for(lambda: recorder.seqs[-1:] == [1_000])
    assert recorder.seqs == [2, *range(first_seq, 1_001)]
    assert isinstance(recorder.messages[1], OrderMessage)
    (gap,) = recorder.gaps
    assert recorder.messages[0] is gap
    assert (gap.cause, gap.seq, gap.lost) == ("journal_expired", 0, first_seq - 3)
    assert gap.to == price(number=first_seq).timestamp


def test_a_new_run_of_the_broker_is_followed_and_the_old_ones_end_is_refilled(
    config: RedisConfig,
    publisher_on: Publishers,
    subscriber_on: Subscribers,
    recorder: Recorder,
) -> None:
    first, bus = publisher_on(config), subscriber_on(config)
    bus.subscribe(AAPL, recorder)
    bus.start_listening()
    first.publish_batch([price(number=1)])
    write_past_the_wire(first, 2)
    second = publisher_on(config)
    second.publish_batch([price(number=3)])
    wait_for(lambda: len(recorder) == 3)
    places = [(message.epoch, message.seq) for message in recorder.messages]  # type: ignore[attr-defined]
    assert places == [(first.epoch, 1), (first.epoch, 2), (second.epoch, 1)]


def test_a_fenced_broker_that_still_publishes_is_dropped_and_counted(
    config: RedisConfig,
    publisher_on: Publishers,
    subscriber_on: Subscribers,
    recorder: Recorder,
) -> None:
    old = publisher_on(config)
    new, bus = publisher_on(config), subscriber_on(config)
    bus.subscribe(AAPL, recorder)
    bus.start_listening()
    new.publish_batch([price(number=1)])
    stale = encode(price(number=9))[:-1] + b',"epoch":%d,"seq":7}' % old.epoch
    old.publish(AAPL, stale)
    old.publish(AAPL, stale)
    new.publish_batch([price(number=2)])
    wait_for(lambda: len(recorder) == 2)
    wait_for(lambda: bus.counters.get("fenced_dropped") == 2)
    assert recorder.seqs == [1, 2]
    assert {message.epoch for message in recorder.messages} == {new.epoch}  # type: ignore[attr-defined]


def test_a_forged_higher_epoch_does_not_deafen_and_repeats_nothing(
    config: RedisConfig,
    publisher_on: Publishers,
    subscriber_on: Subscribers,
    recorder: Recorder,
) -> None:
    publisher, bus = publisher_on(config), subscriber_on(config)
    bus.subscribe(AAPL, recorder)
    bus.start_listening()
    publisher.publish_batch([price(number=1), price(number=2)])
    wait_for(lambda: len(recorder) == 2)
    forged = encode(price(number=9))[:-1] + b',"epoch":%d,"seq":5}' % (publisher.epoch + 5)
    publisher.publish(AAPL, forged)
    wait_for(lambda: len(recorder.gaps) == 1)
    publisher.publish_batch([price(number=3)])
    publisher.publish_batch([price(number=4)])
    wait_for(lambda: recorder.seqs[-1:] == [4])
    assert recorder.seqs == [1, 2, 5, 3, 4]


def test_a_demoted_primary_that_still_knows_the_old_epoch_is_not_believed(
    own_config: RedisConfig,
    publisher_on: Publishers,
    subscriber_on: Subscribers,
    recorder: Recorder,
) -> None:
    old = publisher_on(own_config)
    new, bus = publisher_on(own_config), subscriber_on(own_config)
    bus.subscribe(AAPL, recorder)
    bus.start_listening()
    new.publish_batch([price(number=1)])
    wait_for(lambda: len(recorder) == 1)
    client = own_config.client()
    client.set(CHANNELS.BROKER_EPOCH, old.epoch)  # as a server that was cut off had it
    client.replicaof("127.0.0.1", 1)
    old.publish(AAPL, encode(price(number=9))[:-1] + b',"epoch":%d,"seq":7}' % old.epoch)
    wait_for(lambda: bus.counters.get("fenced_dropped") == 1)
    assert recorder.seqs == [1]
    client.close()


def test_a_lower_epoch_that_owns_an_emptied_redis_is_followed(
    config: RedisConfig,
    publisher_on: Publishers,
    subscriber_on: Subscribers,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    high, bus = publisher_on(config), subscriber_on(config)
    bus.subscribe(AAPL, recorder)
    bus.start_listening()
    high.publish_batch([price(number=1)])
    wait_for(lambda: len(recorder) == 1)
    client = config.client()
    client.flushall()
    client.close()
    monkeypatch.setattr("main.utils.redis.publisher.time.time_ns", lambda: 1_000_000_000_000_000)
    low = publisher_on(config)
    assert low.epoch < high.epoch
    low.publish_batch([price(number=2), price(number=3)])
    low.publish_batch([price(number=4)])
    wait_for(lambda: len(recorder) == 4)
    assert recorder.seqs == [1, 1, 2, 3]


def test_a_redis_that_is_killed_and_comes_back_empty_loses_nothing_in_silence(
    own_valkey: EmbeddedValkey,
    own_config: RedisConfig,
    publisher_on: Publishers,
    subscriber_on: Subscribers,
    recorder: Recorder,
) -> None:
    publisher, bus = publisher_on(own_config), subscriber_on(own_config)
    bus.subscribe(AAPL, recorder)
    bus.start_listening()
    publisher.publish_batch([price(number=number) for number in range(1, 101)])
    write_past_the_wire(publisher, 101, 102)
    own_valkey.kill()
    own_valkey.start()
    publisher.publish_batch([price(number=number) for number in range(103, 201)])
    wait_for(lambda: recorder.seqs[-1:] == [200])
    assert recorder.seqs == [*range(1, 101), *range(103, 201)]
    assert [gap.lost for gap in recorder.gaps] == [2]


def test_a_redis_that_is_killed_and_comes_back_with_its_journal_loses_nothing(
    publisher_on: Publishers, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    with EmbeddedValkey(None, "--appendonly", "yes", "--appendfsync", "always") as server:
        config = RedisConfig(host="127.0.0.1", port=server.port)
        publisher, bus = publisher_on(config), subscriber_on(config)
        bus.subscribe(AAPL, recorder)
        bus.start_listening()
        publisher.publish_batch([price(number=1)])
        write_past_the_wire(publisher, 2)
        server.kill()
        server.start()
        publisher.publish_batch([price(number=3)])
        wait_for(lambda: recorder.seqs[-1:] == [3])
        bus.close()
        publisher.close()
    assert recorder.seqs == [1, 2, 3]
    assert not recorder.gaps


def test_a_frozen_redis_is_noticed_within_two_seconds_and_healed_after(
    own_valkey: EmbeddedValkey,
    own_config: RedisConfig,
    publisher_on: Publishers,
    subscriber_on: Subscribers,
    recorder: Recorder,
) -> None:
    publisher, bus = publisher_on(own_config), subscriber_on(own_config)
    bus.subscribe(AAPL, recorder)
    bus.start_listening()
    publisher.publish_batch([price(number=1)])
    wait_for(lambda: len(recorder) == 1)
    os.kill(own_valkey.pid, signal.SIGSTOP)
    frozen_at = time.monotonic()
    try:
        wait_for(lambda: bus.counters.get("connections_lost"), 5)
        assert time.monotonic() - frozen_at < 2.3
    finally:
        os.kill(own_valkey.pid, signal.SIGCONT)
    publisher.publish_batch([price(number=2)])
    wait_for(lambda: len(recorder) == 2)
    assert recorder.seqs == [1, 2]


def test_ten_thousand_missed_messages_come_back_in_their_order(
    config: RedisConfig,
    publisher_on: Publishers,
    subscriber_on: Subscribers,
    recorder: Recorder,
) -> None:
    publisher = publisher_on(config)
    publisher.publish_batch([price(number=number) for number in range(1, 10_001)])
    bus = subscriber_on(config)
    bus.start_listening()
    bus.subscribe(AAPL, recorder, start=Start.from_id(f"{publisher.epoch}-0"))
    wait_for(lambda: len(recorder) >= 10_000)
    assert recorder.seqs == list(range(1, 10_001))


@pytest.mark.parametrize("bound", [30_000, 2_000], ids=["long_journal", "short_journal"])
def test_late_joiners_meet_a_stream_that_goes_on(
    config: RedisConfig,
    publisher_on: Publishers,
    subscriber_on: Subscribers,
    bound: int,
) -> None:
    """With a short journal the stream outruns the refill: every message then is told as lost."""
    publisher = publisher_on(config, JournalBounds(max_per_ticker=bound))
    bus = subscriber_on(config)
    bus.start_listening()
    done = threading.Event()

    def publish_on() -> None:
        for start in range(1, 20_001, 50):
            publisher.publish_batch([price(number=number) for number in range(start, start + 50)])
        done.set()

    thread = threading.Thread(target=publish_on)
    thread.start()
    recorders = []
    while not done.is_set() and len(recorders) < 6:
        recorders.append(Recorder())
        start = Start.from_id(f"{publisher.epoch}-0")
        bus.subscribe(AAPL, recorders[-1], start=start, capacity=1_000)
        done.wait(0.05)
    thread.join()
    assert len(recorders) > 2
    for joined in recorders:
        wait_for(lambda joined=joined: joined.seqs[-1:] == [20_000], 20)
        assert joined.seqs == sorted(set(joined.seqs))
        assert len(joined.seqs) + sum(gap.lost or 0 for gap in joined.gaps) == 20_000
        assert bound < 20_000 or not joined.gaps
