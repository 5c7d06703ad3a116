"""`client.on(…)`, on a real Valkey, with a broker that is played."""

from __future__ import annotations

import os
import signal
import threading
import time
from typing import Any

import pytest
import structlog

from main.utils.redis.client import TickerClient
from main.utils.redis.config import RedisConfig
from main.utils.redis.errors import RegistrationRejected
from main.utils.redis.messages import PriceMessage
from main.utils.redis.publisher import RedisPublisher
from tests.conftest import wait_for
from tests.integration.utils.redis.client.conftest import Clients, own_order
from tests.integration.utils.redis.conftest import Recorder, order, price
from tests.integration.utils.redis.played_broker import PlayedBroker

pytestmark = pytest.mark.integration


def test_each_kind_goes_to_its_own_callback(
    broker: PlayedBroker, publisher: RedisPublisher, client_as: Clients
) -> None:
    prices, orders, gaps = Recorder(), Recorder(), Recorder()
    client = client_as()
    client.on("AAPL", "MSFT", price=prices, order=orders, gap=gaps, orders="all")
    publisher.publish_batch([price("AAPL"), order("AAPL"), price("MSFT"), price("TSLA")])
    wait_for(lambda: len(prices) == 2 and len(orders) == 1)
    assert len(gaps) == 0
    assert client.tickers == ("AAPL", "MSFT")


def test_only_own_orders_come_and_all_of_them_to_whom_wants_all(
    broker: PlayedBroker, publisher: RedisPublisher, client_as: Clients
) -> None:
    mine, everything = Recorder(), Recorder()
    client = client_as()
    client.on("AAPL", order=mine)
    client.on("AAPL", order=everything, orders="all")
    publisher.publish_batch(
        [own_order(1, "foreign:1"), own_order(2, "me:1"), own_order(3, "x", replaces="order-2")]
    )
    wait_for(lambda: len(everything) == 3 and len(mine) == 2)
    assert mine.seqs == [2, 3]


def test_a_callback_that_raises_is_counted_told_once_a_second_and_ends_nothing(
    broker: PlayedBroker, publisher: RedisPublisher, client_as: Clients
) -> None:
    def fail(message: PriceMessage) -> None:
        raise ValueError(f"no use for {message.price}")

    others = Recorder()
    client = client_as()
    with structlog.testing.capture_logs() as lines:
        client.on("AAPL", price=fail)
        client.on("AAPL", price=others)
        publisher.publish_batch([price(number=n) for n in range(1, 21)])
        wait_for(lambda: len(others) == 20)
    assert client.counters["handler_errors"] == 20
    told = [line for line in lines if line["event"] == "callback.raised"]
    assert "no use for 0.01" in told[0]["traceback"]
    assert len(told) <= 2


def test_callbacks_never_run_at_once_also_with_different_policies(
    broker: PlayedBroker, publisher: RedisPublisher, client_as: Clients
) -> None:
    inside, most = 0, 0
    calls = Recorder()

    def slow(message: PriceMessage) -> None:
        nonlocal inside, most
        inside += 1
        most = max(most, inside)
        time.sleep(0.002)
        inside -= 1
        calls(message)

    client = client_as()
    client.on("AAPL", price=slow)
    client.on("MSFT", price=slow, policy="latest")
    for number in range(1, 21):
        publisher.publish_batch([price("AAPL", number), price("MSFT", number)])
    wait_for(lambda: sum(m.symbol == "AAPL" for m in calls.messages) == 20)  # type: ignore[attr-defined]
    wait_for(lambda: any(m.symbol == "MSFT" for m in calls.messages))  # type: ignore[attr-defined]
    assert most == 1


def test_leaving_the_block_hands_over_what_was_received(
    broker: PlayedBroker, publisher: RedisPublisher, config: RedisConfig
) -> None:
    calls, first, opened = Recorder(), threading.Event(), threading.Event()

    def hold(message: PriceMessage) -> None:
        first.set()
        assert opened.wait(10)
        calls(message)

    with TickerClient(config, "me") as client:
        client.on("AAPL", price=hold)
        publisher.publish_batch([price(number=n) for n in range(1, 101)])
        assert first.wait(10)
        threading.Timer(0.1, opened.set).start()
    assert len(calls) == 100


def test_a_callback_may_follow_unfollow_and_close(
    broker: PlayedBroker, publisher: RedisPublisher, client_as: Clients
) -> None:
    client, others = client_as(), Recorder()

    def first(message: PriceMessage) -> None:
        client.unfollow("AAPL")
        client.on("MSFT", price=lambda message: (others(message), client.close()))

    client.on("AAPL", price=first)
    publisher.publish_batch([price("AAPL")])
    wait_for(lambda: client.tickers == ("MSFT",))
    publisher.publish_batch([price("MSFT")])
    wait_for(lambda: len(others) == 1)
    client.run(10)  # ends, for the client is closed


def test_unfollowed_tickers_call_nobody_and_are_given_back(
    broker: PlayedBroker, publisher: RedisPublisher, client_as: Clients
) -> None:
    calls = Recorder()
    client = client_as()
    client.on("AAPL", "MSFT", price=calls)
    client.unfollow("AAPL")
    wait_for(lambda: broker.asked()["unsubscribe", "AAPL"] == 1)
    publisher.publish_batch([price("AAPL"), price("MSFT")])
    wait_for(lambda: len(calls) == 1)
    assert calls.messages[0].symbol == "MSFT"  # type: ignore[attr-defined]


def test_a_rejected_ticker_calls_nobody_and_a_later_rejection_ends_run(
    broker: PlayedBroker, client_as: Clients
) -> None:
    client = client_as(lease_s=1)
    with pytest.raises(RegistrationRejected):
        client.on("BAD", price=print)
    client.on("AAPL", price=print)
    broker.refuses["AAPL"] = "symbol_limit"
    with pytest.raises(RegistrationRejected, match="AAPL is not followed, symbol_limit"):
        client.run(20)
    assert client.tickers == ()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_ends_at_ctrl_c_and_at_sigterm(
    broker: PlayedBroker, client_as: Clients, number: int
) -> None:
    client = client_as()
    client.on("AAPL", price=print)
    before: Any = signal.getsignal(signal.SIGTERM)
    threading.Timer(0.1, os.kill, (os.getpid(), number)).start()
    client.run(20)
    assert signal.getsignal(signal.SIGTERM) is before
