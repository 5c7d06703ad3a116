"""The states of the broker and of its update publisher, as one table.

    STOPPED ── start ──> STARTING ──> RUNNING <──> DEGRADED
       ^                    │  │         │             │
       │                    │  └> STANDBY (another broker of this account owns the connection)
       └───── STOPPING <────┴────────────┴─────────────┘

REFUSED and FAULTED are reached from any state in which work is done, and left only by a stop:
REFUSED when Alpaca will not have us (wrong keys, a feed that the plan lacks), FAULTED when a
thread of ours died. DEGRADED is RUNNING with a stream or Redis away: it heals by itself. A broker
that runs and is superseded (it slept, and a standby took over) becomes STANDBY. A move that the
table does not list raises and changes nothing.
"""

from __future__ import annotations

import threading
import time
from enum import Enum
from typing import Final

from .errors import IllegalTransition


class State(Enum):
    STOPPED = "STOPPED"
    STARTING = "STARTING"
    STANDBY = "STANDBY"
    RUNNING = "RUNNING"
    DEGRADED = "DEGRADED"
    STOPPING = "STOPPING"
    REFUSED = "REFUSED"
    FAULTED = "FAULTED"


TRANSITIONS: Final[dict[State, frozenset[State]]] = {
    State.STOPPED: frozenset({State.STARTING}),
    State.STARTING: frozenset(
        {
            State.STANDBY,
            State.RUNNING,
            State.DEGRADED,
            State.STOPPING,
            State.REFUSED,
            State.FAULTED,
        }
    ),
    State.STANDBY: frozenset({State.STARTING, State.STOPPING, State.REFUSED, State.FAULTED}),
    State.RUNNING: frozenset(
        {State.DEGRADED, State.STANDBY, State.STOPPING, State.REFUSED, State.FAULTED}
    ),
    State.DEGRADED: frozenset(
        {State.RUNNING, State.STANDBY, State.STOPPING, State.REFUSED, State.FAULTED}
    ),
    State.STOPPING: frozenset({State.STOPPED, State.FAULTED}),
    State.REFUSED: frozenset({State.STOPPING}),
    State.FAULTED: frozenset({State.STOPPING}),
}

WORKING: Final = frozenset({State.STARTING, State.STANDBY, State.RUNNING, State.DEGRADED})
ENDED: Final = frozenset({State.STOPPED, State.REFUSED, State.FAULTED})


class Lifecycle:
    """One state of `subject`, moved by one function. Any thread may call it."""

    def __init__(self, subject: str) -> None:
        self.subject = subject
        self.state = State.STOPPED
        self.reason: str | None = None
        self.since_ns = time.time_ns()
        self._changed = threading.Condition(threading.RLock())

    def move(self, to: State, reason: str | None = None) -> None:
        """Move to `to`.

        Raises:
            IllegalTransition: the table does not list this move; the state stays.
        """
        with self._changed:
            if to not in TRANSITIONS[self.state]:
                raise IllegalTransition(self.subject, self.state.value, to.value)
            self.state, self.reason, self.since_ns = to, reason, time.time_ns()
            self._changed.notify_all()

    def explain(self, reason: str) -> None:
        """Why it is still in this state."""
        with self._changed:
            self.reason = reason

    def move_if_legal(self, to: State, reason: str | None = None) -> bool:
        """Move, unless something more important (a stop, a fault) has come first."""
        try:
            self.move(to, reason)
        except IllegalTransition:
            return False
        return True

    def move_if_legal_from(self, only: State, to: State, reason: str | None = None) -> bool:
        """Move from the state `only`; leave any other as it is."""
        with self._changed:
            return self.state is only and self.move_if_legal(to, reason)

    def wait_for(self, states: frozenset[State], timeout_s: float | None) -> bool:
        """Whether one of `states` was reached within the time."""
        with self._changed:
            return self._changed.wait_for(lambda: self.state in states, timeout_s)
