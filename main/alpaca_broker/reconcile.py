"""Orders that cannot be missed: what REST knows of them is compared with what was published.

A named thread asks after every (re)connection of the order stream, shortly after that again, and
every 30 s; the order producer makes the comparison, so that it never races the stream's own events.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Final

import structlog

from ..utils.tracebacks import plain_traceback
from .order_buffer import OrderBuffer
from .order_inquiry import OrderInquiry
from .rest import RestRefused, RestUnavailable
from .workers import Worker

log: Final = structlog.get_logger("tickerbus.reconcile")

PERIOD_S: Final = 30.0
SECOND_LOOK_S: Final = 3.0  # after a reconnect: what was under way at the first look
_RETRY_S: Final = 1.0


class Reconciler(Worker):
    """Asks REST. `live` is called when the order stream is (again) up; everything else happens in
    its own thread."""

    name = "reconciler"

    def __init__(
        self,
        inquiry: OrderInquiry,
        buffer: OrderBuffer,
        chores: Sequence[Callable[[], None]] = (),
    ) -> None:
        """`chores` are called at each turn, in this thread: what else may wait for an answer."""
        super().__init__()
        self.counters: Counter[str] = inquiry.counters
        self._inquiry, self._buffer, self._chores = inquiry, buffer, chores
        self._live: tuple[int, int] | None = None  # (connection, since when)
        self._wake = threading.Condition()
        self._asked_again = self._retry = False

    def start(self) -> None:
        """From where the last broker left off. Raises redis.RedisError."""
        self._inquiry.begin()
        super().start()

    def live(self, connection: int) -> None:
        """The order stream is up: what it missed is to be found before entries are safe."""
        with self._wake:
            self._live = (connection, self._inquiry.alpaca_ns())
            self._asked_again = True
            self._wake.notify()

    def begin_stop(self) -> None:
        with self._wake:
            super().begin_stop()
            self._wake.notify()

    def _run(self) -> None:
        wait_s = PERIOD_S
        while self._sleep(wait_s):
            self._do_chores()
            with self._wake:
                fresh, self._asked_again = self._asked_again, False
                live = self._live
            if live is None:
                continue
            try:
                is_complete = self._compare(live)
                wait_s = SECOND_LOOK_S if fresh else PERIOD_S
                if not is_complete:
                    wait_s, self._retry = _RETRY_S, True
            except (RestUnavailable, RestRefused, ValueError, KeyError) as error:
                self.counters["reconciliations_failed"] += 1
                log.warning("reconcile.failed", error=str(error))
                # Soon again while entries wait for it, else in the usual time.
                wait_s = _RETRY_S if fresh else PERIOD_S
                self._retry = fresh
            except Exception:  # the supervisor: without this thread no entry is safe again
                self.counters["reconciliations_failed"] += 1
                log.error("reconcile.failed", traceback=plain_traceback())
                wait_s, self._retry = (SECOND_LOOK_S if fresh else PERIOD_S), fresh

    def _compare(self, live: tuple[int, int]) -> bool:
        """Whether all was asked. The answer, a thousand orders perhaps, is not held here: the next
        one is another."""
        found = self._inquiry.ask(*live)
        self._buffer.put(found)
        return found.complete

    def _do_chores(self) -> None:
        for chore in self._chores:
            try:
                chore()
            except Exception:  # the supervisor: a chore is not worth the thread
                log.error("reconcile.chore_failed", traceback=plain_traceback())

    def _sleep(self, wait_s: float) -> bool:
        """Wait for the next turn; False when it is time to end."""
        with self._wake:
            if not self._asked_again and not self._stopping:
                self._wake.wait(wait_s)
            self._asked_again, self._retry = self._asked_again or self._retry, False
            return not self._stopping
