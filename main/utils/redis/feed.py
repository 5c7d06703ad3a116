"""One handler's place on one channel: what of a channel's messages the handler gets, and when.

A feed is LIVE while it has everything. When something is missing it is CATCHING_UP: what comes
from the wire is held, and the refiller reads the journals until both meet. When the handler's
queue is full it is BEHIND: it takes nothing, keeps its place, and catches up once there is room,
so memory stays bounded and nothing is lost while the journal has it.
"""

from __future__ import annotations

import enum
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from ..event_log import EventLog
from .delivery import Delivery
from .gap_tracker import BEGINNING, Entry, GapTracker, Loss, Place, Verdict, end_of_loss
from .messages import now_rfc3339
from .start import Start

log: Final = EventLog("tickerbus.subscriber")

MAX_HELD: Final = 4_096  # messages from the wire that wait for a refill; more are read again
CHUNK: Final = 1_000  # journal entries in one round
REFUTED_S: Final = 1.0  # how long a refuted epoch is dropped before `BROKER_EPOCH` is asked again


class FeedState(enum.Enum):
    LIVE = enum.auto()
    CATCHING_UP = enum.auto()
    BEHIND = enum.auto()


_MOVES: Final = {
    (FeedState.LIVE, FeedState.CATCHING_UP),  # a hole, a reconnect, a new epoch, a late joiner
    (FeedState.LIVE, FeedState.BEHIND),  # the queue is full
    (FeedState.CATCHING_UP, FeedState.BEHIND),  # the refill filled it
    (FeedState.BEHIND, FeedState.CATCHING_UP),  # room again
    (FeedState.CATCHING_UP, FeedState.LIVE),  # journal and wire have met
}


@dataclass(kw_only=True)
class Shared:
    """What all feeds of a subscriber share."""

    counters: Counter[str]
    request_refill: Callable[[Feed], None]
    refuted: dict[int, float] = field(default_factory=dict)  # epoch: dropped until (monotonic)


class Round(NamedTuple):
    """What one round of a refill set out from; what came later is the next round's matter."""

    place: Place
    limit: int
    left: frozenset[int]
    held: int
    doubted: int | None
    target: Place | None
    connection: int


class Feed:
    """Touched with the subscriber's lock held only."""

    def __init__(
        self,
        delivery: Delivery,
        shared: Shared,
        *,
        journalled: bool = False,
        start: Start,
    ) -> None:
        self.delivery, self.outlet = delivery, delivery.outlet
        self.journalled, self.start = journalled, start
        self.tracker = GapTracker()
        self.state, self.closed, self.placed = FeedState.LIVE, False, False
        self.is_simple = delivery.decode is None  # LIVE, and the reader need not look twice
        self.expected_at_tick = 0
        self._shared = shared
        self._held: list[Entry] = []
        self._overflowed = self._requested = self._was_slow = False
        self._connection = 0  # how often Redis has confirmed the channel
        self._doubted: int | None = None
        self._target: Place | None = None

    @property
    def live(self) -> bool:
        return self.state is FeedState.LIVE

    @property
    def settled(self) -> bool:
        """Whether it lacks nothing, or nobody makes the room that it waits for."""
        return self.live or (self.state is FeedState.BEHIND and not self.outlet.has_worker)

    def place_at(self, place: Place | None, asked_since: str | None) -> None:
        """Begin after `place`; None: the journal is empty, whatever comes is new."""
        self.placed = True
        self.delivery.asked_since = asked_since
        if place is not None:
            self.tracker.move_to(place)

    def restart(self) -> None:
        """Nobody reads or refills now: forget what was under way, but not the place."""
        self._requested = False
        self._held.clear()
        if self.state is FeedState.BEHIND:
            self._move(FeedState.CATCHING_UP)

    def is_silent_since_last_tick(self) -> bool:
        """Whether nothing came since this was asked before."""
        silent = self.tracker.expected == self.expected_at_tick
        self.expected_at_tick = self.tracker.expected
        return silent and self.live and self.journalled

    # -- from the wire

    def take(self, entry: Entry) -> None:
        """A message from the wire that is not simply the next one."""
        if not self.live:
            self._hold(entry)
            return
        if self.outlet.room <= 0:
            self._fall_behind()
            return
        verdict = self.tracker.judge(entry.numbers.epoch, entry.numbers.seq)
        if verdict is Verdict.HOLE and not self.journalled:
            self._tell_loss(entry)
            self._hand_over(entry)
        elif verdict is Verdict.HOLE:
            self._shared.counters["holes"] += 1
            self.catch_up()
            self._hold(entry)
        elif verdict is Verdict.LOWER_EPOCH:
            self._doubt(entry)
        else:
            self._hand_over_judged(entry, verdict)

    def hint(self, place: Place) -> None:
        """Somebody who knows says that messages up to `place` were published."""
        tracker = self.tracker
        if not self.journalled or place.seq <= 0:
            return
        if tracker.started and place.epoch < tracker.epoch:
            if not self._is_refuted(place.epoch):
                self._doubted = place.epoch
                self.catch_up()
        elif tracker.is_behind(place) and (self._target is None or place > self._target):
            self._target = place
            self.catch_up()

    def resume(self) -> None:
        """Redis has confirmed the channel: what was published before that, the journal has."""
        self._connection += 1
        if self._connection > 1 and not self.tracker.started:
            self.tracker.move_to(BEGINNING)  # the journal was empty: all that it has now is new
        if self.journalled and self.tracker.started:
            self.catch_up()

    def catch_up(self) -> None:
        if self.live:
            self._move(FeedState.CATCHING_UP)
        if self.state is FeedState.CATCHING_UP:
            self._request_refill()

    def room_again(self) -> None:
        if self.state is FeedState.BEHIND:
            self._request_refill()

    # -- the refiller's rounds

    def begin_round(self) -> Round | None:
        """What to read now, or None: nothing is wanted, or there is no room for it."""
        self._requested = False
        if self.closed or self.live:
            return None
        if self.outlet.room <= 0:
            if self.state is FeedState.CATCHING_UP:
                self._fall_behind()
            else:
                self._park()
            return None
        if self.state is FeedState.BEHIND:
            self._move(FeedState.CATCHING_UP)
        self._overflowed = False
        return Round(
            place=self.tracker.place or BEGINNING,
            limit=min(CHUNK, self.outlet.room),
            left=frozenset(self.tracker.left),
            held=len(self._held),
            doubted=self._doubted,
            target=self._target,
            connection=self._connection,
        )

    def end_round(self, made: Round, plan: list[Entry | Loss], complete: bool) -> None:
        """Hand over what a round has brought; go live if journal and wire have met."""
        if self.closed or self.state is not FeedState.CATCHING_UP:
            return
        self._hand_over_plan(plan)
        # A round that brings nothing has nothing more to bring, whatever it left unread.
        if (complete or not plan) and self._finish(made):
            self._move(FeedState.LIVE)
            self._was_slow = False
        else:
            self._request_refill()

    def answer_doubt(self, doubted: int, authority: int | None) -> None:
        """`BROKER_EPOCH`, read after the doubt arose; called before the round ends."""
        if authority != doubted:
            self._shared.refuted[doubted] = time.monotonic() + REFUTED_S
            if self._doubted == doubted:
                self._doubted = None

    def _finish(self, made: Round) -> bool:
        """All that the journals have is handed over. Is that all there was?"""
        if made.doubted is not None and self._doubted == made.doubted:
            self._doubted = None
            if made.doubted < self.tracker.epoch:
                log.warning(
                    "epoch.lower_adopted", channel=self.delivery.channel, epoch=made.doubted
                )
                self.tracker.adopt_lower(made.doubted)
            return False
        if self._overflowed or self._connection != made.connection or not self._join(made.held):
            return False
        self._settle_target(made.target)
        return self._doubted is None and self._target is None

    def _settle_target(self, known: Place | None) -> None:
        """What was said to be published before the journal was read, and is not in it, is lost."""
        tracker = self.tracker
        if known is not None and tracker.is_behind(known):
            missing = tracker.missing_before(known)
            if tracker.started:
                self._tell(Loss(None if missing is None else missing + 1, now_rfc3339()))
            tracker.move_to(known)
        if self._target is not None and not tracker.is_behind(self._target):
            self._target = None

    def _join(self, known: int) -> bool:
        """Hand over what was held; False if the journal has to be asked again.

        The first `known` were held before the journal was read: what is missing before one of
        them, the journal does not have.
        """
        for index, entry in enumerate(self._held):
            verdict = self.tracker.judge(entry.numbers.epoch, entry.numbers.seq)
            if verdict is Verdict.HOLE and index < known:
                self._tell_loss(entry)
                self._hand_over(entry)
            elif verdict is Verdict.HOLE:
                del self._held[:index]
                return False
            elif verdict is Verdict.LOWER_EPOCH and not self._is_refuted(entry.numbers.epoch):
                self._doubted = entry.numbers.epoch
                del self._held[:index]
                return False
            else:
                self._hand_over_judged(entry, verdict)
        self._held.clear()
        return True

    # -- private

    def _move(self, state: FeedState) -> None:
        assert (self.state, state) in _MOVES, f"{self.delivery.channel}: {self.state} to {state}"
        self.state = state
        self.is_simple = self.live and self.delivery.decode is None

    def _request_refill(self) -> None:
        if not self._requested:
            self._requested = True
            self._shared.request_refill(self)

    def _fall_behind(self) -> None:
        """The queue is full. What no journal has shows as a hole when there is room again."""
        self._shared.counters["queue_full"] += 1
        if self.journalled:
            self._move(FeedState.BEHIND)
            self._held.clear()
            self._was_slow = True
            self._park()
        else:
            self._was_slow = True

    def _park(self) -> None:
        """Wait for room; the worker may have made it already, and would not tell us again."""
        if not self.outlet.park(self):
            self._request_refill()

    def _hold(self, entry: Entry) -> None:
        if self.state is FeedState.BEHIND or self._overflowed:
            return
        if len(self._held) < MAX_HELD:
            self._held.append(entry)
        else:
            self._held.clear()  # the journal has them: one more round
            self._overflowed = True

    def _doubt(self, entry: Entry) -> None:
        if self._is_refuted(entry.numbers.epoch):
            self._shared.counters["fenced_dropped"] += 1
            return
        self._doubted = entry.numbers.epoch
        self.catch_up()
        self._hold(entry)

    def _is_refuted(self, epoch: int) -> bool:
        return time.monotonic() < self._shared.refuted.get(epoch, 0.0)

    def _hand_over_judged(self, entry: Entry, verdict: Verdict) -> None:
        if verdict is Verdict.SEEN:
            self._shared.counters["repeats_dropped"] += 1
        elif verdict is Verdict.LOWER_EPOCH:
            self._shared.counters["fenced_dropped"] += 1
        else:
            self.delivery.hand_over(entry)

    def _hand_over_plan(self, plan: list[Entry | Loss]) -> None:
        for step in plan:
            if isinstance(step, Entry):
                self._hand_over(step)
                self._shared.counters["refilled"] += 1
            elif self.tracker.started:  # what was before we came is no loss to us
                self._tell(step)

    def _hand_over(self, entry: Entry) -> None:
        self.tracker.move_to(entry.place)
        self.delivery.hand_over(entry)

    def _tell_loss(self, entry: Entry) -> None:
        self._tell(Loss(self.tracker.missing_before(entry.place), end_of_loss([entry])))

    def _tell(self, loss: Loss) -> None:
        cause = "consumer_slow" if self._was_slow else "journal_expired"
        if not self.journalled:
            self._was_slow = False
        self.delivery.tell(loss, self.tracker.epoch, cause)
