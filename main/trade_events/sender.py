"""The sender: one thread, one connection, one bounded queue between any number of publishers and
Redis. What waits is sent in batches, in order; while Redis is away it stays in the queue, which is
the spool. A batch whose reply was lost is sent again: its event ids make that safe.
"""

from __future__ import annotations

import itertools
import threading
from collections import Counter, deque
from collections.abc import Sequence
from typing import Any, Final

import hiredis
import structlog

from ..utils.redis.config import CONNECTION_FAULTS, RedisConfig, Wire, backoff_delays, pack_command
from ..utils.redis.errors import RedisUnavailable
from ..utils.tracebacks import plain_traceback
from .errors import PublishRefused
from .library import PUBLISH, is_missing, library_source
from .names import TradeNames
from .receipts import Receipt, read_outcome
from .wire import pack_array

log: Final = structlog.get_logger("tickerbus.trade_events")

BATCH_EVENTS: Final = 64  # one atomic step: Redis serves nobody else meanwhile, some 0.6 ms
WINDOW: Final = 8  # batches on their way at once
FAULTS: Final = (*CONNECTION_FAULTS, RedisUnavailable, hiredis.HiredisError)
# Answers of a server that will take it later, or of one that is not the primary any more.
LATER: Final = (
    "LOADING",
    "BUSY",
    "READONLY",
    "MASTERDOWN",
    "NOREPLICAS",
    "MISCONF",
    "OOM",
    "TRYAGAIN",
    "CLUSTERDOWN",
    "UNBLOCKED",
)


class Ticket:
    """What a publisher waits for: the outcomes of its events."""

    __slots__ = ("_done", "_left", "outcomes")

    def __init__(self, count: int) -> None:
        self.outcomes: list[Receipt | PublishRefused | None] = [None] * count
        self._left = count
        self._done = threading.Lock()
        self._done.acquire()

    def settle(self, place: int, outcome: Receipt | PublishRefused) -> None:
        """By the sender's thread only."""
        self.outcomes[place] = outcome
        self._left -= 1
        if not self._left:
            self._done.release()

    def wait(self, timeout_s: float) -> bool:
        """Whether all are settled. Once only."""
        return self._done.acquire(timeout=max(0.0, timeout_s))


class Outgoing:
    """One event in the queue, packed; `place` in its `ticket`."""

    __slots__ = ("event_id", "packed", "place", "ticket")

    def __init__(self, event_id: str, packed: bytes, ticket: Ticket | None, place: int) -> None:
        self.event_id, self.packed = event_id, packed
        self.ticket, self.place = ticket, place


class Sender:
    """`put` from any thread; the thread `trade-sender` does the rest."""

    def __init__(
        self, config: RedisConfig, names: TradeNames, counters: Counter[str], capacity: int
    ) -> None:
        self.capacity = capacity
        self.trouble: str | None = None  # why Redis is not taking events, while it is not
        self.behind = False  # somebody waited too long for Redis: the next need not wait as well
        self._config, self._names, self._counters = config, names, counters
        self._queue: deque[Outgoing] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._in_flight = 0
        self._stopping = self._giving_up = False
        self._dropping = False
        self._wire: Wire | None = None
        self._wake = threading.Event()
        keys = (names.log, names.anomalies, names.config, names.counters, names.symbols)
        self._head = ("FCALL", PUBLISH, len(keys), *keys, names.prefix)
        self._thread = threading.Thread(target=self._run, name="trade-sender", daemon=True)

    def start(self) -> None:
        self._thread.start()

    # -- any thread

    def put(self, items: Sequence[Outgoing]) -> int:
        """Queue them, in order; returns how many of them found room."""
        with self._changed:
            room = self.capacity - len(self._queue)
            taken = items if len(items) <= room else items[: max(0, room)]
            self._queue.extend(taken)
            if len(taken) < len(items):
                self._note_dropped(len(items) - len(taken))
            self._changed.notify_all()
        return len(taken)

    @property
    def spooled(self) -> int:
        """Events that Redis has not confirmed."""
        with self._changed:
            return len(self._queue)

    def flush(self, timeout_s: float) -> bool:
        """Whether all that was put before is confirmed, or refused, within the time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._queue, timeout_s)

    def stop(self, timeout_s: float) -> int:
        """Send what waits, within the time, and end; returns how many events were left."""
        self.flush(timeout_s)
        with self._changed:
            left, self._stopping = len(self._queue), True
            self._giving_up = left > 0
            self._changed.notify_all()
        self._wake.set()
        if (wire := self._wire) is not None and left:
            wire.close()  # it wakes a thread that waits for a reply that does not come
        if self._thread.is_alive():
            self._thread.join(self._config.timeout_s + self._config.connect_timeout_s + 1.0)
        return left

    # -- the sender's thread

    def _run(self) -> None:
        delays = backoff_delays()
        while True:
            batch = self._next()
            if batch is None:
                break
            try:
                self._send(batch)
                delays = backoff_delays()
                self._note_recovery()
            except FAULTS as error:
                self._drop_wire()
                wait_s = next(delays)
                self._note_trouble(error, wait_s)
                self._wake.wait(wait_s)
            except Exception:  # whatever it is, the events stay where they are
                log.error("trade_events.sender_failed", traceback=plain_traceback())
                self._counters["sender_failures"] += 1
                self._drop_wire()
                self._wake.wait(next(delays))
        self._drop_wire()

    def _next(self) -> list[Outgoing] | None:
        """What to send now: it stays in the queue until it is confirmed. None: end."""
        with self._changed:
            while not self._queue:
                if self._stopping:
                    return None
                self._changed.wait()
            if self._giving_up:
                return None
            count = min(len(self._queue), BATCH_EVENTS * WINDOW)
            return list(itertools.islice(self._queue, count))

    def _send(self, items: list[Outgoing]) -> None:
        """Send as many batches as there are, and read a reply for each.

        Raises:
            one of FAULTS: nothing of the rest is known.
        """
        wire = self._wire = self._wire or Wire(self._config)
        batches = [
            items[start : start + BATCH_EVENTS] for start in range(0, len(items), BATCH_EVENTS)
        ]
        wire.send(b"".join(map(self._pack, batches)))
        again: list[Outgoing] = []
        for batch in batches:
            reply = wire.receive()
            if again:  # the order of what follows one that has to be sent again must stay
                continue
            if isinstance(reply, hiredis.ReplyError):
                if is_missing(reply):
                    again = batch
                    continue
                self._refuse(batch, reply)
            else:
                self._settle(batch, reply)
        if again:
            self._load(wire)

    def _pack(self, batch: list[Outgoing]) -> bytes:
        return pack_command(*self._head, pack_array([item.packed for item in batch]))

    def _load(self, wire: Wire) -> None:
        """Redis came back empty: whoever publishes first loads the functions again."""
        reply = wire.call("FUNCTION", "LOAD", "REPLACE", library_source())
        if isinstance(reply, hiredis.ReplyError):
            raise RedisUnavailable(self._config.address, f"cannot load the functions: {reply}")
        log.info("trade_events.functions_loaded", address=self._config.address)

    def _settle(self, batch: list[Outgoing], reply: Any) -> None:
        if reply and reply[0] == b"REFUSED":
            self._refuse(batch, reply[1].decode(errors="replace"))
            return
        for item, raw in zip(batch, reply, strict=True):
            outcome = read_outcome(item.event_id, raw)
            status = outcome.status if isinstance(outcome, Receipt) else "refused"
            self._counters[status] += 1
            if status == "refused":
                log.error("trade_events.refused", reason=str(outcome))
            if item.ticket is not None:
                item.ticket.settle(item.place, outcome)
        self._forget(len(batch))

    def _refuse(self, batch: list[Outgoing], reason: object) -> None:
        """The whole batch was not written.

        Raises:
            RedisUnavailable: it may be taken later.
        """
        words = str(reason)
        if words.startswith(LATER):
            raise RedisUnavailable(self._config.address, words)
        log.error("trade_events.refused", events=len(batch), reason=words)
        for item in batch:
            self._counters["refused"] += 1
            if item.ticket is not None:
                item.ticket.settle(item.place, PublishRefused(item.event_id, words))
        self._forget(len(batch))

    def _forget(self, count: int) -> None:
        with self._changed:
            for _ in range(count):
                self._queue.popleft()
            if not self._queue:
                self._changed.notify_all()

    def _drop_wire(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    # -- what is told

    def _note_trouble(self, error: BaseException, wait_s: float) -> None:
        self.behind = True
        if self.trouble is None:
            log.warning(
                "trade_events.redis_unavailable",
                error=str(error),
                wait_s=wait_s,
                spooled=self.spooled,
            )
        self.trouble = str(error)
        self._counters["send_failures"] += 1

    def _note_recovery(self) -> None:
        self.behind = False
        self._dropping = False
        if self.trouble is not None:
            self.trouble = None
            log.info("trade_events.redis_back", spooled=self.spooled)

    def _note_dropped(self, count: int) -> None:
        self._counters["dropped"] += count
        if not self._dropping:
            self._dropping = True
            log.error("trade_events.spool_full", capacity=self.capacity, trouble=self.trouble)
