"""Pure: where one reader stands in one ticker's sequence, and what a message means there.

`(epoch, seq)` is the journal's entry id, so the place in the sequence and the place in the journal
are the same thing: what the tracker misses, the journal is asked for by that place.
"""

from __future__ import annotations

import enum
from typing import NamedTuple


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


BEGINNING = Place(0, 0)  # before everything that a journal can hold


class Verdict(enum.Enum):
    """What a message means to a reader."""

    NEXT = enum.auto()  # the one expected: the tracker has moved on to it
    SEEN = enum.auto()  # handed over before
    HOLE = enum.auto()  # something is missing before it: ask the journal
    LOWER_EPOCH = enum.auto()  # a fenced broker, or a new one with a clock stepped back
    UNNUMBERED = enum.auto()  # nobody counted it: no journal has it, no hole can be seen


class GapTracker:
    """Where one reader stands. `place` is the last message handed over, None before the first."""

    __slots__ = ("epoch", "expected", "started")

    def __init__(self, place: Place | None = None) -> None:
        self.started = place is not None
        self.epoch = place.epoch if place else 0
        self.expected = place.seq + 1 if place else 1

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

    def move_to(self, place: Place) -> None:
        """`place` is handed over; go on after it."""
        self.started = True
        self.epoch, self.expected = place.epoch, place.seq + 1
