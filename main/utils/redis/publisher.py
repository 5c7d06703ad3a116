"""RedisPublisher: single control messages, and the numbered, journalled batches of ticker messages.

Both of the broker's producers share one publisher: one connection and one lock, so that numbering
and writing are one step. A batch is sent again until Redis confirms it or the publisher is told to
give up. Who has more to publish need not wait for the reply: two batches may be on their way, and
replies are read before anything else uses the connection.
"""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final

import hiredis

from ..event_log import EventLog
from ..figures import BATCH_BOUNDS, Histogram
from .batch import Batch, JournalBounds, Packer
from .config import (
    WIRE_FAULTS,
    RedisConfig,
    Wire,
    backoff_delays,
    is_elsewhere,
    pack_command,
)
from .constants import BusNames
from .errors import Abandoned, Fenced, IllegalUse, NotPermitted, RedisUnavailable
from .fair_lock import FairLock
from .functions import function_library
from .in_flight import InFlight, Sent
from .messages import BusMessage, encode, now_rfc3339
from .order_memory import OrderEntry, OrderMemory
from .replicas import REPLICATED_WITHIN_MS, ReplicaWatch

log: Final = EventLog("tickerbus.publisher")

MAX_BATCH_MESSAGES: Final = 1_000
WINDOW: Final = 2  # batches on their way at once: Redis has the next when it is done with one
OPEN_EPOCH: Final = "tickerbus_open_epoch_3"
# Answers of a server that is no primary, or not the one that the replicas follow.
MOVED_ON: Final = ("READONLY", "NOREPLICAS", "MASTERDOWN")
_LOST_BY_FAILOVER: Final = 200  # orders, at the most: a new primary lacks some seconds


class RedisPublisher:
    """Publishes to the bus. Any thread may call it.

    `publish` is for single control messages (registrations, replies, status). `open_epoch` and
    `publish_batch` are the broker's: the numbered path for ticker messages.
    """

    def __init__(
        self,
        config: RedisConfig,
        bounds: JournalBounds | None = None,
        order_memory: OrderMemory | None = None,
    ) -> None:
        """Connect, and verify that Redis answers. `order_memory` may come from an earlier run.

        Raises:
            RedisUnavailable: nobody answers there, or refuses us.
        """
        self.names = BusNames(config.bus_prefix)
        self.counters: Counter[str] = Counter()
        self.trouble: str | None = None  # why Redis is not taking our batches, while it is not
        self.errors: Counter[str] = Counter()  # of Redis, in a word each
        self.batch_sizes, self.round_trips = Histogram(BATCH_BOUNDS), Histogram()
        self.bytes_sent = 0
        self._config, self._bounds = config, bounds or JournalBounds()
        self._lock = FairLock()
        self._order_memory = OrderMemory() if order_memory is None else order_memory
        self._packer: Packer | None = None
        self._in_flight = InFlight()
        self._giving_up = threading.Event()
        self._replicas = ReplicaWatch()
        self._closed = False
        self._wire: Wire | None = Wire(config)

    def __enter__(self) -> RedisPublisher:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def ping(self) -> bool:
        """Whether Redis answers now."""
        try:
            with self._lock:
                return bool(self._call("PING") == b"PONG")
        except RedisUnavailable:
            return False

    def close(self) -> None:
        """Close the connection. A batch that waits for Redis is given up."""
        self._giving_up.set()
        with self._lock:
            self._closed = True
            self._drop_wire()

    # -- single control messages

    def publish(self, channel: str, message: object, sender: str | None = None) -> int:
        """Publish one message; returns how many subscribers Redis handed it to.

        `message` is a typed message or anything that JSON can hold. With a `sender` it goes inside
        an envelope `{"data", "sender", "timestamp"}`.

        Raises:
            RedisUnavailable: Redis did not take it, also not on a second, fresh connection.
            NotPermitted: a kind of it; this user may not publish there.
        """
        body = message if isinstance(message, bytes) else encode(_enveloped(message, sender))
        with self._lock:
            try:
                receivers = self._call("PUBLISH", channel, body)
            except RedisUnavailable:
                if self._giving_up.is_set():
                    raise
                receivers = self._call("PUBLISH", channel, body)  # once more, on a new connection
        if isinstance(receivers, hiredis.ReplyError):
            if str(receivers).startswith("NOPERM"):
                raise NotPermitted(self._config.address, channel, receivers)
            raise RedisUnavailable(self._config.address, receivers)
        self.counters["control_messages"] += 1
        return int(receivers)

    # -- the numbered path

    def open_epoch(self, leader: str = "") -> int:
        """Begin a new epoch: from here on this publisher, and no other, may write ticker messages.

        `leader` is the value of BROKER_LEADER under which this may be done, "" for any.

        Raises:
            Fenced: another process leads.
            RedisUnavailable: Redis does not answer, or refuses the function or the key.
        """
        keys = (self.names.BROKER_EPOCH, self.names.BROKER_LEADER)
        now_ms = time.time_ns() // 1_000_000
        with self._lock:
            self._load_function()
            self._write_orders_again()  # this Redis may be empty, or older than what is known
            opened = self._must_call("FCALL", OPEN_EPOCH, len(keys), *keys, now_ms, leader)
            if opened is None:
                raise Fenced(self.epoch, "another process leads")
            epoch = int(opened)
            self._packer = Packer(self.names, epoch, self._bounds)
            self._in_flight.clear()
        return epoch

    @property
    def epoch(self) -> int:
        """The epoch that was opened, 0 before."""
        return self._packer.epoch if self._packer else 0

    @property
    def journal_bound(self) -> int:
        """Entries that each ticker's journal may hold now."""
        return self._packer.journal_bound if self._packer else self._bounds.max_per_ticker

    def expect_tickers(self, count: int) -> None:
        """How many tickers share the journals' megabytes from now on. Without this it is every
        symbol that anything was ever published of, orders of options too."""
        with self._lock:
            if self._packer is not None:
                self._packer.tickers = count

    def seqs(self) -> dict[str, int]:
        """The last number of every ticker. Call it under `ordered()` to publish it as a fact.

        Empty while a batch that got its numbers is not confirmed: nothing is a fact then.
        """
        with self._lock:
            return self._packer.seqs if self._packer and self._is_settled() else {}

    def seqs_if_free(self, timeout_s: float = 0.2) -> dict[str, int] | None:
        """The same, or None while a batch cannot be written."""
        if not self._lock.acquire(timeout=timeout_s):
            return None
        try:
            return self.seqs() if self._is_settled() else None
        finally:
            self._lock.release()

    def ordered(self) -> FairLock:
        """The lock under which numbers are given and written: what is published while it is held
        comes after all that was numbered before."""
        return self._lock

    def publish_batch(self, messages: Sequence[BusMessage], *, more: bool = False) -> None:
        """Number, journal and publish, as one atomic step per 1,000 messages.

        Blocks until Redis has confirmed all of it, however often it has to be sent. With `more` to
        come at once the caller prepares that while Redis works: the last batch is only sent, and
        its reply is waited for by the call after the next. The last call is one without `more`, if
        with nothing.

        Raises:
            Fenced: another run of the broker owns the epoch; nothing more will be written.
            Abandoned: `give_up` was called while Redis did not confirm.
            IllegalUse: no epoch was opened.
        """
        # Also of no messages: a batch that was sent ahead may want its reply read.
        # And in equal parts: a small one after a full one would wait for it in vain.
        parts = max(1, math.ceil(len(messages) / MAX_BATCH_MESSAGES))
        size = max(1, math.ceil(len(messages) / parts))
        for start in range(0, max(1, len(messages)), size):
            batch = messages[start : start + size]
            is_last = start + size >= len(messages)
            with self._lock:
                if batch:  # packed while Redis does those before
                    self._in_flight.add(self._pack(batch), time.perf_counter())
                    while len(self._in_flight) > WINDOW:
                        self._settle_first()
                    self._send_ahead()
                # Who has nothing to add has the time to look what became of the rest.
                while self._in_flight and is_last and not (more and batch):
                    self._settle_first()

    def remember_orders(self, entries: Sequence[OrderEntry]) -> None:
        """All that is known of earlier runs, the oldest first: written again if Redis loses it."""
        with self._lock:
            self._order_memory.replace(entries)

    def remembered_orders(self) -> list[OrderEntry]:
        """The last entries of the order journals, as they are known here."""
        with self._lock:
            return self._order_memory.entries()

    def restore_epoch(self) -> None:
        """Write the epoch again after Redis was emptied, unless another run has its own there.

        Raises:
            RedisUnavailable: Redis does not answer.
        """
        with self._lock:
            self._load_function()
            self._take_empty_redis()

    def reconnect(self) -> None:
        """Resolve the address again for what comes next: Redis says elsewhere that it has moved.

        A batch that waits for Redis does so by itself.
        """
        if self._lock.acquire(timeout=0.5):
            try:
                self._drop_wire()
            finally:
                self._lock.release()

    def is_elsewhere(self) -> bool:
        """Whether the Sentinels, if there are any, name another primary than this one's."""
        return is_elsewhere(self._config, self._wire)

    def give_up(self) -> None:
        """Let a blocked `publish_batch` end with `Abandoned`: the broker is stopping."""
        self._giving_up.set()

    # -- private: the lock is held below

    def _settle_first(self) -> None:
        """Send the oldest on its way until Redis confirms it. A failure leaves it there."""
        delays, sent = backoff_delays(), self._in_flight.first
        reply: Any = None
        while not isinstance(reply, int):
            try:
                reply = self._reply_to(sent)
                self._wait_for_replica(sent.batch, reply)
                trouble = None if isinstance(reply, int) else self._repair(reply)
            except RedisUnavailable as error:
                reply, trouble = None, str(error.cause)
            if trouble:
                self._note_trouble(trouble, sent.batch)
                self._wait(next(delays))
        self._confirm(reply)

    def _reply_to(self, sent: Sent) -> Any:
        wire = self._wire
        if wire is not None and sent.is_owed:
            return self._guarded(lambda: self._in_flight.read_one(sent, wire.receive))
        reply, sent.reply = sent.reply, None
        return self._exchange(sent.batch.call()) if reply is None else reply

    def _pack(self, messages: Sequence[BusMessage]) -> Batch:
        if self._packer is None:
            raise IllegalUse("publish_batch before open_epoch: no number can be given")
        return self._packer.pack(messages)

    def _send_ahead(self) -> None:
        """Let Redis work. A failure shows when the reply is wanted."""
        wire = self._wire
        if wire is not None:
            call = self._in_flight.call_ahead(time.perf_counter())
            with contextlib.suppress(RedisUnavailable):
                self._guarded(lambda: wire.send(call))

    def _read_owed(self) -> None:
        wire = self._wire
        if wire is not None and self._in_flight.is_owed:
            self._guarded(lambda: self._in_flight.read(wire.receive))

    def _is_settled(self) -> bool:
        """Whether Redis has done all that was numbered. Waits for replies, but sends nothing."""
        with contextlib.suppress(RedisUnavailable):
            self._read_owed()
        return self._in_flight.is_settled

    def _wait_for_replica(self, batch: Batch, reply: Any) -> None:
        """An order must not be lost with the primary that alone has it: while there is a replica,
        a batch with orders is done once that has it too, else sent again to the next primary."""
        if not (batch.orders and self._config.sentinels and isinstance(reply, int)):
            return
        replicas = self._call("WAIT", 1, REPLICATED_WITHIN_MS)
        if isinstance(replicas, hiredis.ReplyError) and str(replicas).startswith("NOPERM"):
            replicas = 0
        if not isinstance(replicas, int) or not self._replicas.is_kept(replicas):
            self._drop_wire()  # promoted or demoted meanwhile? Ask again who is the primary
            raise RedisUnavailable(self._config.address, f"no replica has the orders: {replicas}")
        if not replicas:
            self.counters["orders_without_replica"] += len(batch.orders)

    def _confirm(self, done: int) -> None:
        sent = self._in_flight.confirm_first()
        batch = sent.batch
        assert done == batch.messages, f"Redis did {done} of {batch.messages} messages"
        if self.trouble:
            log.info("redis.batches_flow_again", address=self._config.address)
        self.trouble = None
        self._remember(batch)
        self.counters["messages"] += batch.messages
        self.counters["batches"] += 1
        self.bytes_sent += batch.size
        self.batch_sizes.observe(batch.messages)
        self.round_trips.observe(time.perf_counter() - sent.since_s)

    def _repair(self, reply: Any) -> str | None:
        """Mend what stopped the batch. Returns what to wait for, or None to send again at once."""
        if isinstance(reply, hiredis.ReplyError):
            return self._repair_error(str(reply))
        reason, _, detail = (part.decode() if isinstance(part, bytes) else part for part in reply)
        if reason == "FENCED":
            assert self._packer is not None
            raise Fenced(self._packer.epoch, detail)
        if reason == "NOEPOCH":
            # Redis came back empty. Who is first writes the epoch again; the other is FENCED.
            self._take_empty_redis()
            return None
        if reason == "BEHIND":
            return None  # the one before went wrong, and is done since
        key, _, error = detail.partition(": ")
        if error.startswith("WRONGTYPE") or "equal or smaller" in error:
            self._set_aside(key, error)
            return None
        return str(detail)

    def _greet(self) -> None:
        """A Redis that came back empty gets epoch and orders before anything else: who hears a
        number, also in a heartbeat, must find the journals as whole as they can be. One that has
        the epoch may be another now, which lacks the last orders."""
        if self._packer is None:
            return
        epoch = self._must_call("GET", self.names.BROKER_EPOCH)
        if epoch is None:
            self._load_function()
            self._take_empty_redis()
        elif epoch == b"%d" % self.epoch:  # who is superseded writes nothing
            self._write_orders_again(_LOST_BY_FAILOVER)

    def _take_empty_redis(self) -> None:
        """Write the orders that are known; and then the epoch, unless another run was first: who
        sees an epoch may conclude that what the journals lack is lost."""
        if self._must_call("GET", self.names.BROKER_EPOCH) is not None:
            return
        known = len(self._order_memory)
        log.warning("redis.came_back_empty", address=self._config.address, orders=known)
        self._write_orders_again()
        self._must_call("SET", self.names.BROKER_EPOCH, self.epoch, "NX")

    def _write_orders_again(self, newest: int | None = None) -> None:
        if newest is None:  # else they are sent again themselves, in their order
            for batch in self._in_flight.done():
                self._remember(batch)
        for packed, replies in self._order_memory.writes(self._bounds.order_days * 86_400, newest):
            for reply in self._exchange_all(packed, replies):
                if isinstance(reply, hiredis.ReplyError) and not _will_stay(str(reply)):
                    raise RedisUnavailable(self._config.address, reply)

    def _remember(self, batch: Batch) -> None:
        for packed in batch.orders:
            self._order_memory.remember_packed(packed)

    def _repair_error(self, error: str) -> str | None:
        if "unction not found" in error:
            self._load_function()
            return None
        if error.startswith(MOVED_ON):
            self._drop_wire()  # a demoted primary: resolve the address again
        return error

    def _set_aside(self, key: str, error: str) -> None:
        """A foreign value under a journal's name would stop every batch: keep it elsewhere."""
        aside = f"{key}.set_aside.{time.time_ns()}"
        log.error("journal.set_aside", key=key, moved_to=aside, error=error)
        self.counters["journals_set_aside"] += 1
        self._must_call("RENAME", key, aside)
        self._call("EXPIRE", aside, self._bounds.order_days * 86_400)  # for whoever looks into it

    def _load_function(self) -> None:
        self._must_call("FUNCTION", "LOAD", "REPLACE", function_library())

    def _note_trouble(self, trouble: str, batch: Batch) -> None:
        self.counters["batch_retries"] += 1
        self.errors[_word_of(trouble)] += 1
        if trouble != self.trouble:
            log.warning("redis.batch_waits", error=trouble, messages=batch.messages)
        self.trouble = trouble

    def _wait(self, delay_s: float) -> None:
        if self._giving_up.wait(delay_s):
            raise Abandoned(self._in_flight.give_up())

    def _must_call(self, *arguments: str | bytes | int) -> Any:
        reply = self._call(*arguments)
        if isinstance(reply, hiredis.ReplyError):
            what = f"{arguments[0]!s} {arguments[1]!s}" if arguments[0] in ("GET", "SET") else ""
            raise RedisUnavailable(self._config.address, f"{what}: {reply}" if what else reply)
        return reply

    def _call(self, *arguments: str | bytes | int) -> Any:
        return self._exchange(pack_command(*arguments))

    def _exchange(self, packed: bytes) -> Any:
        return self._exchange_all(packed, 1)[0]

    def _exchange_all(self, packed: bytes, replies: int) -> list[Any]:
        """So many requests, and their replies.

        After a failure the connection is gone: a late reply to this request must never be taken
        for the next one's.
        """
        self._read_owed()
        found: list[Any] = self._guarded(lambda: self._ask(packed, replies))
        return found

    def _ask(self, packed: bytes, replies: int) -> list[Any]:
        if self._wire is None:
            if self._closed or self._giving_up.is_set():
                raise ConnectionError("this publisher is closing")
            self._wire = Wire(self._config)
            self.counters["reconnects"] += 1
            self._greet()
        self._wire.send(packed)
        return [self._wire.receive() for _ in range(replies)]

    def _guarded(self, use_wire: Callable[[], Any]) -> Any:
        try:
            return use_wire()
        except WIRE_FAULTS as error:
            self._drop_wire()
            raise RedisUnavailable(self._config.address, error) from error
        except BaseException:
            self._drop_wire()
            raise

    def _drop_wire(self) -> None:
        self._in_flight.lose_connection()
        if self._wire is not None:
            self._wire.close()
            self._wire = None


def _enveloped(message: object, sender: str | None) -> object:
    if sender is None:
        return message
    envelope: Mapping[str, object] = {
        "data": message,
        "sender": sender,
        "timestamp": now_rfc3339(),
    }
    return envelope


def _will_stay(error: str) -> bool:
    """Of an order that is written again: it is there already, which is as good, or its journal's
    name is taken, which its next batch finds out. Anything else may go through later."""
    return "equal or smaller" in error or error.startswith("WRONGTYPE")


def _word_of(trouble: str) -> str:
    """Redis's own word for an error (oom, readonly, …), for the figures; "unavailable" if none."""
    words = (word for word in trouble.split() if word.isalpha() and word.isupper())
    return next((word.lower() for word in words if len(word) > 2), "unavailable")
