"""Pure: the batches on their way to Redis, the oldest first.

Several may be sent before the first is answered, on one connection, so that Redis has work while
its answer comes back. Redis takes a batch only after the one before (`Batch.call`), so that what
stops one stops those behind it. Once anything has gone wrong they are sent again one by one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from .batch import Batch


@dataclass
class Sent:
    """One batch, and what is known of it."""

    batch: Batch
    since_s: float  # perf_counter: when it was sent first
    is_owed: bool = False  # it went out on this connection, and nobody has read its reply yet
    reply: int | None = None  # read early, on this connection; None: it is to be sent (again)
    was_done: bool = False  # by a Redis that may have been emptied, or left, since
    is_given_up: bool = False


class InFlight:
    """Not thread-safe."""

    def __init__(self) -> None:
        self._sent: deque[Sent] = deque()

    def __len__(self) -> int:
        return len(self._sent)

    @property
    def first(self) -> Sent:
        """Raises IndexError: there is none."""
        return self._sent[0]

    def add(self, batch: Batch, now_s: float) -> None:
        self._sent.append(Sent(batch, now_s))

    def call_ahead(self, now_s: float) -> bytes:
        """The newest one's call, which is sent at once."""
        *before, newest = self._sent
        newest.is_owed, newest.since_s = True, now_s
        return newest.batch.call(after=before[-1].batch.number if before else 0)

    @property
    def is_owed(self) -> bool:
        """Whether a reply is to come."""
        return any(sent.is_owed for sent in self._sent)

    def read(self, receive: Callable[[], Any]) -> None:
        """Read every reply that is owed."""
        for sent in self._sent:
            if sent.is_owed:
                reply = self.read_one(sent, receive)
                # A refusal may be out of date by the time that it is looked into: sent again.
                sent.reply = reply if isinstance(reply, int) else None

    @staticmethod
    def read_one(sent: Sent, receive: Callable[[], Any]) -> Any:
        sent.is_owed = False
        reply = receive()
        sent.was_done |= isinstance(reply, int)
        return reply

    def lose_connection(self) -> None:
        """No reply will come any more."""
        for sent in self._sent:
            sent.is_owed, sent.reply = False, None

    def done(self) -> Iterator[Batch]:
        """Those that Redis has done, though they are not confirmed yet."""
        return (sent.batch for sent in takewhile(lambda sent: sent.was_done, self._sent))

    @property
    def is_settled(self) -> bool:
        return all(sent.reply is not None for sent in self._sent)

    def confirm_first(self) -> Sent:
        return self._sent.popleft()

    def give_up(self) -> int:
        """How many messages are given up that were not before."""
        fresh = [sent for sent in self._sent if not sent.is_given_up]
        for sent in fresh:
            sent.is_given_up = True
        return sum(sent.batch.messages for sent in fresh)

    def clear(self) -> None:
        self._sent.clear()
