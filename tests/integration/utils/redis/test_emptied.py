"""Redis loses everything: no order is lost with it, and none is handed over twice."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from main.utils.redis.config import RedisConfig
from main.utils.redis.errors import RedisUnavailable
from main.utils.redis.gap_tracker import Place
from main.utils.redis.journal import Journal
from main.utils.redis.messages import OrderMessage, PriceMessage, rfc3339
from main.utils.redis.publisher import RedisPublisher
from main.utils.redis.start import Start
from main.utils.redis.subscriber import RedisSubscriber
from tests.conftest import wait_for
from tests.integration.utils.redis.conftest import (
    EVENING,
    Gate,
    Publishers,
    Recorder,
    Subscribers,
    order,
    price,
)

pytestmark = pytest.mark.integration


def told_by_rest(number: int, event: str = "fill") -> OrderMessage:
    """What another broker finds missing of the same order."""
    fill = {"cum_qty": "2", "qty": "2", "activity_id": f"activity-{number}"}
    return OrderMessage(
        symbol="AAPL",
        timestamp=rfc3339(EVENING),
        event=event,
        order_data={"id": f"order-{number}", "symbol": "AAPL", "filled_qty": "2"},
        update=fill if event == "fill" else {},
        account_id="PA1",
        paper=True,
        source="reconcile",
    )


def told_by_stream(number: int) -> OrderMessage:
    filled = {"id": f"order-{number}", "symbol": "AAPL", "filled_qty": "2"}
    update = {"execution_id": f"execution-{number}", "qty": "2"}
    return OrderMessage(
        symbol="AAPL",
        timestamp=rfc3339(EVENING),
        event="fill",
        order_data=filled,
        update=update,
        account_id="PA1",
        paper=True,
        source="stream",
    )


def told(recorder: Recorder) -> list[tuple[str, str]]:
    orders = [m for m in recorder.messages if isinstance(m, OrderMessage)]
    return [(m.order_data["id"], m.event) for m in orders]


def publish_until_behind(
    publisher: RedisPublisher,
    subscriber: RedisSubscriber,
    make: Callable[..., OrderMessage | PriceMessage],
    at_least: int,
) -> int:
    """From number 2; returns the last. What comes in one read is taken, full or not, so that the
    reader is behind only when one more finds its queue full."""
    numbers = itertools.count(2)

    def behind_at() -> int:
        last = next(numbers)
        publisher.publish_batch([make(number=last)])
        return last if last >= at_least and subscriber.counters.get("queue_full", 0) else 0

    return wait_for(behind_at, what="the reader is behind")


def test_a_reader_that_is_behind_waits_until_the_order_journals_are_written_again(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, gate: Gate
) -> None:
    """It looks into journals that are empty, before the broker has noticed that they are."""
    publisher, subscriber = publisher_on(config), subscriber_on(config)
    subscriber.subscribe("TICKER_UPDATES_AAPL", gate, capacity=1)
    subscriber.start_listening()
    publisher.publish_batch([order(number=1)])
    assert gate.entered.wait(10)
    last = publish_until_behind(publisher, subscriber, order, at_least=29)
    client = config.client()
    client.flushall()
    gate.opened.set()
    with pytest.raises(RedisUnavailable):  # as the reader finds it now, too
        Journal(config, subscriber.names).refill("AAPL", Place(publisher.epoch, 1), 10, frozenset())
    publisher.restore_epoch()
    wait_for(lambda: len(gate.recorder) == last, what="all orders")
    assert gate.recorder.seqs == list(range(1, last + 1))
    assert gate.recorder.gaps == []
    client.close()


def test_prices_that_the_emptied_redis_lost_are_told_once_the_broker_is_back(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, gate: Gate
) -> None:
    publisher, subscriber = publisher_on(config), subscriber_on(config)
    subscriber.subscribe("TICKER_UPDATES_AAPL", gate, capacity=1)
    subscriber.start_listening()
    publisher.publish_batch([price(number=1)])
    assert gate.entered.wait(10)
    last = publish_until_behind(publisher, subscriber, price, at_least=9)
    client = config.client()
    client.flushall()
    gate.opened.set()
    publisher.publish_batch([price(number=last + 1)])
    wait_for(lambda: last + 1 in gate.recorder.seqs, what="the first price after it")
    (gap,) = gate.recorder.gaps
    assert (gap.lost or 0) + len(gate.recorder.seqs) == last + 1
    client.close()


@pytest.mark.parametrize("by_rest_first", [False, True])
def test_an_order_event_that_two_brokers_tell_is_handed_over_once(
    by_rest_first: bool,
    config: RedisConfig,
    publisher_on: Publishers,
    subscriber_on: Subscribers,
    recorder: Recorder,
) -> None:
    """The second broker cannot know what the first one told: its memory went with Redis."""
    subscriber, raw = subscriber_on(config), Recorder()
    subscriber.subscribe("TICKER_UPDATES_AAPL", recorder)
    subscriber.subscribe("TICKER_UPDATES_AAPL", raw, decode=lambda _channel, payload: payload)
    subscriber.start_listening()
    first = publisher_on(config)
    first.publish_batch([told_by_rest(1) if by_rest_first else told_by_stream(1)])
    wait_for(lambda: len(recorder) == len(raw) == 1, what="the first broker's")
    client = config.client()
    client.flushall()
    second = publisher_on(config)
    second.publish_batch([told_by_rest(1), told_by_rest(1, "canceled"), told_by_rest(2)])
    expected = [("order-1", "fill"), ("order-1", "canceled"), ("order-2", "fill")]
    wait_for(lambda: told(recorder) == expected, what="what the first one did not tell")
    wait_for(lambda: sum(isinstance(m, bytes) for m in raw.messages) == 3, what="the same, raw")
    assert subscriber.counters["order_repeats_dropped"] == 2
    client.close()


def test_who_joins_late_is_told_each_order_event_once_too(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, recorder: Recorder
) -> None:
    publisher = publisher_on(config)
    publisher.publish_batch([told_by_stream(1), told_by_rest(1), told_by_rest(2)])
    subscriber = subscriber_on(config)
    subscriber.subscribe("TICKER_UPDATES_AAPL", recorder, start=Start.since(rfc3339(EVENING)))
    subscriber.start_listening()
    wait_for(lambda: len(recorder) == 2, what="two events")
    assert recorder.seqs == [1, 3]
