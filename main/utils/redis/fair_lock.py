"""A re-entrant lock that goes to whoever waits.

Python's own locks may be taken again and again by a thread that releases them only for a moment:
under load the price producer would keep the heartbeat, the replies and the orders from the
connection for seconds. Here a waiter stands in a doorway that the next one has to pass as well.
"""

from __future__ import annotations

import threading
import time
from types import TracebackType


class FairLock:
    """`with lock: …`; `acquire(timeout)` and `release()`."""

    def __init__(self) -> None:
        self._doorway, self._lock = threading.Lock(), threading.Lock()
        self._owner: int | None = None
        self._depth = 0

    def acquire(self, timeout: float = -1) -> bool:
        """Take it; False when it could not be had within `timeout` seconds (-1: wait for ever)."""
        me = threading.get_ident()
        if self._owner == me:
            self._depth += 1
            return True
        began = time.monotonic()
        if not self._doorway.acquire(timeout=timeout):
            return False
        try:
            left = timeout if timeout < 0 else max(0.0, timeout - (time.monotonic() - began))
            taken = self._lock.acquire(timeout=left)
        finally:
            self._doorway.release()
        if taken:
            self._owner, self._depth = me, 1
        return taken

    def release(self) -> None:
        """Give it back once for each time it was taken."""
        if self._owner != threading.get_ident():
            raise RuntimeError("released by a thread that does not hold it")
        self._depth -= 1
        if self._depth == 0:
            self._owner = None
            self._lock.release()

    def __enter__(self) -> FairLock:
        self.acquire()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()
