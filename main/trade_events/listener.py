"""Listening: handlers get the events of their channels, in the thread that called `listen`.

Pub/sub forgets what is said while nobody hears. Every event carries its place in the log, so after
a lost connection, and between a `subscribe` and Redis' confirmation of it, what was missed is read
from the log: each event once, in order. What the log no longer has is counted and told (`gaps`).
"""

from __future__ import annotations

import contextlib
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import hiredis
import structlog

from ..utils.redis.config import WIRE_FAULTS, RedisConfig, Wire, backoff_delays, pack_command
from ..utils.redis.errors import NotPermitted, RedisUnavailable
from .counts import Counts
from .events import TradeEvent
from .failures import FailureLog, name_of
from .names import TradeNames
from .queries import Queries
from .subscriptions import BEFORE_ALL, LogId, Subscription, log_id_text, parse_log_id
from .wire import decode_published

log: Final = structlog.get_logger("tickerbus.trade_events")

IDLE_S: Final = 0.5  # a silent connection is pinged this often
DEAD_S: Final = 2.0  # and given up when a ping was not answered for this long
FAULTS: Final = (*WIRE_FAULTS, RedisUnavailable)


class Listener:
    """`add` and `remove` from any thread, also from a handler; `run` from one."""

    def __init__(
        self,
        config: RedisConfig,
        names: TradeNames,
        queries: Queries,
        failures: FailureLog,
        counters: Counts,
    ) -> None:
        self._config, self._names, self._queries = config, names, queries
        self._failures, self._counters = failures, counters
        self._changed = threading.Condition(threading.Lock())
        self._subscriptions: tuple[Subscription, ...] = ()
        self._asked: set[str] = set()  # what Redis was asked for on this connection
        self._confirmed: set[str] = set()
        self._stopped = self._running = False
        self._position: LogId = BEFORE_ALL  # up to here everybody who is served was served
        self._thread_id: int | None = None  # of the listening thread
        self._at: LogId | None = None  # of the event that a handler has in hand
        self._pinged_at: float | None = None
        self._wake_reader, self._wake_writer = socket.socketpair()
        self._wake_reader.setblocking(False)
        self._wake_writer.setblocking(False)

    # -- any thread

    def add(self, subscription: Subscription) -> None:
        with self._changed:
            self._subscriptions += (subscription,)
        self._wake()

    def remove(self, matches: Callable[[Subscription], bool]) -> int:
        """Remove those that match; returns how many."""
        with self._changed:
            kept = tuple(each for each in self._subscriptions if not matches(each))
            removed = len(self._subscriptions) - len(kept)
            self._subscriptions = kept
        self._wake()
        return removed

    def wait_until_subscribed(self, timeout_s: float) -> bool:
        """Whether every subscription is served within the time."""
        with self._changed:
            return self._changed.wait_for(self._serves_all, timeout_s)

    def stop(self) -> None:
        """End `run`, now or as soon as it is called."""
        self._stopped = True
        self._wake()

    def close(self) -> None:
        self.stop()
        self._wake_writer.close()
        self._wake_reader.close()

    @property
    def at(self) -> LogId | None:
        """The place of the event in hand, when a handler asks; None for everybody else."""
        return self._at if threading.get_ident() == self._thread_id else None

    def _serves_all(self) -> bool:
        return self._running and all(
            each.served and self._confirmed.issuperset(each.channels(self._names))
            for each in self._subscriptions
        )

    def _wake(self) -> None:
        # Full means that enough wake-ups wait already; closed, that nobody is left to be woken.
        with contextlib.suppress(BlockingIOError, OSError):
            self._wake_writer.send(b"!")

    # -- the listening thread

    def run(self) -> None:
        """Listen until `stop`; a lost connection is renewed.

        Raises:
            NotPermitted: this user may not subscribe to a channel.
        """
        delays = backoff_delays()
        self._running, self._thread_id = True, threading.get_ident()
        try:
            while not self._stopped:
                try:
                    self._serve_one_connection()
                except NotPermitted:
                    raise
                except FAULTS as error:
                    wait_s = next(delays)
                    self._counters.add("listener_reconnects")
                    log.warning("trade_events.listener_lost", error=str(error), wait_s=wait_s)
                    self._pause(wait_s)
                else:
                    delays = backoff_delays()
        finally:
            self._running, self._thread_id = False, None

    def _pause(self, wait_s: float) -> None:
        deadline = time.monotonic() + wait_s
        while not self._stopped and (left := deadline - time.monotonic()) > 0:
            self._poll(left)

    def _serve_one_connection(self) -> None:
        """
        Raises:
            one of FAULTS: it is lost.
        """
        wire = Wire(self._config)
        self._asked, self._confirmed, self._pinged_at = set(), set(), None
        is_caught_up = False
        try:
            while not self._stopped:
                self._ask(wire)
                if self._asked <= self._confirmed:
                    if not is_caught_up:
                        self._catch_up()
                        is_caught_up = True
                    self._serve_new()
                for reply in self._receive(wire):
                    self._take(reply, is_caught_up)
        finally:
            wire.close()

    def _ask(self, wire: Wire) -> None:
        """SUBSCRIBE what is wanted and was not asked for; UNSUBSCRIBE what nobody wants."""
        wanted = {name for each in self._subscriptions for name in each.channels(self._names)}
        requests = [("SUBSCRIBE", channel) for channel in sorted(wanted - self._asked)]
        requests += [("UNSUBSCRIBE", channel) for channel in sorted(self._asked - wanted)]
        if not requests:
            return
        wire.send(b"".join(pack_command(_verb(*each), each[1]) for each in requests))
        self._asked = wanted
        self._confirmed &= wanted

    def _receive(self, wire: Wire) -> list[Any]:
        """What came, after a wait of at most IDLE_S."""
        if not self._has_input(wire):
            self._ping_or_give_up(wire)
            return []
        wire.feed()
        self._pinged_at = None
        replies = []
        while (reply := wire.replies.gets()) is not False:
            replies.append(reply)
        return replies

    def _has_input(self, wire: Wire) -> bool:
        if isinstance(wire.sock, ssl.SSLSocket) and wire.sock.pending():
            return True
        return wire.sock.fileno() in self._poll(IDLE_S, wire.sock)

    def _poll(self, timeout_s: float, *sockets: socket.socket) -> set[int]:
        """Wait for one of these, or for a wake-up; the descriptors that are ready."""
        poll = select.poll()  # not select: it knows no descriptor above 1,023
        for each in (self._wake_reader, *sockets):
            poll.register(each, select.POLLIN)
        ready = {descriptor for descriptor, _ in poll.poll(timeout_s * 1_000)}
        if self._wake_reader.fileno() in ready:
            with contextlib.suppress(BlockingIOError, OSError):
                self._wake_reader.recv(4096)
        return ready

    def _ping_or_give_up(self, wire: Wire) -> None:
        if self._pinged_at is None:
            wire.send(pack_command("PING"))
            self._pinged_at = time.monotonic()
        elif time.monotonic() - self._pinged_at > DEAD_S:
            raise TimeoutError(f"no answer to a ping for {DEAD_S:.0f} s")

    def _take(self, reply: Any, is_caught_up: bool) -> None:
        if isinstance(reply, hiredis.ReplyError):
            if str(reply).startswith("NOPERM"):
                first, *others = sorted(self._asked - self._confirmed)
                more = f" and {len(others)} more channels" if others else ""
                raise NotPermitted(self._config.address, first + more, reply)
            raise RedisUnavailable(self._config.address, reply)
        kind = reply[0] if isinstance(reply, list) else reply
        if kind in (b"message", b"pmessage"):
            # What comes before the log was read stands there too: it is not needed twice.
            if is_caught_up:
                self._take_payload(reply[-1])
        elif kind in (b"subscribe", b"psubscribe"):
            self._confirmed.add(reply[1].decode())

    def _take_payload(self, payload: bytes) -> None:
        try:
            event = decode_published(payload)
            place = parse_log_id(event.log_id or "")
        except ValueError as error:
            self._counters.add("undecodable")
            log.warning("trade_events.undecodable", error=str(error))
            return
        if place > self._position:  # it comes once for each channel and pattern that it is on
            self._position = place
            self._dispatch(event, place)

    def _dispatch(self, event: TradeEvent, place: LogId) -> None:
        for each in self._subscriptions:
            if each.served and place > each.since and each.wants(event):
                self._hand(each, event, place)

    def _hand(self, subscription: Subscription, event: TradeEvent, place: LogId) -> None:
        self._at = place
        try:
            subscription.handler(event)
        except Exception as error:  # the user's code: the other handlers go on
            name = name_of(subscription.handler)
            log.error("trade_events.handler_failed", handler=name, error=repr(error))
            self._failures.keep_handlers(event, name, error)
        self._at = None
        self._counters.add("delivered")

    # -- the log

    def _catch_up(self) -> None:
        """Once per connection: what came while there was none."""
        self._failures.flush()
        first, last = self._queries.log_ends()
        if not any(each.served for each in self._subscriptions):
            self._position = last
            return
        if last < self._position:  # another log: Redis came back empty
            self._note_gap("the log was emptied")
            self._position = BEFORE_ALL
        elif BEFORE_ALL < self._position < first:
            self._note_gap("the log was trimmed beyond what was heard last")
        for event in self._queries.after(log_id_text(self._position)):
            self._position = parse_log_id(event.log_id or "")
            self._dispatch(event, self._position)
            if self._stopped:
                return

    def _serve_new(self) -> None:
        """What was published between a `subscribe` and its confirmation."""
        for each in self._subscriptions:
            if each.served:
                continue
            for event in self._queries.after(log_id_text(each.since)):
                each.since = parse_log_id(event.log_id or "")
                if each.wants(event):
                    self._hand(each, event, each.since)
                if self._stopped:
                    return
            each.served = True
        with self._changed:
            self._changed.notify_all()

    def _note_gap(self, cause: str) -> None:
        self._counters.add("gaps")
        log.warning("trade_events.gap", cause=cause, after=log_id_text(self._position))


def _verb(verb: str, channel: str) -> str:
    return f"P{verb}" if "*" in channel else verb
