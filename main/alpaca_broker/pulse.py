"""Whether the other side of a connection still answers."""

from __future__ import annotations

import enum
import threading

from websockets.sync.client import ClientConnection

from .connection_config import ConnectionConfig


class Beat(enum.Enum):
    """What a look at the connection has found."""

    FINE = enum.auto()  # no ping was needed, or its answer is not late
    BACK = enum.auto()  # it was answered
    MISSED = enum.auto()  # one was not, and is waited for
    GONE = enum.auto()  # nor later


class Pulse:
    """A half-open connection shows by a missing answer to a ping: said at once, acted on later,
    because a new connection may find the slot taken by the old one for 90 s."""

    def __init__(self, config: ConnectionConfig) -> None:
        self._config = config
        self._ping: tuple[threading.Event, float] | None = None

    def look(self, socket: ClientConnection, now_s: float, heard_s: float) -> Beat:
        """`heard_s`: when anything came last. Sends a ping when that is long ago. Whatever comes
        after it is as good as its answer."""
        found = self._judge(now_s, heard_s)
        if self._ping is None and now_s >= heard_s + self._config.ping_after_s:
            self._ping = (socket.ping(), now_s)
        return found

    def look_again_s(self, now_s: float, heard_s: float) -> float:
        """From when on a next look may find something."""
        if self._ping is None:
            return heard_s + self._config.ping_after_s
        _, sent_s = self._ping
        dues_s = (sent_s + self._config.ping_after_s, sent_s + self._config.pong_missed_s)
        return next((due_s for due_s in dues_s if due_s > now_s), now_s)

    def _judge(self, now_s: float, heard_s: float) -> Beat:
        if self._ping is None:
            return Beat.FINE
        pong, sent_s = self._ping
        if pong.is_set() or heard_s > sent_s:  # the answer stands behind data that is to be read
            self._ping = None
            return Beat.BACK
        if now_s - sent_s > self._config.pong_timeout_s:
            return Beat.GONE
        return Beat.MISSED if now_s >= sent_s + self._config.pong_missed_s else Beat.FINE
