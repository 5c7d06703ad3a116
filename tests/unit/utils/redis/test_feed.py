"""A feed against a whole world of mishaps: wires that drop, journals that forget, slow handlers.

The world is pure: one publisher, one journal that is trimmed, one wire that may lose messages and
break, and rounds of refilling that happen in any order with the rest. Whatever happens, a handler
gets every message once and in order, or is told of the span that it lacks.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from main.utils.redis.delivery import Delivery
from main.utils.redis.entries import Numbers
from main.utils.redis.feed import Feed, FeedState, Round, Shared
from main.utils.redis.gap_tracker import BEGINNING, Entry, Loss, Place, plan_refill
from main.utils.redis.messages import GapMessage
from main.utils.redis.outlet import Outlet
from main.utils.redis.start import Start

CAPACITY = 8


@pytest.fixture(autouse=True)
def small_world(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Bounds that a short run reaches, and no log line for each gap of all the worlds."""
    monkeypatch.setattr("main.utils.redis.feed.MAX_HELD", 4)
    monkeypatch.setattr("main.utils.redis.feed.CHUNK", 3)
    with structlog.testing.capture_logs():
        yield


class World(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.epoch, self.seq = 10, 0
        self.log: list[Entry] = []
        self.order_log: list[Entry] = []
        self.was_trimmed = False
        self.published: list[Place] = []
        self.orders: set[Place] = set()
        self.flushed: set[Place] = set()  # what a FLUSHALL took, orders too
        self.received: list[object] = []
        self.wants: list[Feed] = []
        self.open_round: tuple[Round, list[Entry], list[Entry], bool, int | None] | None = None
        self.connected = True
        self.authority: int | None = 10
        self.outlet = Outlet(print, "all", CAPACITY, lambda _outlet: None)
        self.shared = Shared(counters=Counter(), request_refill=self.wants.append)
        delivery = Delivery("TICKER_UPDATES_X", self.outlet, self.shared.counters, symbol="X")
        self.feed = Feed(delivery, self.shared, journalled=True, start=Start.live())
        self.feed.place_at(None, None)
        self.feed.resume()

    # -- the broker

    @rule(reaches_us=st.booleans(), is_order=st.booleans(), count=st.integers(1, 6))
    def publish(self, reaches_us: bool, is_order: bool, count: int) -> None:
        for _ in range(count):
            self.seq += 1
            place = Place(self.epoch, self.seq)
            message = Entry(Numbers(*place, f"t{place}"), b"", place)
            self.log.append(message)
            if is_order:
                self.order_log.append(message)
                self.orders.add(place)
            self.published.append(place)
            if not reaches_us and not self.feed.tracker.started:
                self.connected = False  # before the first message only a broken wire loses any
            if reaches_us and self.connected:
                self.feed.take(message)
                self.outlet.flush()

    @rule()
    def a_new_broker_runs(self) -> None:
        self.epoch += 1
        self.seq = 0
        self.authority = self.epoch

    @rule(fenced=st.integers(1, 9))
    def a_fenced_broker_publishes(self, fenced: int) -> None:
        if self.connected:
            numbers = Numbers(fenced, 3, "stale")
            self.feed.take(Entry(numbers, b"", Place(fenced, 3)))
            self.outlet.flush()

    @rule()
    def heartbeat(self) -> None:
        if self.connected and self.seq:
            self.feed.hint(Place(self.epoch, self.seq))

    # -- Redis

    @rule(kept=st.integers(1, 5))
    def the_journal_is_trimmed(self, kept: int) -> None:
        self.was_trimmed |= len(self.log) > kept
        self.log = self.log[-kept:]

    @precondition(lambda self: self.feed.tracker.epoch > 0)
    @rule()
    def redis_is_emptied(self) -> None:
        self.flushed.update(self.published)
        self.log, self.order_log, self.was_trimmed = [], [], False

    @rule()
    def the_connection_breaks(self) -> None:
        self.connected = False

    @precondition(lambda self: not self.connected)
    @rule()
    def the_connection_is_back(self) -> None:
        self.connected = True
        self.feed.resume()

    # -- the refiller, whose reads take their time

    @precondition(lambda self: self.wants and self.open_round is None)
    @rule()
    def a_round_begins(self) -> None:
        feed = self.wants.pop(0)
        made = feed.begin_round()
        if made is not None:
            log = [found for found in self.log if found.place >= made.place][: made.limit + 1]
            orders = [found for found in self.order_log if found.place > made.place]
            self.open_round = (made, log, orders, self.was_trimmed, self.authority)

    @precondition(lambda self: self.open_round is not None)
    @rule()
    def a_round_ends(self) -> None:
        assert self.open_round is not None
        (made, log, orders, was_trimmed, authority), self.open_round = self.open_round, None
        anchored = bool(log) and log[0].place == made.place
        if made.place == BEGINNING:
            anchored = bool(log) and not was_trimmed
        plan = plan_refill(made.place, anchored, log, orders, made.left)
        if made.doubted is not None:
            self.feed.answer_doubt(made.doubted, authority)
        self.feed.end_round(made, plan, len(log) <= made.limit)
        self.outlet.flush()

    # -- the handler

    @rule(count=st.integers(1, 20))
    def the_handler_works(self, count: int) -> None:
        queue = self.outlet.queue
        for _ in range(min(count, len(queue))):
            self.received.append(queue.popleft())
        if self.outlet.parked and len(queue) <= CAPACITY // 2:
            parked, self.outlet.parked = self.outlet.parked, []
            for feed in parked:
                feed.room_again()

    # -- what must hold

    @invariant()
    def in_order_and_never_twice(self) -> None:
        seen = [message for message in self.received if isinstance(message, Place)]
        assert seen == sorted(set(seen))

    @invariant()
    def memory_is_bounded(self) -> None:
        assert len(self.outlet.queue) <= CAPACITY + len(self.orders) + 12

    def teardown(self) -> None:
        """Let everything settle: nothing may be missing in silence then."""
        if not self.connected:
            self.the_connection_is_back()
        self.publish(reaches_us=True, is_order=False, count=1)
        self.heartbeat()
        for _ in range(1_000):
            if self.open_round is not None:
                self.a_round_ends()
            elif self.wants:
                self.a_round_begins()
            elif len(self.outlet.queue):
                self.the_handler_works(20)
            else:
                break
        assert self.feed.state is FeedState.LIVE, f"stuck: {self.feed.state}"
        assert not self.outlet.parked
        self.in_order_and_never_twice()
        self.nothing_is_lost_in_silence()

    def nothing_is_lost_in_silence(self) -> None:
        seen = {message for message in self.received if isinstance(message, Place)}
        gaps = [message for message in self.received if isinstance(message, GapMessage)]
        missing = [place for place in self.published if place not in seen]
        assert not missing or gaps, f"missing in silence: {missing}"
        assert not [place for place in missing if place in self.orders - self.flushed]
        if gaps and all(gap.lost is not None for gap in gaps):
            assert sum(gap.lost or 0 for gap in gaps) == len(missing)
        if not missing:
            assert not [gap for gap in gaps if gap.lost], "told of a loss that was none"


World.TestCase.settings = settings(
    max_examples=150,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
TestWorld = World.TestCase


# -- what the world above heals by itself, but later than it should


def message(seq: int, epoch: int = 10) -> Entry:
    return Entry(Numbers(epoch, seq, f"t{seq}"), b"", Place(epoch, seq))


class Bench:
    """A feed at 10-1 whose outlet and refill requests can be seen."""

    def __init__(self, capacity: int = 100) -> None:
        self.outlet = Outlet(print, "all", capacity, lambda _outlet: None)
        self.requests: list[Feed] = []
        self.shared = Shared(counters=Counter(), request_refill=self.requests.append)
        delivery = Delivery("TICKER_UPDATES_X", self.outlet, self.shared.counters, symbol="X")
        self.feed = Feed(delivery, self.shared, journalled=True, start=Start.live())
        self.feed.place_at(Place(10, 1), None)
        self.feed.resume()
        self.serve([])
        assert self.feed.live

    def serve(self, plan: list[Entry | Loss], meanwhile: Callable[[], None] | None = None) -> None:
        """One round that finds `plan` in the journal."""
        assert self.requests.pop() is self.feed
        made = self.feed.begin_round()
        assert made is not None
        if meanwhile is not None:
            meanwhile()
        self.feed.end_round(made, plan, complete=True)
        self.outlet.flush()

    @property
    def handed_over(self) -> list[object]:
        return [getattr(item, "lost", item) for item in self.outlet.queue]


def test_a_reconnect_during_a_round_asks_the_journal_once_more() -> None:
    bench = Bench()
    bench.feed.take(message(3))
    bench.serve([message(2), message(3)], meanwhile=bench.feed.resume)
    assert not bench.feed.live
    bench.serve([message(4)])
    assert bench.feed.live
    assert bench.handed_over == [Place(10, seq) for seq in (2, 3, 4)]


def test_messages_that_did_not_fit_among_the_held_are_read_once_more() -> None:
    bench = Bench()
    bench.feed.take(message(3))

    def many() -> None:
        for seq in range(4, 12):
            bench.feed.take(message(seq))

    bench.serve([message(2), message(3)], meanwhile=many)
    assert not bench.feed.live
    bench.serve([message(seq) for seq in range(4, 12)])
    assert bench.feed.live
    assert bench.handed_over == [Place(10, seq) for seq in range(2, 12)]


def test_a_worker_that_has_made_room_before_it_was_asked_to_is_not_waited_for() -> None:
    bench = Bench()
    bench.outlet.capacity = 0  # full and empty at once, as a worker leaves it in that moment
    bench.feed.take(message(2))
    assert bench.feed.state is FeedState.BEHIND
    assert not bench.outlet.parked
    assert bench.requests == [bench.feed]


def test_a_worker_that_still_has_work_calls_back() -> None:
    bench = Bench(capacity=2)
    for seq in (2, 3, 4):
        bench.feed.take(message(seq))
        bench.outlet.flush()
    assert bench.feed.state is FeedState.BEHIND
    assert bench.outlet.parked == [bench.feed]
    assert not bench.requests
    bench.outlet.queue.popleft()
    bench.outlet.parked.clear()
    bench.feed.room_again()
    bench.serve([message(4)])
    assert bench.feed.live


def test_what_was_heard_of_but_is_in_no_journal_is_lost_and_told_at_once() -> None:
    bench = Bench()
    bench.feed.hint(Place(10, 4))
    bench.serve([message(2)])
    assert bench.feed.live
    assert bench.handed_over == [Place(10, 2), 2]
    bench.feed.take(message(5))
    assert bench.feed.live


def test_a_hint_that_comes_during_a_round_asks_for_another() -> None:
    bench = Bench()
    bench.feed.hint(Place(10, 2))
    bench.serve([message(2)], meanwhile=lambda: bench.feed.hint(Place(10, 3)))
    assert not bench.feed.live
    bench.serve([message(3)])
    assert bench.feed.live
    assert bench.handed_over == [Place(10, 2), Place(10, 3)]


def test_a_hint_of_what_is_known_already_asks_nobody() -> None:
    bench = Bench()
    for known in (Place(10, 1), Place(10, 0), Place(11, 0)):
        bench.feed.hint(known)
    assert bench.feed.live
    assert not bench.requests


def test_a_refuted_epoch_is_not_asked_for_with_each_message() -> None:
    bench = Bench()
    bench.feed.take(message(7, epoch=9))
    made = bench.feed.begin_round()
    assert made is not None
    assert made.doubted == 9
    bench.feed.answer_doubt(9, 10)
    bench.feed.end_round(made, [], complete=True)
    bench.requests.clear()
    bench.feed.take(message(8, epoch=9))
    bench.feed.hint(Place(9, 9))
    assert bench.feed.live
    assert not bench.requests
    assert bench.shared.counters["fenced_dropped"] == 2


def test_an_adopted_lower_epoch_is_read_from_its_start_without_what_was_left() -> None:
    bench = Bench()
    bench.feed.take(message(3, epoch=9))
    made = bench.feed.begin_round()
    assert made is not None
    bench.feed.answer_doubt(9, 9)
    bench.feed.end_round(made, [message(2)], complete=True)
    assert not bench.feed.live, "first what the higher epoch still had, then the lower one"
    bench.requests.clear()
    made = bench.feed.begin_round()
    assert made is not None
    assert (made.place, made.left) == (Place(9, 0), {10})
    bench.feed.end_round(made, [message(seq, epoch=9) for seq in (1, 2, 3)], complete=True)
    bench.outlet.flush()
    assert bench.feed.live
    assert bench.handed_over == [Place(10, 2), Place(9, 1), Place(9, 2), Place(9, 3)]


def test_an_unsubscribed_feed_takes_nothing_more() -> None:
    bench = Bench()
    bench.feed.take(message(3))
    made = bench.feed.begin_round()
    assert made is not None
    bench.feed.closed = True
    bench.feed.end_round(made, [message(2), message(3)], complete=True)
    bench.outlet.flush()
    assert bench.handed_over == []
    assert bench.feed.begin_round() is None
