"""The sender: one thread, one connection, one bounded queue between any number of publishers and
Redis. What waits is sent in batches, in order; while Redis is away it stays in the queue, which is
the spool. A batch whose reply was lost is sent again: its event ids make that safe.
"""

from __future__ import annotations

import itertools
import secrets
import threading
from collections import deque
from collections.abc import Sequence
from typing import Any, Final

import hiredis
import structlog

from ..utils.redis.config import CONNECTION_FAULTS, RedisConfig, Wire, backoff_delays, pack_command
from ..utils.redis.errors import RedisUnavailable
from ..utils.tracebacks import plain_traceback
from .counts import Counts
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


def publish_head(names: TradeNames, sender: str) -> tuple[str | int, ...]:
    """The call of the publishing function, up to the events."""
    shared = (names.log, names.anomalies, names.config, names.counters, names.symbols)
    keys = (*shared, names.sender(sender))
    return ("FCALL", PUBLISH, len(keys), *keys, names.prefix)


class Ticket:
    """What a publisher waits for: the outcomes of its events."""

    __slots__ = ("_answered", "_left", "outcomes")

    def __init__(self, count: int) -> None:
        self.outcomes: list[Receipt | PublishRefused | None] = [None] * count
        self._left = count
        self._answered = threading.Event()

    def settle(self, place: int, outcome: Receipt | PublishRefused) -> None:
        """By the sender's thread only."""
        self.outcomes[place] = outcome
        self._left -= 1
        if not self._left:
            self._answered.set()

    def let_go(self) -> None:
        """Nobody need wait any longer: Redis is away."""
        self._answered.set()

    def wait(self, timeout_s: float) -> None:
        """Until all is settled, or Redis is away, or the time is over."""
        self._answered.wait(timeout_s)

    @property
    def is_settled(self) -> bool:
        return not self._left


class Outgoing:
    """One event in the queue, packed; `place` in its `ticket`."""

    __slots__ = ("event_id", "packed", "place", "ticket")

    def __init__(self, event_id: str, packed: bytes, ticket: Ticket | None, place: int) -> None:
        self.event_id, self.packed = event_id, packed
        self.ticket, self.place = ticket, place


class Sender:
    """`put` from any thread; the thread `trade-sender` does the rest."""

    def __init__(
        self, config: RedisConfig, names: TradeNames, counters: Counts, capacity: int
    ) -> None:
        self.capacity = capacity
        self.trouble: str | None = None  # why Redis is not taking events, while it is not
        self.behind = False  # somebody waited too long for Redis: the next need not wait as well
        self._config, self._names, self._counters = config, names, counters
        self._queue: deque[Outgoing] = deque()
        self._changed = threading.Condition(threading.Lock())
        self._stopping = self._giving_up = False
        self._dropping = False
        self._wire: Wire | None = None
        self._wake = threading.Event()
        self._head = publish_head(names, secrets.token_hex(8))
        self._number = 0  # of the last batch that was sent
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
        while self._wait_for_work():
            try:
                self._send_all()
                delays = backoff_delays()
            except FAULTS as error:
                self._drop_wire()
                wait_s = next(delays)
                self._note_trouble(error, wait_s)
                self._wake.wait(wait_s)
            except Exception:  # whatever it is, the events stay where they are
                log.error("trade_events.sender_failed", traceback=plain_traceback())
                self._counters.add("sender_failures")
                self._drop_wire()
                self._wake.wait(next(delays))
        self._drop_wire()

    def _wait_for_work(self) -> bool:
        """False: end."""
        with self._changed:
            self._changed.wait_for(lambda: self._queue or self._stopping)
            return bool(self._queue) and not self._giving_up

    def _send_all(self) -> None:
        """Until the queue is empty: some batches on their way, while the oldest's reply is awaited.

        Raises:
            one of FAULTS: of what is still in the queue nothing is known.
        """
        is_new = self._wire is None
        wire = self._wire = self._wire or Wire(self._config)
        on_their_way: deque[list[Outgoing]] = deque()
        while True:
            # The first on a connection goes alone: if the functions are missing, nothing that
            # follows it may get ahead of it.
            if len(on_their_way) <= WINDOW // 2:  # several at once: each write may cost a wait
                self._send_more(wire, on_their_way, 1 if is_new else WINDOW)
            if not on_their_way:
                return
            reply = wire.receive()
            batch = on_their_way.popleft()
            lacks_functions = is_missing(reply)
            if lacks_functions or reply == [b"BEHIND"]:
                for _ in on_their_way:
                    wire.receive()  # none of them was taken either
                on_their_way.clear()
                if lacks_functions:
                    self._load(wire)
            else:
                self._settle(batch, reply)
                is_new = False

    def _send_more(self, wire: Wire, on_their_way: deque[list[Outgoing]], window: int) -> None:
        packed = []
        while len(on_their_way) < window:
            batch = self._take(sum(map(len, on_their_way)))
            if not batch:
                break
            packed.append(self._pack(batch, is_first=not on_their_way))
            on_their_way.append(batch)
        if packed:
            wire.send(b"".join(packed))

    def _take(self, start: int) -> list[Outgoing]:
        """The next batch after `start` events. They stay in the queue until they are confirmed."""
        with self._changed:
            return list(itertools.islice(self._queue, start, start + BATCH_EVENTS))

    def _pack(self, batch: list[Outgoing], *, is_first: bool) -> bytes:
        """With its number: one that follows a batch that is not answered yet must not be taken
        where that one was not."""
        self._number += 1
        events = pack_array([item.packed for item in batch])
        return pack_command(*self._head, events, self._number, int(is_first))

    def _load(self, wire: Wire) -> None:
        """Redis came back empty: whoever publishes first loads the functions again."""
        reply = wire.call("FUNCTION", "LOAD", "REPLACE", library_source())
        if isinstance(reply, hiredis.ReplyError):
            raise RedisUnavailable(self._config.address, f"cannot load the functions: {reply}")
        log.info("trade_events.functions_loaded", address=self._config.address)

    def _settle(self, batch: list[Outgoing], reply: Any) -> None:
        """
        Raises:
            RedisUnavailable: the batch may be taken later.
        """
        if isinstance(reply, hiredis.ReplyError):
            self._refuse(batch, reply)
        elif reply and reply[0] == b"REFUSED":
            self._refuse(batch, reply[1].decode(errors="replace"))
        else:
            for item, raw in zip(batch, reply, strict=True):
                self._tell(item, read_outcome(item.event_id, raw))
        self._forget(len(batch))
        self._note_recovery()

    def _tell(self, item: Outgoing, outcome: Receipt | PublishRefused) -> None:
        if isinstance(outcome, Receipt):
            self._counters.add(outcome.status)
        else:
            self._counters.add("refused")
            log.error("trade_events.refused", reason=str(outcome))
        if item.ticket is not None:
            item.ticket.settle(item.place, outcome)

    def _refuse(self, batch: list[Outgoing], reason: object) -> None:
        """The whole batch was not written.

        Raises:
            RedisUnavailable: it may be taken later.
        """
        words = str(reason)
        if words.startswith(LATER):
            raise RedisUnavailable(self._config.address, words)
        for item in batch:
            self._tell(item, PublishRefused(item.event_id, words))

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
        with self._changed:
            waiting = {item.ticket for item in self._queue if item.ticket is not None}
        for ticket in waiting:
            ticket.let_go()
        if self.trouble is None:
            log.warning(
                "trade_events.redis_unavailable",
                error=str(error),
                wait_s=wait_s,
                spooled=self.spooled,
            )
        self.trouble = str(error)
        self._counters.add("send_failures")

    def _note_recovery(self) -> None:
        self.behind = False
        self._dropping = False
        if self.trouble is not None:
            self.trouble = None
            log.info("trade_events.redis_back", spooled=self.spooled)

    def _note_dropped(self, count: int) -> None:
        self._counters.add("dropped", count)
        if not self._dropping:
            self._dropping = True
            log.error("trade_events.spool_full", capacity=self.capacity, trouble=self.trouble)
