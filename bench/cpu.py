"""The CPU that a process has taken."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping

import psutil


def cpu_s(pid: int) -> float:
    """Seconds of all its threads since it began: on Linux by the scheduler's clock, which counts
    nanoseconds; elsewhere in ticks of some 10 ms.

    Raises:
        OSError, psutil.NoSuchProcess: there is none.
    """
    if sys.platform == "linux":
        return time.clock_gettime(~pid << 3 | 2)  # as clock_getcpuclockid(3) makes its clock's name
    times = psutil.Process(pid).cpu_times()
    return times.user + times.system


class Clockwork:
    """CPU seconds of named processes between two looks."""

    def __init__(self, pids: Mapping[str, int]) -> None:
        self._pids = dict(pids)
        self._before = self._look()

    def _look(self) -> dict[str, float]:
        return {name: cpu_s(pid) for name, pid in self._pids.items()}

    def spent(self) -> dict[str, float]:
        now = self._look()
        return {name: now[name] - before for name, before in self._before.items()}
