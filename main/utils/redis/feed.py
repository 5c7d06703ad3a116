"""One handler's place on one channel: decides what of a channel's messages the handler gets."""

from __future__ import annotations

from collections import Counter
from typing import Any

import msgspec

from .gap_tracker import GapTracker, Place, Verdict
from .outlet import Decode, Outlet, Undecoded


class Numbers(msgspec.Struct, frozen=True):
    """A message's place, where no more of it is wanted or known. 0: nobody numbered it."""

    epoch: int = 0
    seq: int = 0


class Feed:
    """What one handler has of one channel. Touched with the subscriber's lock held only."""

    __slots__ = ("channel", "counters", "decode", "outlet", "tracker")

    def __init__(
        self,
        channel: str,
        outlet: Outlet,
        decode: Decode | None,
        tracker: GapTracker | None,
        counters: Counter[str],
    ) -> None:
        self.channel, self.outlet, self.decode = channel, outlet, decode
        self.tracker, self.counters = tracker, counters

    def take(self, payload: bytes, message: Any, numbers: Any) -> None:
        """A message from the wire. `message` is None when its type is unknown here."""
        assert self.tracker is not None
        verdict = self.tracker.judge(numbers.epoch, numbers.seq)
        if verdict is Verdict.SEEN:
            self.counters["repeats_dropped"] += 1
            return
        if verdict is Verdict.LOWER_EPOCH:
            self.counters["fenced_dropped"] += 1
            return
        if verdict is Verdict.HOLE:
            self.counters["holes"] += 1
            self.tracker.move_to(Place(numbers.epoch, numbers.seq))
        self.stage(payload, message)

    def stage(self, payload: bytes, message: Any) -> None:
        if self.decode is not None:
            self.outlet.staged.append(Undecoded(self.channel, payload, self.decode))
        elif message is not None:
            self.outlet.staged.append(message)
        else:
            self.counters["ignored"] += 1
