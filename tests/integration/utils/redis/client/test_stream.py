"""`for message in client.follow(…)`, on a real Valkey, with a broker that is played."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
import structlog

from main.utils.redis import broker_watch, tap
from main.utils.redis.client import TickerClient
from main.utils.redis.config import RedisConfig
from main.utils.redis.errors import (
    IllegalUse,
    InvalidTicker,
    RedisUnavailable,
    RegistrationRejected,
)
from main.utils.redis.messages import BarMessage, GapMessage, QuoteMessage, rfc3339
from main.utils.redis.publisher import RedisPublisher
from main.utils.redis.stream import Stream
from tests.conftest import wait_for
from tests.integration.utils.redis.client.conftest import Clients, own_order
from tests.integration.utils.redis.conftest import EVENING, order, price
from tests.integration.utils.redis.played_broker import PlayedBroker

pytestmark = pytest.mark.integration


def numbers(stream: Stream, count: int) -> list[tuple[str, int]]:
    found: list[Any] = [stream.get(10) for _ in range(count)]
    return [(message.symbol, message.seq) for message in found]


def test_a_for_loop_gets_every_message_of_its_tickers_in_order(
    broker: PlayedBroker, publisher: RedisPublisher, client_as: Clients
) -> None:
    stream = client_as().follow("aapl", "MSFT")
    publisher.publish_batch([price("AAPL", 1), price("MSFT", 1), price("AAPL", 2), price("TSLA")])
    found = []
    for message in stream:
        found.append((message.symbol, message.seq))
        if len(found) == 3:
            break
    assert found == [("AAPL", 1), ("MSFT", 1), ("AAPL", 2)]
    assert stream.get(0) is None


def test_a_ticker_is_registered_with_a_lease_and_given_back_at_the_end_of_the_block(
    broker: PlayedBroker, config: RedisConfig
) -> None:
    with TickerClient(config, "me", lease_s=60) as client:
        client.follow("AAPL")
        (request,) = broker.requests
        assert (request["client_id"], request["lease_s"]) == ("me", 60)
        assert client.tickers == ("AAPL",)
    assert broker.asked() == {("subscribe", "AAPL"): 1, ("unsubscribe", "AAPL"): 1}


def test_a_lease_is_renewed_while_the_stream_lives(
    broker: PlayedBroker, client_as: Clients
) -> None:
    client_as(lease_s=1).follow("AAPL")
    wait_for(lambda: broker.asked()["subscribe", "AAPL"] >= 3)


def test_a_rejection_is_raised_with_the_brokers_reason_and_nothing_is_followed(
    broker: PlayedBroker, client_as: Clients
) -> None:
    client = client_as()
    with pytest.raises(RegistrationRejected, match="BAD is not followed, unknown_ticker") as caught:
        client.follow("AAPL", "BAD")
    assert (caught.value.ticker, caught.value.reason) == ("BAD", "unknown_ticker")
    assert client.tickers == ()
    wait_for(lambda: broker.asked()["unsubscribe", "AAPL"] == 1)
    assert broker.asked()["unsubscribe", "BAD"] == 0


def test_a_later_rejection_is_raised_in_the_loop_which_can_go_on_with_the_others(
    broker: PlayedBroker, publisher: RedisPublisher, client_as: Clients
) -> None:
    stream = client_as(lease_s=1).follow("AAPL", "MSFT")
    broker.refuses["AAPL"] = "symbol_limit"
    with pytest.raises(RegistrationRejected, match="AAPL is not followed, symbol_limit"):
        next(stream)
    publisher.publish_batch([price("AAPL", 1), price("MSFT", 1)])
    assert numbers(stream, 1) == [("MSFT", 1)]
    assert stream.tickers == ("MSFT",)


def test_a_reason_that_passes_is_waited_for_and_not_raised(
    broker: PlayedBroker, client_as: Clients
) -> None:
    broker.refuses["AAPL"] = "upstream_unavailable"
    client = client_as(lease_s=1)
    with structlog.testing.capture_logs() as lines:
        client.follow("AAPL")
        wait_for(lambda: broker.asked()["subscribe", "AAPL"] >= 2)
        broker.refuses.clear()
        wait_for(lambda: broker.asked()["subscribe", "AAPL"] >= 3)
    assert client.tickers == ("AAPL",)
    assert [line["reason"] for line in lines if line["event"] == "lease.rejected"] == [
        "upstream_unavailable"
    ]


def test_a_broker_that_is_away_is_waited_for_with_one_line(
    config: RedisConfig,
    publisher: RedisPublisher,
    client_as: Clients,
    request: pytest.FixtureRequest,
) -> None:
    """It takes 3 s without a heartbeat."""
    client = client_as()
    with structlog.testing.capture_logs() as lines:
        stream = client.follow("AAPL")  # there is no broker yet
        assert client.broker.away
        assert stream.get(0.05) is None
        late: PlayedBroker = request.getfixturevalue("broker")
        wait_for(lambda: late.asked()["subscribe", "AAPL"] >= 1)
        late.announce(7)
        wait_for(lambda: client.broker.ready)
        wait_for(lambda: [line for line in lines if line["event"] == "broker.back"])
        publisher.publish_batch([price()])
        assert numbers(stream, 1) == [("AAPL", 1)]
        client.close()
    assert [line["event"] for line in lines if line["log_level"] == "warning"] == ["broker.away"]


def test_the_end_of_the_block_does_not_wait_for_a_broker_that_is_away(
    config: RedisConfig, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_watch, "SILENCE_S", 0.2)
    with structlog.testing.capture_logs() as lines, TickerClient(config, "me") as client:
        client.follow("AAPL")
        before = time.monotonic()
    assert time.monotonic() - before < 1.5
    assert [line["event"] for line in lines] == ["broker.away"]


def test_a_broker_that_falls_silent_is_told_of_once_while_nobody_asks(
    broker: PlayedBroker, client_as: Clients, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_watch, "SILENCE_S", 0.3)
    with structlog.testing.capture_logs() as lines:
        client = client_as()
        client.open()
        broker.announce(7)
        wait_for(lambda: client.broker.ready)
        wait_for(lambda: [line for line in lines if line["event"] == "broker.away"])
        broker.announce(7)
        wait_for(lambda: [line for line in lines if line["event"] == "broker.back"])
    events = [line["event"] for line in lines if line["event"].startswith("broker.")]
    assert events[:2] == ["broker.away", "broker.back"]


def test_the_heartbeat_says_whether_orders_may_be_sent_and_since_when(
    broker: PlayedBroker, client_as: Clients
) -> None:
    client = client_as()
    client.open()
    assert (client.broker.state, client.broker.ready) == ("UNKNOWN", False)
    broker.announce(7)
    wait_for(lambda: client.broker.ready)
    broker.announce(7, orders_ready=False)
    wait_for(lambda: not client.broker.orders_ready)
    view = client.broker
    assert (view.ready, view.prices_ready, view.state) == (False, True, "RUNNING")
    assert view.status is not None
    assert view.orders_since == view.status.timestamp


def test_what_was_received_can_be_read_after_the_block(
    broker: PlayedBroker, publisher: RedisPublisher, config: RedisConfig
) -> None:
    with TickerClient(config, "me") as client:
        stream = client.follow("AAPL")
        publisher.publish_batch([price(number=number) for number in range(1, 51)])
        assert next(stream).seq == 1
        wait_for(lambda: len(stream.handler.queue) == 49)
    assert not stream.ended
    assert [message.seq for message in stream] == list(range(2, 51))
    assert stream.ended
    assert stream.get(1) is None


def test_closing_in_one_thread_ends_the_loop_in_another(
    broker: PlayedBroker, client_as: Clients
) -> None:
    client = client_as()
    stream = client.follow("AAPL")
    loop = threading.Thread(target=lambda: [*stream])
    loop.start()
    wait_for(lambda: stream.handler._asleep)
    assert client.close() == []
    loop.join(5)
    assert not loop.is_alive()


def test_tickers_join_and_leave_a_stream_while_it_is_read(
    broker: PlayedBroker, publisher: RedisPublisher, client_as: Clients
) -> None:
    client = client_as()
    stream = client.follow("AAPL")
    publisher.publish_batch([price("AAPL", 1)])
    assert numbers(stream, 1) == [("AAPL", 1)]
    stream.follow("MSFT")
    assert client.tickers == stream.tickers == ("AAPL", "MSFT")
    publisher.publish_batch([price("AAPL", 2), price("MSFT", 1)])
    stream.unfollow("aapl")
    wait_for(lambda: broker.asked()["unsubscribe", "AAPL"] == 1)
    publisher.publish_batch([price("AAPL", 3), price("MSFT", 2)])
    found = numbers(stream, 2)
    if found[0] == ("AAPL", 2):  # received before it was left
        found = [found[1], *numbers(stream, 1)]
    assert found == [("MSFT", 1), ("MSFT", 2)]
    stream.follow("AAPL")
    publisher.publish_batch([price("AAPL", 4)])
    assert numbers(stream, 1) == [("AAPL", 4)]


def test_a_ticker_of_two_streams_is_registered_once_and_given_back_with_the_second(
    broker: PlayedBroker, publisher: RedisPublisher, client_as: Clients
) -> None:
    client = client_as()
    first, second = client.follow("AAPL"), client.follow("AAPL", "MSFT")
    publisher.publish_batch([price("AAPL", 1)])
    assert numbers(first, 1) == numbers(second, 1) == [("AAPL", 1)]
    first.close()
    assert next(first, None) is None
    assert client.tickers == ("AAPL", "MSFT")
    client.unfollow("AAPL", "MSFT")
    wait_for(lambda: broker.asked()["unsubscribe", "AAPL"] == 1)
    assert broker.asked()["subscribe", "AAPL"] == 1


def test_streams_that_have_ended_are_forgotten_but_not_what_they_counted(
    broker: PlayedBroker, publisher: RedisPublisher, client_as: Clients
) -> None:
    client = client_as()
    for _ in range(3):
        stream = client.follow("AAPL")
        publisher.publish_batch([price()])
        assert next(stream).symbol == "AAPL"
        stream.close()
    client.follow("MSFT")
    assert len(client._streams) == 1
    assert client.counters["handled"] == 3


def test_the_last_price_comes_at_once_and_needs_no_following(
    publisher: RedisPublisher, client_as: Clients
) -> None:
    publisher.publish_batch([price(number=1), price(number=2), price(number=3, eligible=False)])
    client = client_as()
    last = client.last("aapl")
    assert last is not None
    assert last.seq == 2
    assert client.last("MSFT") is None


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ({"from_last": True}, [2, 3, 4]),
        ({"from_id": "{epoch}-2"}, [3, 4]),
        ({"since": rfc3339(EVENING + 3_000_000_000)}, [3, 4]),
        ({}, [4]),
    ],
    ids=["from_last", "from_id", "since", "live"],
)
def test_a_late_joiner_says_from_where(
    broker: PlayedBroker,
    publisher: RedisPublisher,
    client_as: Clients,
    start: dict[str, Any],
    expected: list[int],
) -> None:
    publisher.publish_batch([price(number=1), price(number=2), price(number=3, eligible=False)])
    if "from_id" in start:
        start = {"from_id": start["from_id"].format(epoch=publisher.epoch)}
    stream = client_as().follow("AAPL", **start)
    publisher.publish_batch([price(number=4)])
    assert [seq for _, seq in numbers(stream, len(expected))] == expected


def test_a_second_beginning_for_a_ticker_that_is_followed_is_refused(
    broker: PlayedBroker, client_as: Clients
) -> None:
    stream = client_as().follow("AAPL")
    with pytest.raises(IllegalUse, match="AAPL is followed already"):
        stream.follow("AAPL", from_last=True)
    assert stream.tickers == ("AAPL",)


def test_foreign_orders_are_left_out_unless_all_are_wanted(
    broker: PlayedBroker, publisher: RedisPublisher, client_as: Clients
) -> None:
    client = client_as()
    mine, everything = client.follow("AAPL"), client.follow("AAPL", orders="all")
    publisher.publish_batch(
        [
            own_order(1, "someone:1"),
            own_order(2, client.order_id("entry")),
            own_order(3, "x", replaces="order-2"),
        ]
    )
    publisher.publish_batch([price()])
    assert [seq for _, seq in numbers(mine, 3)] == [2, 3, 4]
    assert [seq for _, seq in numbers(everything, 4)] == [1, 2, 3, 4]
    assert client.counters["foreign_orders"] == 1


def test_after_a_restart_the_order_journal_tells_whose_a_leg_is(
    broker: PlayedBroker, publisher: RedisPublisher, client_as: Clients
) -> None:
    publisher.publish_batch([own_order(1, "me:1", legs=[{"id": "order-2"}])])
    stream = client_as().follow("AAPL")
    publisher.publish_batch([own_order(2, "a leg's own id")])
    assert numbers(stream, 1) == [("AAPL", 2)]


def test_quotes_and_bars_come_when_they_are_asked_for(
    broker: PlayedBroker, publisher: RedisPublisher, client_as: Clients
) -> None:
    stream = client_as().follow("AAPL", data=["trades", "quotes", "bars"])
    assert broker.requests[0]["data"] == ["trades", "quotes", "bars"]
    quote = QuoteMessage(
        symbol="AAPL",
        timestamp=rfc3339(EVENING),
        bid_price=1.0,
        bid_size=1,
        ask_price=1.1,
        ask_size=1,
        feed="iex",
    )
    bar = BarMessage(
        symbol="AAPL",
        timestamp=rfc3339(EVENING),
        open=1.0,
        high=1.0,
        low=1.0,
        close=1.0,
        volume=1,
        interval="minute",
        feed="iex",
    )
    publisher.publish_batch([quote, bar, price()])
    kinds = {type(stream.get(10)).__name__ for _ in range(3)}
    assert kinds == {"QuoteMessage", "BarMessage", "PriceMessage"}


def test_quotes_that_are_refused_leave_the_trades_as_they_were(
    broker: PlayedBroker, publisher: RedisPublisher, client_as: Clients
) -> None:
    client = client_as()
    trades = client.follow("AAPL")
    broker.refuses["AAPL"] = "insufficient_subscription"
    with pytest.raises(RegistrationRejected, match="insufficient_subscription"):
        client.follow("AAPL", data=["trades", "quotes"])
    broker.refuses.clear()
    publisher.publish_batch([price()])
    assert numbers(trades, 1) == [("AAPL", 1)]
    assert client.tickers == ("AAPL",)


def test_latest_hands_over_the_newest_trade_and_counts_what_it_skipped(
    broker: PlayedBroker, publisher: RedisPublisher, client_as: Clients
) -> None:
    client = client_as(policy="latest")
    stream = client.follow("AAPL", orders="all")
    publisher.publish_batch([price(number=n) for n in range(1, 101)] + [order()])
    wait_for(lambda: client.skipped == {"AAPL": 99})
    newest = [stream.get(10), stream.get(10)]
    assert {type(message).__name__ for message in newest} == {"OrderMessage", "PriceMessage"}
    assert max(message.timestamp for message in newest if message) == rfc3339(
        EVENING + 100_000_000_000
    )
    assert stream.get(0) is None


def test_a_slow_reader_catches_up_from_the_journal_without_a_gap(
    broker: PlayedBroker, publisher: RedisPublisher, client_as: Clients
) -> None:
    stream = client_as().follow("AAPL")
    stream.handler.capacity, stream.handler._half = 50, 25
    for begin in range(1, 1_001, 100):
        publisher.publish_batch([price(number=n) for n in range(begin, begin + 100)])
    wait_for(lambda: len(stream.handler.queue) >= 50)
    found = [stream.get(10) for _ in range(1_000)]
    assert not [message for message in found if isinstance(message, GapMessage)]
    assert [message.seq for message in found if message] == list(range(1, 1_001))


def test_a_stream_that_nobody_reads_is_told_of_once(
    broker: PlayedBroker,
    publisher: RedisPublisher,
    client_as: Clients,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tap, "UNREAD_S", 0.0)
    stream = client_as().follow("AAPL")
    publisher.publish_batch([price()])
    wait_for(lambda: len(stream.handler.queue) == 1)
    with structlog.testing.capture_logs() as lines:
        for epoch in (7, 7, 7):
            broker.announce(epoch)
        wait_for(lambda: lines)
        assert next(stream).seq == 1
    assert [line["event"] for line in lines] == ["stream.unread"]


def test_nothing_can_be_followed_after_the_end(broker: PlayedBroker, client_as: Clients) -> None:
    client = client_as()
    stream = client.follow("AAPL")
    client.close()
    assert client.close() == []
    with pytest.raises(IllegalUse, match="the client me is closed"):
        client.follow("AAPL")
    with pytest.raises(IllegalUse, match="closed"):
        stream.follow("MSFT")
    with pytest.raises(IllegalUse, match="closed"):
        client.on("AAPL", price=print)
    assert client.counters["handled"] == 0


def test_bad_tickers_are_refused_everywhere(client_as: Clients) -> None:
    client = client_as()
    calls: list[Any] = [
        client.follow,
        client.last,
        client.unfollow,
        lambda ticker: client.on(ticker, price=print),
    ]
    for call in calls:
        with pytest.raises(InvalidTicker, match="is not a ticker"):
            call("AA PL")


def test_a_redis_that_does_not_answer_is_named() -> None:
    client = TickerClient(RedisConfig(host="127.0.0.1", port=1), "me")
    with pytest.raises(RedisUnavailable, match=r"Redis at 127\.0\.0\.1:1/0 is not available"):
        client.open()


def test_in_secured_mode_the_client_asks_on_its_own_channel(
    broker: PlayedBroker, client_as: Clients, publisher: RedisPublisher
) -> None:
    heard: list[object] = []
    client = client_as(secured=True)
    client.bus.subscribe("BROKER_REGISTRATION.me", heard.append)
    client.follow("AAPL")
    wait_for(lambda: len(heard) == 1)
