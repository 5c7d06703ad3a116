"""Where handlers run, what a slow one costs, and how it all ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import structlog

from main.embedded_valkey import EmbeddedValkey
from main.utils.redis.config import RedisConfig
from main.utils.redis.constants import CHANNELS
from main.utils.redis.start import Start
from tests.conftest import wait_for
from tests.integration.utils.redis.conftest import (
    Gate,
    Publishers,
    Recorder,
    Subscribers,
    order,
    price,
)

AAPL, MSFT = CHANNELS.get_ticker_channel("AAPL"), CHANNELS.get_ticker_channel("MSFT")
pytestmark = pytest.mark.integration


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
    assert "ValueError: out of cheese" in event["traceback"]
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


def test_a_handler_that_subscribes_during_a_stop_does_not_hold_it_up(
    config: RedisConfig, publisher_on: Publishers, subscriber_on: Subscribers, gate: Gate
) -> None:
    publisher, bus, late = publisher_on(config), subscriber_on(config), Recorder()

    def join_late(message: object) -> None:
        gate(message)
        bus.subscribe("LATE", late)

    bus.subscribe("CHANNEL", join_late)
    bus.start_listening()
    publisher.publish("CHANNEL", 1)
    assert gate.entered.wait(5)
    stuck: list[str] = []
    stopping = threading.Thread(target=lambda: stuck.extend(bus.stop(timeout_s=5)))
    begun = time.monotonic()
    stopping.start()
    wait_for(lambda: "bus-reader" not in {thread.name for thread in threading.enumerate()})
    gate.opened.set()
    stopping.join()
    assert not stuck
    assert time.monotonic() - begun < 3
    bus.start_listening()
    publisher.publish("LATE", 2)
    wait_for(lambda: late.messages == [2])


def test_a_reader_that_fails_for_whatever_reason_is_told_and_comes_back(
    config: RedisConfig,
    publisher_on: Publishers,
    subscriber_on: Subscribers,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("main.utils.redis.listener.AFTER_FAILURE_S", 0.01)
    publisher, bus = publisher_on(config), subscriber_on(config)
    bus.subscribe(AAPL, recorder)
    bus.start_listening()
    deliver_all = bus._board.deliver_all

    def fail_once(next_reply: object) -> Iterator[object]:
        bus._board.deliver_all = deliver_all  # type: ignore[method-assign]
        raise AssertionError("out of cheese")

    bus._board.deliver_all = fail_once  # type: ignore[assignment, method-assign]
    publisher.publish_batch([price(number=1)])
    wait_for(lambda: bus.counters.get("reader_failures") == 1)
    publisher.publish_batch([price(number=2)])
    wait_for(lambda: recorder.seqs == [1, 2])


def test_a_refill_that_fails_for_whatever_reason_is_told_and_repeated(
    config: RedisConfig,
    publisher_on: Publishers,
    subscriber_on: Subscribers,
    recorder: Recorder,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("main.utils.redis.refiller.AFTER_FAILURE_S", 0.01)
    publisher, bus = publisher_on(config), subscriber_on(config)
    publisher.publish_batch([price(number=1)])
    bus.start_listening()
    refill = bus._refill_journal.refill

    def fail_once(*arguments: object) -> object:
        bus._refill_journal.refill = refill  # type: ignore[method-assign]
        raise AssertionError("out of cheese")

    bus._refill_journal.refill = fail_once  # type: ignore[assignment, method-assign]
    bus.subscribe(AAPL, recorder, start=Start.from_last())
    wait_for(lambda: recorder.seqs == [1])
    assert bus.counters["refill_failures"] == 1


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
    assert publisher.publish(AAPL, {}) == 1, "it returns once Redis has confirmed"
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
