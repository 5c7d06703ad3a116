"""Turns: moments at which the threads of a quiet process wake together.

A processor that wakes for one thread has to leave its sleep, and finds nothing at hand. For the
next thread in the same moment both are done: waits that end in common take half the time of waits
that end one by one.
"""

from __future__ import annotations

import time
from typing import Final

TURN_S: Final = 0.25


def next_turn_s(moment_s: float, every_s: float = TURN_S) -> float:
    """The first turn at or after a moment of the monotonic clock: a multiple of `every_s`."""
    return moment_s + -moment_s % every_s


def until_turn_s(every_s: float = TURN_S) -> float:
    """Seconds from now to the next turn; never 0."""
    return every_s - time.monotonic() % every_s
