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
from collections.abc import Iterable
from typing import Any, Final

import hiredis
import structlog

from .config import CONNECTION_FAULTS, RedisConfig, Wire, backoff_delays, pack_command
from .errors import RedisUnavailable
from .switchboard import Route, Switchboard

log: Final = structlog.get_logger("tickerbus.subscriber")

IDLE_S: Final = 0.4  # a silent connection is pinged this often
DEAD_S: Final = 1.5  # and given up when nothing at all came for this long
FAULTS: Final = (*CONNECTION_FAULTS, RedisUnavailable, hiredis.HiredisError)


class Listener:
    """Reads one connection until it is told to stop."""

    def __init__(self, config: RedisConfig, board: Switchboard) -> None:
        """Connect.

        Raises:
            RedisUnavailable: nobody answers there, or refuses us.
        """
        self._config, self._board = config, board
        self._wire: Wire | None = Wire(config)
        self._outbox: list[bytes] = []
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._heard_at = 0.0

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
            self._outbox.append(pack_command(patterned + verb, route.channel))
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
        self._drop_wire()

    def _open(self) -> Wire:
        if self._wire is None:
            self._wire = Wire(self._config)
            self._board.counters["reconnects"] += 1
            log.info("subscriber.reconnected", address=self._config.address)
        self._wire.sock.settimeout(self._config.timeout_s)
        self._heard_at = time.monotonic()
        with self._board.lock:
            self._outbox.clear()
            for route in self._board.routes.values():
                route.asked = 0
            self.ask("SUBSCRIBE", self._board.routes.values())
        return self._wire

    def _step(self, wire: Wire) -> None:
        """Wait for the socket or a request, and serve what came."""
        if self._outbox:
            with self._board.lock:
                requests, self._outbox = b"".join(self._outbox), []
            wire.send(requests)
        if self._has_input(wire):
            wire.feed()
            self._heard_at = time.monotonic()
            self._route(wire.replies)
        elif (silent_s := time.monotonic() - self._heard_at) >= DEAD_S:
            raise TimeoutError(f"nothing came for {silent_s:.1f} s, no answer to a ping either")
        elif silent_s >= IDLE_S:
            wire.send(pack_command("PING"))

    def _has_input(self, wire: Wire) -> bool:
        if isinstance(wire.sock, ssl.SSLSocket) and wire.sock.pending():
            return True
        ready, _, _ = select.select([wire.sock, self._wake_reader], [], [], IDLE_S)
        if self._wake_reader in ready:
            self._wake_reader.recv(4096)
        return wire.sock in ready

    def _route(self, replies: hiredis.Reader) -> None:
        board, gets = self._board, replies.gets
        with board.lock:
            while (reply := gets()) is not False:
                if len(reply) == 3 and reply[0] == b"message":
                    board.deliver(reply[1], reply[1], reply[2])
                else:
                    self._route_other(reply)
            board.flush()

    def _route_other(self, reply: Any) -> None:
        if isinstance(reply, hiredis.ReplyError):
            raise RedisUnavailable(self._config.address, reply)
        if reply[0] == b"pmessage":
            self._board.deliver(reply[1], reply[2], reply[3])
        elif reply[0] in (b"subscribe", b"psubscribe"):
            route = self._board.routes.get(reply[1])
            if route is not None:
                route.asked -= 1
                if route.asked <= 0:
                    route.confirmed = True
                    self._board.changed.notify_all()

    def _note_loss(self, error: Exception, wait_s: float) -> None:
        if self._wire is not None:
            log.warning("subscriber.connection_lost", error=str(error), wait_s=round(wait_s, 3))
            self._board.counters["connections_lost"] += 1
        self._drop_wire()
        with self._board.lock:
            for route in self._board.routes.values():
                route.confirmed = False

    def _drop_wire(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()
