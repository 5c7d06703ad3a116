"""Orders whose fate nobody told yet: looked up until somebody does."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from ..utils.order_calls import OrderCalls
from ..utils.submission import Stage, Submission
from .event_outlet import NotPlaced


class Unresolved:
    """Any thread may `add`; one looks them up."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._waiting: dict[str, tuple[str, Submission]] = {}  # by client_order_id: symbol, …

    def __len__(self) -> int:
        return len(self._waiting)

    def add(self, symbol: str, submission: Submission) -> None:
        with self._lock:
            self._waiting[submission.client_order_id] = (symbol, submission)

    def names(self) -> list[str]:
        with self._lock:
            return sorted(self._waiting)

    def look_up(
        self, calls: OrderCalls, is_limited: Callable[[], bool]
    ) -> list[tuple[str, Submission]]:
        """Ask once for each, until a 429; those whose fate is known now, with their symbols."""
        known = []
        for name in self.names():
            if is_limited():
                break
            symbol, submission = self._waiting[name]
            submission.see_look_up(calls.look_up(name), time.monotonic())
            if submission.stage in (Stage.SEEN, Stage.ABSENT, Stage.REFUSED):
                known.append((symbol, submission))
        with self._lock:
            for _, submission in known:
                del self._waiting[submission.client_order_id]
        return known


def not_placed(
    symbol: str, submission: Submission, account_id: str | None, timestamp: str
) -> NotPlaced:
    """An order that never came to be, as what is told of it."""
    reason = submission.refused.reason if submission.refused else submission.lost
    return NotPlaced(
        symbol=symbol,
        client_order_id=submission.client_order_id,
        reason=reason or "no answer",
        refused=submission.stage is Stage.REFUSED,
        timestamp=timestamp,
        account_id=account_id,
    )
