"""The C library's heap: a process of many threads must not keep a copy of its peaks for each, nor
for ever."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Final

_M_ARENA_MAX: Final = -8
ARENAS: Final = 2


def limit_arenas() -> None:
    """glibc gives threads up to eight heaps for each processor, and each keeps what its peak took:
    some 10 MB a thread after hours of bursts and outages. Python's threads take turns anyway.

    Call it before the threads are started. Elsewhere than with glibc it does nothing.
    """
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """What a burst, or a long list of orders, took for a moment goes back to the system: some
    milliseconds, now and then. Elsewhere than with glibc it does nothing."""
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
