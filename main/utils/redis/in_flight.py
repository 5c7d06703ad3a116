"""Pure: the batches on their way to Redis, the oldest first.

Several may be sent before the first is answered, on one connection, so that Redis has work while
its answer comes back. Redis takes a batch only after the one before (`Batch.call`), so that what
stops one stops those behind it. Once anything has gone wrong they are sent again one by one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from .batch import Batch


@dataclass
class Sent:
    """One batch, and what is known of it."""

    batch: Batch
    since_s: float  # perf_counter: when it was to be sent first
    is_owed: bool = False  # it went out on this connection, and nobody has read its reply yet
    reply: Any = None  # read by somebody who needed the connection; None: it is to be sent (again)

    @property
    def is_done(self) -> bool:
        return isinstance(self.reply, int)


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

    @property
    def messages(self) -> int:
        return sum(sent.batch.messages for sent in self._sent)

    def add(self, batch: Batch, now_s: float) -> None:
        self._sent.append(Sent(batch, now_s))

    def call_ahead(self) -> bytes:
        """The newest one's call, which is sent at once."""
        *before, newest = self._sent
        newest.is_owed = True
        return newest.batch.call(after=before[-1].batch.number if before else 0)

    @property
    def is_owed(self) -> bool:
        """Whether a reply is to come."""
        return any(sent.is_owed for sent in self._sent)

    def read(self, receive: Callable[[], Any]) -> None:
        """Read every reply that is owed."""
        for sent in self._sent:
            self.read_one(sent, receive)

    @staticmethod
    def read_one(sent: Sent, receive: Callable[[], Any]) -> None:
        if sent.is_owed:
            sent.is_owed = False
            sent.reply = receive()

    def lose_connection(self) -> None:
        """No reply will come any more."""
        for sent in self._sent:
            sent.is_owed = False

    def done(self) -> Iterator[Batch]:
        """Those that Redis has done, though they are not confirmed yet."""
        return (sent.batch for sent in self._sent if sent.is_done)

    @property
    def is_settled(self) -> bool:
        return all(sent.is_done for sent in self._sent)

    def confirm_first(self) -> Sent:
        return self._sent.popleft()

    def clear(self) -> None:
        self._sent.clear()
