"""The bus by itself: the three examples of document 002, prices and orders in the one channel."""

from __future__ import annotations

import signal
from collections.abc import Callable

import pytest

from main.embedded_valkey import EmbeddedValkey
from main.utils.redis import RedisConfig, RedisPublisher
from tests.conftest import wait_for
from tests.integration.examples.processes import Process, RealStack
from tests.unit.scale_t.broker_status import status

pytestmark = pytest.mark.integration

RunBusExample = Callable[..., Process]


def test_a_subscriber_reads_prices_and_orders_of_the_publisher_from_one_channel(
    run_bus_example: RunBusExample, own_valkey: EmbeddedValkey
) -> None:
    """No broker, no Alpaca: two programs and a Redis."""
    reader = run_bus_example(own_valkey.port, "subscribe_ticker", "AAPL")
    reader.wait_for_line("listening to TICKER_UPDATES_AAPL")
    writer = run_bus_example(
        own_valkey.port, "publish_ticker_updates", "aapl", "--count", "3", "--interval", "0.05"
    )
    assert writer.exit_code() == 0, writer.lines
    assert writer.lines[-1] == "published 3 prices and 3 orders"
    wait_for(lambda: len(reader.lines) == 7)
    # within a batch an order overtakes the prices
    assert reader.lines[1:5] == [
        "AAPL #1 order new buy 10",
        "AAPL #2 price 100.0 volume 100",
        "AAPL #3 order new buy 10",
        "AAPL #4 price 100.1 volume 100",
    ]
    reader.signal(signal.SIGINT)
    assert reader.exit_code() == 0


def test_the_publisher_refuses_a_bus_that_has_a_broker(
    run_bus_example: RunBusExample, stack: RealStack
) -> None:
    """Two publishers on one bus are forbidden."""
    writer = run_bus_example(stack.redis_port, "publish_ticker_updates", "AAPL", "--count", "1")
    assert writer.exit_code() == 1
    assert "BROKER_LEADER exists" in writer.lines[0]
    assert "forbidden" in writer.lines[0]


def test_the_publisher_refuses_a_bus_where_a_heart_beats(
    run_bus_example: RunBusExample, own_valkey: EmbeddedValkey
) -> None:
    """Also without the leader's key."""
    writer = run_bus_example(own_valkey.port, "publish_ticker_updates", "AAPL", "--count", "1")
    with RedisPublisher(RedisConfig(host="127.0.0.1", port=own_valkey.port)) as heart:
        wait_for(lambda: heart.publish(heart.names.BROKER_STATUS, status()) > 0)
    assert writer.exit_code() == 1
    assert "its heartbeat was heard" in writer.lines[0]


def test_a_registration_is_answered_and_taken_back(
    run_bus_example: RunBusExample, stack: RealStack
) -> None:
    """Two tickers, two answers; then one is let go."""
    register = run_bus_example(stack.redis_port, "publish_registration", "subscribe", "TSLA", "AMD")
    assert register.exit_code() == 0, register.lines
    assert register.lines == [
        "subscribe TSLA accepted, holders 1",
        "subscribe AMD accepted, holders 1",
    ]
    leave = run_bus_example(stack.redis_port, "publish_registration", "unsubscribe", "TSLA")
    assert leave.exit_code() == 0, leave.lines
    assert leave.lines == ["unsubscribe TSLA accepted, holders 0"]


def test_a_rejected_registration_says_why_and_ends_with_one(
    run_bus_example: RunBusExample, stack: RealStack
) -> None:
    """A ticker that Alpaca does not know."""
    register = run_bus_example(stack.redis_port, "publish_registration", "subscribe", "ZZZZZQ")
    assert register.exit_code() == 1
    assert "ZZZZZQ rejected" in register.lines[0]
    assert "unknown_ticker" in register.lines[0]


def test_a_registration_without_a_broker_says_so(
    run_bus_example: RunBusExample, own_valkey: EmbeddedValkey
) -> None:
    """No traceback: a sentence that says what to do."""
    register = run_bus_example(own_valkey.port, "publish_registration", "subscribe", "AAPL")
    assert register.exit_code() == 1
    assert "no broker is listening" in register.lines[0]
    assert len(register.lines) == 1
