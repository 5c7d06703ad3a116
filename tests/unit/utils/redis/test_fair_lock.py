"""Who waits gets it, and nobody waits longer than he said."""

from __future__ import annotations

import threading
import time

import pytest

from main.utils.redis.fair_lock import FairLock


class Holder:
    """Holds a lock in a thread of its own."""

    def __init__(self, lock: FairLock) -> None:
        self._lock = lock
        self.holds, self.may_go = threading.Event(), threading.Event()
        self._thread = threading.Thread(target=self._hold)
        self._thread.start()

    def _hold(self) -> None:
        with self._lock:
            self.holds.set()
            assert self.may_go.wait(20)

    def end(self) -> None:
        self.may_go.set()
        self._thread.join(5)


def test_its_holder_may_take_it_again_and_gives_it_back_as_often() -> None:
    lock = FairLock()
    with lock, lock:
        assert lock.acquire(timeout=0)
        lock.release()
    with pytest.raises(RuntimeError):
        lock.release()


def test_a_waiter_waits_no_longer_than_its_time_also_behind_another_waiter() -> None:
    """The one before it stands in the doorway for three quarters of that time, and gives up."""
    lock = FairLock()
    holder = Holder(lock)
    assert holder.holds.wait(5)
    first = threading.Thread(target=lambda: lock.acquire(timeout=0.3))
    first.start()
    began = time.monotonic()
    assert not lock.acquire(timeout=0.4)
    waited_s = time.monotonic() - began
    holder.end()
    first.join(5)
    assert 0.35 < waited_s < 0.65
