"""Order updates that wait: never dropped, never folded, always in order."""

from __future__ import annotations

import threading
import time

from main.alpaca_broker.order_buffer import OrderBuffer


def test_updates_come_out_in_their_order_and_once() -> None:
    buffer = OrderBuffer()
    for number in range(3):
        buffer.put({"event": str(number)})
    assert buffer.waiting() == 3
    assert [update["event"] for update in buffer.take(0)] == ["0", "1", "2"]  # type: ignore[index]
    assert (buffer.take(0), buffer.waiting()) == ([], 0)


def test_a_hundred_thousand_wait_without_losing_one() -> None:
    buffer = OrderBuffer()
    for number in range(100_000):
        buffer.put({"event": str(number)})
    assert len(buffer.take(0)) == 100_000


def test_a_wake_up_before_the_wait_is_not_lost() -> None:
    buffer = OrderBuffer()
    buffer.wake()
    began = time.monotonic()
    assert buffer.take(30) == []
    assert time.monotonic() - began < 5


def test_who_waits_is_woken_by_an_update() -> None:
    buffer = OrderBuffer()
    taken: list[object] = []
    taker = threading.Thread(target=lambda: taken.extend(buffer.take(30)))
    taker.start()
    buffer.put({"event": "fill"})
    taker.join(5)
    assert taken == [{"event": "fill"}]
