"""What stands between a publisher and the sender: events in the queue, and who waits for them."""

from __future__ import annotations

import threading

from .errors import PublishRefused
from .receipts import Receipt
from .wire import Packed


class Ticket:
    """What a publisher waits for: the outcomes of its events."""

    __slots__ = ("_answer", "_is_let_go", "_left", "outcomes")

    def __init__(self, count: int) -> None:
        self.outcomes: list[Receipt | PublishRefused | None] = [None] * count
        self._left = count
        self._is_let_go = False
        self._answer = threading.Lock()  # held until there is one; an Event takes ten times as long
        self._answer.acquire()

    def settle(self, place: int, outcome: Receipt | PublishRefused) -> None:
        """Only by whoever has the sender's turn."""
        self.outcomes[place] = outcome
        self._left -= 1
        if not self._left:
            self.let_go()

    def let_go(self) -> None:
        """Nobody need wait any longer: all is settled, or Redis is away. As `settle`."""
        if not self._is_let_go:
            self._is_let_go = True
            self._answer.release()

    def wait(self, timeout_s: float) -> None:
        """Until all is settled, or Redis is away, or the time is over."""
        if self._answer.acquire(timeout=timeout_s):
            self._answer.release()  # for who asks again

    @property
    def is_settled(self) -> bool:
        return self._left <= 0


class Outgoing:
    """One event in the queue, packed; `place` in its `ticket`."""

    __slots__ = ("event_id", "packed", "place", "ticket")

    def __init__(self, event_id: str, packed: Packed, ticket: Ticket | None, place: int) -> None:
        self.event_id, self.packed = event_id, packed
        self.ticket, self.place = ticket, place
