"""The C library's heap: a process of many threads must not keep a copy of its peaks for each, nor
for ever."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Final

_M_ARENA_MAX: Final = -8
_M_MMAP_THRESHOLD: Final = -3
ARENAS: Final = 2
LARGE_BYTES: Final = 256 * 1024


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
