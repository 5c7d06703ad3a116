"""The sender: one connection and one bounded queue between any number of publishers and Redis. What
waits is sent in batches, in order; while Redis is away it stays in the queue, which is the spool. A
batch whose reply was lost is sent again: its event ids make that safe.

Whoever has the *turn* speaks with Redis, nobody else. It is the thread `trade-sender`'s, except
that a publisher who waits for its own event takes it when the connection stands idle: to wake one
thread, which then wakes the first, takes longer than Redis does. Only the thread connects, loads
the functions, and tries again.
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

from ..utils.redis.config import WIRE_FAULTS, RedisConfig, Wire, backoff_delays, pack_command
from ..utils.redis.errors import RedisUnavailable
from ..utils.tracebacks import plain_traceback
from .counts import Counts
from .errors import PublishRefused
from .health import Health
from .library import PUBLISH, is_missing, library_source
from .names import TradeNames
from .receipts import Receipt, read_outcome
from .tickets import Outgoing
from .wire import pack_events

log: Final = structlog.get_logger("tickerbus.trade_events")

BATCH_EVENTS: Final = 64  # one atomic step: Redis serves nobody else meanwhile, some 0.6 ms
WINDOW: Final = 8  # batches on their way at once
FAULTS: Final = (*WIRE_FAULTS, RedisUnavailable)
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


def publish_head(names: TradeNames, sender: str | None = None) -> tuple[str | int, ...]:
    """The call of the publishing function, up to the events. `sender`: who sends several batches
    before the first is answered."""
    keys = [names.log, names.anomalies, names.config, names.counters, names.symbols]
    if sender is not None:
        keys.append(names.sender(sender))
    return ("FCALL", PUBLISH, len(keys), *keys, names.prefix)


class Sender:
    """`put` and `send` from any thread; the thread `trade-sender` does the rest."""

    def __init__(
        self, config: RedisConfig, names: TradeNames, counters: Counts, capacity: int
    ) -> None:
        self.capacity = capacity
        self.health = Health(counters, capacity)
        self._config, self._counters = config, counters
        self._queue: deque[Outgoing] = deque()
        self._lock = threading.Lock()
        # Apart, so that who empties the queue does not wake the thread.
        self._work, self._emptied = threading.Condition(self._lock), threading.Condition(self._lock)
        self._is_taken = False  # the turn
        self._stopping = self._giving_up = False
        self._wire: Wire | None = None
        self._wake = threading.Event()
        self._head = publish_head(names, secrets.token_hex(8))
        self._head_of_one = publish_head(names)
        self._number = 0  # of the last batch that was sent
        self._thread = threading.Thread(target=self._run, name="trade-sender", daemon=True)

    def start(self) -> None:
        self._thread.start()

    # -- any thread

    def put(self, items: Sequence[Outgoing]) -> int:
        """Queue them, in order; returns how many of them found room."""
        with self._lock:
            taken = self._enqueue(items)
            self._work.notify()
        return taken

    def send(self, item: Outgoing, within_s: float) -> bool:
        """Queue one, and send it by this thread if it may. False: there was no room.

        Whatever goes wrong, also Ctrl-C in the middle: what is not confirmed is the thread's, on a
        new connection.
        """
        has_turn = is_done = False
        try:
            with self._lock:
                has_room = self._enqueue((item,)) == 1
                if has_room and self._may_send(within_s):
                    has_turn = self._is_taken = True
                else:
                    self._work.notify()
            if has_turn:
                is_done = self._exchange()
        except FAULTS as error:
            self._note_trouble(error)
        finally:
            if has_turn:
                if not is_done:
                    self._drop_wire()
                self._give_turn()
        return has_room

    def _may_send(self, within_s: float) -> bool:
        """Whether nobody has the turn, and a connection stands whose deadline is soon enough."""
        is_idle = not self._is_taken and not self._stopping and self._wire is not None
        return is_idle and self.health.trouble is None and within_s >= self._config.timeout_s

    def _enqueue(self, items: Sequence[Outgoing]) -> int:
        room = self.capacity - len(self._queue)
        taken = items if len(items) <= room else items[: max(0, room)]
        self._queue.extend(taken)
        if len(taken) < len(items):
            self.health.note_dropped(len(items) - len(taken))
        return len(taken)

    @property
    def spooled(self) -> int:
        """Events that Redis has not confirmed."""
        with self._lock:
            return len(self._queue)

    def flush(self, timeout_s: float) -> bool:
        """Whether all that was put before is confirmed, or refused, within the time."""
        with self._lock:
            return self._emptied.wait_for(lambda: not self._queue, timeout_s)

    def stop(self, timeout_s: float) -> int:
        """Send what waits, within the time, and end; returns how many events were left."""
        self.flush(timeout_s)
        with self._lock:
            left, self._stopping = len(self._queue), True
            self._giving_up = left > 0
            self._work.notify()
        self._wake.set()
        if (wire := self._wire) is not None and left:
            wire.close()  # it wakes a thread that waits for a reply that does not come
        if self._thread.is_alive():
            self._thread.join(self._config.timeout_s + self._config.connect_timeout_s + 1.0)
        return left

    # -- with the turn: a publisher

    def _exchange(self) -> bool:
        """One batch and its reply. False: it is not settled.

        Raises:
            one of FAULTS: of what is still in the queue nothing is known.
        """
        assert self._wire is not None
        batch = self._take(0)
        self._wire.send(pack_command(*self._head_of_one, _packed(batch)))
        reply = self._wire.receive()
        if is_missing(reply):
            return False
        self._settle(batch, reply)
        return True

    def _give_turn(self) -> None:
        with self._lock:
            self._is_taken = False
            if self._queue or self._stopping:
                self._work.notify()

    # -- with the turn: the thread

    def _run(self) -> None:
        delays = backoff_delays()
        while self._take_turn():
            try:
                self._send_all()
                delays = backoff_delays()
            except FAULTS as error:
                self._drop_wire()
                self._note_trouble(error)
                self._wake.wait(next(delays))
            except Exception:  # whatever it is, the events stay where they are
                log.error("trade_events.sender_failed", traceback=plain_traceback())
                self._counters.add("sender_failures")
                self._drop_wire()
                self._wake.wait(next(delays))
            self._give_turn()
        self._drop_wire()

    def _take_turn(self) -> bool:
        """When there is work and nobody else has the turn. False: end."""
        with self._lock:
            self._work.wait_for(lambda: not self._is_taken and (self._queue or self._stopping))
            self._is_taken = True
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
        with self._lock:
            return list(itertools.islice(self._queue, start, start + BATCH_EVENTS))

    def _pack(self, batch: list[Outgoing], *, is_first: bool) -> bytes:
        """With its number: one that follows a batch that is not answered yet must not be taken
        where that one was not."""
        self._number += 1
        return pack_command(*self._head, _packed(batch), self._number, int(is_first))

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
        self.health.note_recovery(self.spooled)

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
        with self._lock:
            for _ in range(count):
                self._queue.popleft()
            if not self._queue:
                self._emptied.notify_all()

    def _drop_wire(self) -> None:
        wire, self._wire = self._wire, None
        if wire is not None:
            wire.close()

    def _note_trouble(self, error: BaseException) -> None:
        self.health.note_trouble(error, self.spooled)
        with self._lock:
            waiting = {item.ticket for item in self._queue if item.ticket is not None}
        for ticket in waiting:
            ticket.let_go()


def _packed(batch: list[Outgoing]) -> bytes:
    return pack_events([item.packed for item in batch])
