"""A process that runs for weeks must not keep what it no longer needs: neither in the C library's
heaps, one for each thread, nor in rings of objects that only the collector finds."""

from __future__ import annotations

import contextlib
import ctypes
import gc
import time
from collections.abc import Callable
from typing import Final

_M_ARENA_MAX: Final = -8
_M_MMAP_THRESHOLD: Final = -3
ARENAS: Final = 2
LARGE_BYTES: Final = 256 * 1024
TIDY_S: Final = 25.0


def tame() -> None:
    """glibc gives threads up to eight heaps for each processor, and each keeps what its peak took:
    some 10 MB a thread after hours of bursts and outages. Python's threads take turns anyway. And
    what is large stays out of the heaps; by itself glibc takes more and more for small.

    Call it before the threads are started. Elsewhere than with glibc it does nothing.
    """
    with contextlib.suppress(OSError, AttributeError):
        library = ctypes.CDLL(None)
        library.mallopt(_M_ARENA_MAX, ARENAS)
        library.mallopt(_M_MMAP_THRESHOLD, LARGE_BYTES)


def give_back() -> None:
    """What a burst, or a long list of orders, took for a moment goes back to the system: some
    milliseconds, now and then. Elsewhere than with glibc it does nothing."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


class Tidy:
    """To be called now and then; at most every `TIDY_S` it does something.

    A connection that has ended is a ring of objects that refer to each other, its last error and
    its buffers with them: up to 50 KB that only the collector frees, and it looks at what is old
    once in many minutes. So where connections were lost it is told to: less than a millisecond,
    with thousands of tickers some tens, and nothing of it while nothing is wrong.
    """

    def __init__(
        self, lost: Callable[[], int], clock_s: Callable[[], float] = time.monotonic
    ) -> None:
        """`lost`: how many connections have ended so far."""
        self._lost, self._clock_s = lost, clock_s
        self._seen, self._next_s = 0, 0.0

    def __call__(self) -> None:
        if self._clock_s() < self._next_s:
            return
        self._next_s = self._clock_s() + TIDY_S
        seen, self._seen = self._seen, self._lost()
        if self._seen != seen:
            gc.collect()
        give_back()
