"""The threads between a buffer and the publisher."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import pytest

from main.alpaca_broker.order_buffer import OrderBuffer
from main.alpaca_broker.producers import OrderProducer, PriceProducer, Producer
from tests.conftest import wait_for


class Handler:
    """Remembers batches; holds the producer in its batch while `gate` is closed."""

    def __init__(self) -> None:
        self.batches: list[list[Any]] = []
        self.gate = threading.Event()
        self.gate.set()

    def __call__(self, items: Sequence[Any]) -> None:
        self.batches.append(list(items))
        assert self.gate.wait(10)


def never_fails(name: str, error: BaseException) -> None:
    raise AssertionError(f"{name} failed: {error!r}")


def producer(buffer: OrderBuffer, handler: Any, on_failure: Any = never_fails) -> Producer:
    made = OrderProducer(buffer, handler, on_failure)
    made.start()
    return made


def test_it_takes_all_that_waits_as_one_batch() -> None:
    buffer, handler = OrderBuffer(), Handler()
    for number in range(5):
        buffer.put({"n": number})
    running = producer(buffer, handler)
    wait_for(lambda: handler.batches)
    running.begin_stop(drain=False)
    assert running.join(5)
    assert handler.batches == [[{"n": n} for n in range(5)]]


def test_a_stop_ends_it_after_the_batch_in_hand_and_leaves_the_rest_waiting() -> None:
    buffer, handler = OrderBuffer(), Handler()
    handler.gate.clear()
    buffer.put({"n": 1})
    running = producer(buffer, handler)
    wait_for(lambda: handler.batches)
    buffer.put({"n": 2})
    running.begin_stop(drain=False)
    assert not running.join(0.05), "its batch is not finished"
    handler.gate.set()
    assert running.join(5)
    assert handler.batches == [[{"n": 1}]]
    assert buffer.waiting() == 1


def test_a_draining_stop_empties_the_buffer_first() -> None:
    buffer, handler = OrderBuffer(), Handler()
    handler.gate.clear()
    buffer.put({"n": 1})
    running = producer(buffer, handler)
    wait_for(lambda: handler.batches)
    buffer.put({"n": 2})
    running.begin_stop(drain=True)
    buffer.put({"n": 3})
    handler.gate.set()
    assert running.join(5)
    assert [item for batch in handler.batches for item in batch] == [{"n": 1}, {"n": 2}, {"n": 3}]
    assert buffer.waiting() == 0


def test_the_next_producer_goes_on_where_the_last_one_stopped() -> None:
    """Stop, change, start: nothing is lost, repeated or reordered."""
    buffer, handler = OrderBuffer(), Handler()
    stop_putting = threading.Event()
    put = 0

    def keep_putting() -> None:
        nonlocal put
        while not stop_putting.is_set():
            buffer.put({"n": put})
            put += 1
            stop_putting.wait(0.0002)

    putter = threading.Thread(target=keep_putting)
    putter.start()
    for _ in range(50):
        running = producer(buffer, handler)
        running.begin_stop(drain=False)
        assert running.join(5)
    stop_putting.set()
    putter.join(5)
    last = producer(buffer, handler)
    last.begin_stop(drain=True)
    assert last.join(5)
    assert [item["n"] for batch in handler.batches for item in batch] == list(range(put))


def test_an_idle_one_stops_at_once() -> None:
    running = producer(OrderBuffer(), Handler())
    running.begin_stop(drain=False)
    assert running.join(0.9), "it sleeps a second when nothing comes: the stop has to wake it"


@pytest.mark.parametrize("kind", [PriceProducer, OrderProducer])
def test_one_that_fails_says_so_with_its_name(kind: type[Producer]) -> None:
    failures: list[tuple[str, BaseException]] = []
    buffer = OrderBuffer()
    buffer.put({"n": 1})
    fault = RuntimeError("poisoned")

    def fail(_items: Sequence[Any]) -> None:
        raise fault

    running = kind(buffer, fail, lambda name, error: failures.append((name, error)))
    running.start()
    assert running.join(5)
    assert failures == [(kind.name, fault)]
