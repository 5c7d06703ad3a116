"""A handler's queue and its worker."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from main.utils.redis.messages import PriceMessage
from main.utils.redis.outlet import LatestQueue, Outlet, Undecoded
from tests.conftest import wait_for
from tests.unit.utils.redis.strategies import order_messages, price_messages, quote_messages


@settings(max_examples=50)
@given(st.lists(st.lists(price_messages | order_messages | quote_messages, max_size=6)))
def test_latest_keeps_the_newest_of_each_and_all_orders_and_counts_what_it_left_out(
    batches: list[list[Any]],
) -> None:
    queue = LatestQueue()
    for batch in batches:
        queue.extend(batch)
    put = [message for batch in batches for message in batch]
    kept = [queue.popleft() for _ in range(len(queue))]
    assert len(put) - len(kept) == sum(queue.skipped.values())
    newest: dict[Any, Any] = {}
    for position, message in enumerate(put):
        key = (type(message), message.symbol, getattr(message, "last_eligible", None))
        newest[key if "order" not in str(message.__struct_config__.tag) else position] = message
    assert sorted(map(id, kept)) == sorted(map(id, newest.values()))
    positions = [next(i for i, m in enumerate(put) if m is message) for message in kept]
    assert positions == sorted(positions), "in the order of publication"


def test_latest_is_empty_when_it_is_empty() -> None:
    with pytest.raises(IndexError):
        LatestQueue().popleft()


def test_an_odd_lot_does_not_hide_the_last_price() -> None:
    queue = LatestQueue()
    queue.extend([_price(1, eligible=True), _price(2, eligible=False), _price(3, eligible=False)])
    assert [queue.popleft().seq for _ in range(2)] == [1, 3]
    assert queue.skipped == {"AAPL": 1}


@pytest.fixture
def outlets() -> Iterator[list[Outlet]]:
    made: list[Outlet] = []
    yield made
    for outlet in made:
        outlet.end_when_empty()
        assert outlet.join(5) is None


def _outlet(made: list[Outlet], handler: Any, capacity: int = 10) -> Outlet:
    made.append(Outlet(handler, "all", capacity, lambda _outlet: None))
    made[-1].start()
    return made[-1]


def test_a_worker_sleeps_and_wakes_as_often_as_it_takes(outlets: list[Outlet]) -> None:
    got: list[int] = []
    outlet = _outlet(outlets, got.append)
    for number in range(3_000):
        outlet.stage(number)
        outlet.flush()
        if number % 100 == 0:
            wait_for(lambda number=number: got and got[-1] == number)
    wait_for(lambda: got == list(range(3_000)))
    assert outlet.handled == 3_000


def test_a_decode_that_raises_counts_as_the_handlers_error(outlets: list[Outlet]) -> None:
    got: list[object] = []
    outlet = _outlet(outlets, got.append)
    outlet.stage(Undecoded("C", b"x", lambda _channel, payload: int(payload)))
    outlet.stage(Undecoded("C", b"7", lambda _channel, payload: int(payload)))
    outlet.stage(Undecoded("C", b"7", lambda _channel, _payload: None))
    outlet.flush()
    wait_for(lambda: got == [7])
    wait_for(lambda: outlet.counts == {"handled": 1, "handler_errors": 1, "ignored": 1})


def test_a_handlers_own_index_error_is_not_taken_for_an_empty_queue(outlets: list[Outlet]) -> None:
    got: list[int] = []

    def handler(number: int) -> None:
        got.append(number)
        raise IndexError

    outlet = _outlet(outlets, handler)
    for number in range(3):
        outlet.stage(number)
    outlet.flush()
    wait_for(lambda: got == [0, 1, 2])
    wait_for(lambda: outlet.errors == 3)


def test_room_is_told_once_half_of_the_queue_is_free(outlets: list[Outlet]) -> None:
    told, gate = threading.Event(), threading.Semaphore(0)
    left: list[int] = []

    def room_again(outlet: Outlet) -> None:
        left.append(len(outlet.queue))
        outlet.parked.clear()
        told.set()

    outlet = Outlet(lambda _item: gate.acquire(), "all", 10, room_again)
    outlets.append(outlet)
    for number in range(10):
        outlet.stage(number)
    outlet.flush()
    assert outlet.room == 0
    assert outlet.park("a feed")
    outlet.start()
    gate.release(4)
    assert not told.wait(0.05)
    gate.release()
    assert told.wait(5)
    assert left == [5]
    gate.release(10)


def _price(seq: int, *, eligible: bool) -> PriceMessage:
    return PriceMessage(
        symbol="AAPL",
        timestamp="2026-11-21T14:30:05Z",
        seq=seq,
        price=1.0,
        volume=1,
        feed="iex",
        last_eligible=eligible,
        backfilled=False,
    )
