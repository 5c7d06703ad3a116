"""What the broker's threads have in common: a name, an end that is asked for, and a deadline."""

from __future__ import annotations

import threading
import time
from typing import ClassVar


class Worker:
    """A named thread. Subclasses say what it does (`_run`), and wake it when it is to end."""

    name: ClassVar[str] = "worker"

    def __init__(self) -> None:
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def begin_stop(self) -> None:
        """Ask it to end; does not wait."""
        self._stopping = True

    def join(self, timeout_s: float) -> bool:
        """Whether it has ended within the time, or never begun."""
        if self._thread.ident is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        raise NotImplementedError


def left_s(deadline_s: float) -> float:
    """Seconds to a deadline (monotonic), never below 0."""
    return max(0.0, deadline_s - time.monotonic())
