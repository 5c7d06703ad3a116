"""The reader thread: its own connection, read, routed, watched, and renewed when it dies.

It alone reads and writes its socket (a TLS socket must not be shared); other threads leave their
commands in an outbox and wake it.
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

import hiredis

from ..event_log import EventLog
from ..tracebacks import plain_traceback
from ..turns import next_turn_s
from .config import (
    WIRE_FAULTS,
    RedisConfig,
    Wire,
    backoff_delays,
    is_elsewhere,
    pack_command,
)
from .errors import NotPermitted, RedisUnavailable
from .switchboard import Route, Switchboard

log: Final = EventLog("tickerbus.subscriber")

IDLE_S: Final = 0.4  # a connection that is silent for so long is pinged, at the next turn
DEAD_S: Final = 1.4  # and given up when nothing at all came for this long
ASK_AGAIN_S: Final = 2.0  # how often a refused channel is asked for again: rights may come back
AFTER_FAILURE_S: Final = 1.0
FAULTS: Final = (*WIRE_FAULTS, RedisUnavailable)


class Listener:
    """Reads one connection until it is told to stop."""

    def __init__(self, config: RedisConfig, board: Switchboard) -> None:
        """Connect.

        Raises:
            RedisUnavailable: nobody answers there, or refuses us.
        """
        self._config, self._board = config, board
        self._wire: Wire | None = Wire(config)
        self._outbox: list[tuple[str, str]] = []
        self._unanswered: deque[tuple[str, str]] = deque()  # Redis answers in order
        self._poll, self._wire_fd = select.poll(), -1
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._heard_at = self._ask_again_at = 0.0
        self._moved = False

    # -- any thread

    def start(self) -> None:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="bus-reader", daemon=True)
        self._thread.start()

    def stop(self, timeout_s: float) -> str | None:
        """End the thread, after it has routed what it had received; its name if it would not."""
        self._stopping.set()
        self._wake()
        if self._thread is None:
            return None
        self._thread.join(max(0.0, timeout_s))
        return self._thread.name if self._thread.is_alive() else None

    def is_elsewhere(self) -> bool:
        """Whether the Sentinels, if there are any, name another primary than this one's."""
        return is_elsewhere(self._config, self._wire)

    def reconnect(self) -> None:
        """Resolve the address again: Redis says elsewhere that it has moved."""
        self._moved = True
        self._wake()

    def close(self) -> None:
        """Let go of the sockets. The thread has ended."""
        self._drop_wire()
        self._wake_reader.close()
        self._wake_writer.close()

    def ask(self, verb: str, routes: Iterable[Route]) -> None:
        """SUBSCRIBE or UNSUBSCRIBE. The board's lock is held, so requests go out in order."""
        for route in routes:
            if verb == "SUBSCRIBE":
                route.asked += 1
            patterned = "P" if route.channel.endswith("*") else ""
            self._outbox.append((patterned + verb, route.channel))
        self._wake()

    def _wake(self) -> None:
        # Full means that enough wake-ups wait already; closed, that nobody is left to be woken.
        with contextlib.suppress(BlockingIOError, OSError):
            self._wake_writer.send(b"!")

    # -- the reader thread

    def _run(self) -> None:
        delays = backoff_delays()
        while not self._stopping.is_set():
            try:
                wire = self._open()
                while not self._stopping.is_set():
                    self._step(wire)
                    delays = backoff_delays()
            except FAULTS as error:
                wait_s = next(delays)
                self._note_loss(error, wait_s)
                self._stopping.wait(wait_s)
            except Exception as error:  # whatever it is, everybody depends on this thread
                log.error("subscriber.reader_failed", traceback=plain_traceback())
                self._board.counters["reader_failures"] += 1
                self._note_loss(error, AFTER_FAILURE_S)
                self._stopping.wait(AFTER_FAILURE_S)
        self._drop_wire()
        self._forget_confirmations()

    def _open(self) -> Wire:
        self._moved = False
        if self._wire is None:
            self._wire = Wire(self._config)
            self._board.counters["reconnects"] += 1
            log.info("subscriber.reconnected", address=self._config.address)
        self._poll = select.poll()
        self._poll.register(self._wake_reader, select.POLLIN)
        self._poll.register(self._wire.sock, select.POLLIN)
        self._wire_fd = self._wire.sock.fileno()
        self._wire.sock.settimeout(0)  # the poll waits; a timeout would make recv poll once more
        self._heard_at = time.monotonic()
        self._unanswered.clear()
        with self._board.lock:
            self._outbox.clear()
            for route in self._board.routes.values():
                route.asked = 0
            self.ask("SUBSCRIBE", self._board.routes.values())
        return self._wire

    def _step(self, wire: Wire) -> None:
        """Wait for the socket or a request, and serve what came."""
        if self._moved:
            raise ConnectionResetError("left, to ask again where Redis is")
        if time.monotonic() >= self._ask_again_at:
            self._ask_for_refused()
        if self._outbox:
            with self._board.lock:
                requests, self._outbox = self._outbox, []
            self._send(wire, requests)
        if self._has_input(wire):
            self._receive(wire)
        elif (silent_s := time.monotonic() - self._heard_at) >= DEAD_S:
            raise TimeoutError(f"nothing came for {silent_s:.1f} s, no answer to a ping either")
        elif silent_s >= IDLE_S:
            self._send(wire, [("PING", "")])

    def _send(self, wire: Wire, requests: list[tuple[str, str]]) -> None:
        self._unanswered.extend(requests)
        wire.sock.settimeout(self._config.timeout_s)
        wire.send(b"".join(pack_command(*filter(None, request)) for request in requests))
        wire.sock.settimeout(0)

    def _ask_for_refused(self) -> None:
        self._ask_again_at = time.monotonic() + ASK_AGAIN_S
        with self._board.lock:
            refused = [r for r in self._board.routes.values() if r.refused and not r.asked]
            if refused:
                self.ask("SUBSCRIBE", refused)

    def _has_input(self, wire: Wire) -> bool:
        if isinstance(wire.sock, ssl.SSLSocket) and wire.sock.pending():
            return True
        now = time.monotonic()
        ready = self._poll.poll((next_turn_s(now + IDLE_S) - now) * 1_000)
        if len(ready) == 1 and ready[0][0] == self._wire_fd:
            return True
        if ready:
            self._wake_reader.recv(4096)
        return len(ready) > 1

    def _receive(self, wire: Wire) -> None:
        try:
            wire.feed()
        except (BlockingIOError, ssl.SSLWantReadError):
            return  # half a TLS record
        self._heard_at = time.monotonic()
        board = self._board
        with board.lock:
            try:
                for reply in board.deliver_all(wire.replies.gets):
                    self._take_other(reply)
            finally:  # what was judged is handed over, whatever came after it
                board.flush()

    def _take_other(self, reply: Any) -> None:
        if isinstance(reply, hiredis.ReplyError):
            self._refused(reply)
        elif reply[0] == b"pmessage":
            if (route := self._board.routes.get(reply[1])) is not None:
                self._board.deliver(route, reply[2], reply[3])
        else:
            verb, channel = self._unanswered.popleft()
            route = self._board.routes.get(channel.encode())
            if route is not None and verb in ("SUBSCRIBE", "PSUBSCRIBE"):
                self._confirm(route)

    def _confirm(self, route: Route) -> None:
        route.asked -= 1
        if route.asked > 0:
            return  # it was left and joined again: only the last answer counts
        route.confirmed, route.refused = True, None
        for feed in route.feeds:
            feed.resume()
        self._board.changed.notify_all()

    def _refused(self, error: hiredis.ReplyError) -> None:
        if not self._unanswered:
            raise RedisUnavailable(self._config.address, error)
        verb, channel = self._unanswered.popleft()
        route = self._board.routes.get(channel.encode())
        if route is None or not str(error).startswith("NOPERM"):
            raise RedisUnavailable(self._config.address, error)
        route.asked -= 1
        if route.refused is None:
            log.error("channel.refused", channel=channel, verb=verb, error=str(error))
        route.refused = NotPermitted(self._config.address, channel, error)
        self._board.changed.notify_all()

    def _note_loss(self, error: Exception, wait_s: float) -> None:
        if self._wire is not None:
            log.warning("subscriber.connection_lost", error=str(error), wait_s=round(wait_s, 3))
            self._board.counters["connections_lost"] += 1
        self._drop_wire()
        self._forget_confirmations()

    def _forget_confirmations(self) -> None:
        with self._board.lock:
            for route in self._board.routes.values():
                route.confirmed = False

    def _drop_wire(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()
