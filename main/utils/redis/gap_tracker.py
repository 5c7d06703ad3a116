"""Pure: where one reader stands in one ticker's sequence, and what its journals still can give.

`(epoch, seq)` is the journal's entry id, so the place in the sequence and the place in the journal
are the same thing: what the tracker misses, the journal is asked for by that place.

**Which epoch is followed.** A higher one at once. A lower one only when `BROKER_EPOCH`, read from
a primary after the message came, names it: the server-side function writes for that epoch and no
other, so it is the one authority. Thus a fenced broker, which still publishes but no longer owns
the key, is dropped; and a broker that started with its clock set back, after Redis was emptied, is
followed. A wrong drop costs nothing: an epoch that is adopted later is refilled from its start, or
from where it was left.
"""

from __future__ import annotations

import enum
import itertools
from collections.abc import Collection, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

from .messages import GapMessage, OrderMessage, PriceMessage


class Place(NamedTuple):
    """`epoch-seq`: a message's place in its ticker's sequence, and its id in the journal."""

    epoch: int
    seq: int

    @classmethod
    def parse(cls, entry_id: str | bytes) -> Place:
        """From `"<epoch>-<seq>"`.

        Raises:
            ValueError: it is not such an id.
        """
        text = entry_id.decode() if isinstance(entry_id, bytes) else entry_id
        epoch, dash, seq = text.partition("-")
        if not (dash and epoch.isdecimal() and seq.isdecimal()):
            raise ValueError(f"{text[:60]!r} is not an id: expected <epoch>-<seq>")
        return cls(int(epoch), int(seq))

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"

    @property
    def before(self) -> Place:
        """The place just before this one: a reader that stands there gets this one next."""
        return Place(self.epoch, self.seq - 1)


UNTIMELY = frozenset({OrderMessage, GapMessage})
BEGINNING = Place(0, 0)  # before everything that a journal can hold


class Numbered(Protocol):
    """What carries a place: a typed message, or no more of it than its numbers."""

    @property
    def epoch(self) -> int: ...
    @property
    def seq(self) -> int: ...
    @property
    def timestamp(self) -> str: ...


class Entry(NamedTuple):
    """One message, from the wire or a journal. `message` is None if its type is unknown here."""

    numbers: Numbered
    payload: bytes
    message: Any

    @property
    def place(self) -> Place:
        return Place(self.numbers.epoch, self.numbers.seq)


class Loss(NamedTuple):
    """What no journal has any more: `lost` messages before `until`, None where nobody knows.

    `until` is the time of the first message after it that tells its own time; "" if none does.
    """

    lost: int | None
    until: str


class Verdict(enum.Enum):
    """What a message means to a reader."""

    NEXT = enum.auto()  # the one expected: the tracker has moved on to it
    SEEN = enum.auto()  # handed over before
    HOLE = enum.auto()  # something is missing before it: ask the journal
    LOWER_EPOCH = enum.auto()  # a fenced broker, or a new one with a clock stepped back
    UNNUMBERED = enum.auto()  # nobody counted it: no journal has it, no hole can be seen


class GapTracker:
    """Where one reader stands. `place` is the last message handed over, None before the first."""

    __slots__ = ("_left_at", "epoch", "expected", "left", "started")

    def __init__(self, place: Place | None = None) -> None:
        self.started = place is not None
        self.epoch = place.epoch if place else 0
        self.expected = place.seq + 1 if place else 1
        self.left: set[int] = set()  # higher epochs that were given up for a lower one
        self._left_at: dict[int, int] = {}  # the last number of each epoch that was left

    @property
    def place(self) -> Place | None:
        return Place(self.epoch, self.expected - 1) if self.started else None

    def judge(self, epoch: int, seq: int) -> Verdict:
        """What this message means; only NEXT moves the tracker."""
        if seq <= 0:
            return Verdict.UNNUMBERED
        if not self.started:  # nothing came before: whatever comes first is the beginning
            self.move_to(Place(epoch, seq))
            return Verdict.NEXT
        if epoch == self.epoch:
            if seq == self.expected:
                self.expected += 1
                return Verdict.NEXT
            return Verdict.SEEN if seq < self.expected else Verdict.HOLE
        # Of a new epoch even the first message is a hole: the old one's end may be missing.
        return Verdict.HOLE if epoch > self.epoch else Verdict.LOWER_EPOCH

    def missing_before(self, place: Place) -> int | None:
        """How many messages are missing before `place`, None where nobody knows."""
        return place.seq - self.expected if place.epoch == self.epoch else None

    def is_behind(self, place: Place) -> bool:
        """Whether `place` is one that the tracker has still to come to."""
        return (place.epoch, place.seq) >= (self.epoch, self.expected)

    def move_to(self, place: Place) -> None:
        """`place` is handed over; go on after it."""
        if self.started and place.epoch != self.epoch:
            self._left_at[self.epoch] = self.expected - 1
        self.started = True
        self.epoch, self.expected = place.epoch, place.seq + 1
        self.left.discard(place.epoch)

    def adopt_lower(self, epoch: int) -> None:
        """Follow an epoch below ours: from its start, or from where it was left.

        What journals keep of ours is behind us.
        """
        self.left.add(self.epoch)
        self.move_to(Place(epoch, self._left_at.get(epoch, 0)))


def plan_refill(
    place: Place,
    anchored: bool,
    log: Sequence[Entry],
    orders: Sequence[Entry],
    left: Collection[int] = (),
) -> list[Entry | Loss]:
    """What to hand over after `place`, in order and without repeats.

    `log` is the ticker's journal after `place`, `orders` its order journal (wanted only when not
    `anchored`). `anchored` says that the journal still holds `place` itself (or, if that is the
    beginning, that nothing was ever trimmed): journals are trimmed at their old end only, so then
    nothing after `place` is missing.
    """
    log = [entry for entry in log if entry.place > place and entry.place.epoch not in left]
    plan: list[Entry | Loss] = []
    if not anchored:
        first = log[0].place if log else None
        kept = [
            order
            for order in orders
            if order.place > place
            and order.place.epoch not in left
            and (first is None or order.place < first)
        ]
        survivors = kept + log[:1]
        if survivors and (lost := _lost_among(place, survivors)) != 0:
            plan.append(Loss(lost, end_of_loss(log or survivors[-1:])))
        plan += kept
        if kept and not log:
            return plan
        if log:
            plan.append(log[0])
            place, log = log[0].place, log[1:]
    for index, entry in enumerate(log):
        if not _follows(entry.place, place):
            lost = entry.place.seq - place.seq - 1 if entry.place.epoch == place.epoch else None
            plan.append(Loss(lost, end_of_loss(log[index:])))
        plan.append(entry)
        place = entry.place
    return plan


def has_hole(log: Sequence[Entry]) -> bool:
    """Whether a journal lacks something between its entries: a failover that was not waited for
    lost some, of which the broker wrote the orders again."""
    return any(
        not _follows(later.place, earlier.place) for earlier, later in itertools.pairwise(log)
    )


def with_orders(log: Sequence[Entry], orders: Iterable[Entry]) -> list[Entry]:
    """The journal with those orders that it lacks between its first and its last entry."""
    between = {o.place: o for o in orders if log[0].place < o.place < log[-1].place}
    return sorted((between | {e.place: e for e in log}).values(), key=lambda entry: entry.place)


def end_of_loss(after: Sequence[Entry]) -> str:
    """Until when messages may be missing, by those that came `after`.

    An order, or a trade that was refilled, may tell of a moment before the loss.
    """
    return next((entry.numbers.timestamp for entry in after if is_timely(entry.message)), "")


def is_timely(message: object) -> bool:
    """Whether a message was published about when it says that it happened."""
    if type(message) is PriceMessage:
        return not message.backfilled
    return type(message) not in UNTIMELY


def _follows(later: Place, earlier: Place) -> bool:
    """Whether nothing is missing between two neighbours in one journal."""
    if later.epoch == earlier.epoch:
        return later.seq == earlier.seq + 1
    return later.seq == 1


def _lost_among(place: Place, survivors: Sequence[Entry]) -> int | None:
    """How many messages between `place` and the last survivor are gone, None if unknown."""
    last = survivors[-1].place
    if last.epoch == place.epoch:
        return last.seq - place.seq - len(survivors)
    return None
