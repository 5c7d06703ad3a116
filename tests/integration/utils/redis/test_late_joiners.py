"""From where a late joiner begins; and quotes, which no journal keeps."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from main.utils.redis.config import RedisConfig
from main.utils.redis.constants import CHANNELS
from main.utils.redis.start import Start
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
