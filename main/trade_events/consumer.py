"""Durable consumption: every event of the log at least once per group, whatever dies meanwhile.

An event that was read and not yet acknowledged stays with its consumer in Redis. What a consumer
left behind is claimed by another after `claim_idle_ms`. A handler that raises gets the event again
after `retry_after_ms`; after `max_deliveries` it is kept as failed, and done with. While this
process lives it never hands an event to the handler again that the handler was done with, also not
when Redis restarts before the acknowledgement is confirmed.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import Any, Final, cast

import redis
import structlog

from ..utils.redis.config import backoff_delays
from ..utils.redis.connections import CONNECTION_FAULTS
from .counts import Counts
from .failures import FailureLog, describe_error
from .names import TradeNames
from .operations import Operations, add_group, read_operations
from .subscriptions import Handler
from .wire import decode_logged

log: Final = structlog.get_logger("tickerbus.trade_events")

BLOCK_MS: Final = 400  # below the deadline of a command
ACK_AFTER_S: Final = 0.25  # what was dealt with is acknowledged this soon, and after every batch
Entry = tuple[bytes, "dict[bytes, bytes] | None"]


@dataclass(frozen=True, kw_only=True)
class Membership:
    """Who reads: a consumer of a group, which begins after `start` if it is new; `batch` events at
    once."""

    group: str
    consumer: str
    start: str
    batch: int


class DurableConsumer:
    """`run` until `stopping` is set, in the caller's thread."""

    def __init__(
        self,
        client: redis.Redis,
        names: TradeNames,
        counters: Counts,
        membership: Membership,
        handler: Handler,
        stopping: threading.Event,
    ) -> None:
        self._client, self._names = cast(Any, client), names  # its streams' types are wrong
        self._failures, self._counters = FailureLog(client, names, counters), counters
        self._group, self._consumer = membership.group, membership.consumer
        self._start, self._batch = membership.start, membership.batch
        self._handler, self._stopping = handler, stopping
        self._done: set[bytes] = set()  # dealt with, and not known to be acknowledged
        self._retries: dict[bytes, float] = {}  # of this consumer: when to try again
        self._operations: Operations = cast(Operations, None)
        self._claim_at = self._ack_at = 0.0
        self._trimmed = 0

    def run(self) -> None:
        """
        Raises:
            redis.NoPermissionError: this user may not consume.
        """
        delays = backoff_delays()
        while not self._stopping.is_set():
            try:
                self._prepare()
                while not self._stopping.is_set():
                    self._step()
                    delays = backoff_delays()
            except redis.exceptions.NoPermissionError:
                raise
            except (*CONNECTION_FAULTS, redis.ResponseError) as error:
                self._note_loss(error)
                self._stopping.wait(next(delays))
        self._part()

    def _prepare(self) -> None:
        """At the start and after every loss: the group, and what this consumer had not finished."""
        self._operations = read_operations(self._client, self._names)
        add_group(self._client, self._names, self._group, self._start)
        self._acknowledge()
        known = self._retries  # in the log's order again, where the loss cut off one of them
        mine = [entry["message_id"] for entry in self._pending(self._consumer)]
        self._retries = {log_id: known.pop(log_id, 0.0) for log_id in mine} | known
        self._claim_at = 0.0

    def _step(self) -> None:
        self._retry_due()
        self._claim_abandoned()
        wait_ms = BLOCK_MS
        if self._retries:
            due_in_s = min(self._retries.values()) - time.monotonic()
            wait_ms = max(1, min(BLOCK_MS, int(due_in_s * 1_000)))
        reply = self._client.xreadgroup(
            self._group,
            self._consumer,
            {self._names.log: ">"},
            count=self._batch,
            block=wait_ms,
        )
        for _, entries in reply or ():
            for entry in entries:
                self._start = entry[0].decode()  # where a group begins that had to be made again
                self._handle(entry, deliveries=1)
                if self._stopping.is_set():
                    break  # the rest stays this consumer's
        self._acknowledge()

    # -- again

    def _retry_due(self) -> None:
        now = time.monotonic()
        for log_id in [log_id for log_id, due in self._retries.items() if due <= now]:
            if self._stopping.is_set():
                return
            del self._retries[log_id]
            found = self._pending(self._consumer, log_id)
            if found and log_id not in self._done:  # else: another's, or gone
                self._take_over(log_id, found[0]["times_delivered"], idle_ms=0)

    def _claim_abandoned(self) -> None:
        """What others read and did not finish in time."""
        if time.monotonic() < self._claim_at:
            return
        self._operations = read_operations(self._client, self._names)
        idle_ms = self._operations.claim_idle_ms
        self._claim_at = time.monotonic() + idle_ms / 2_000
        for entry in self._pending(None, idle_ms=idle_ms):
            log_id = entry["message_id"]
            mine = entry["consumer"].decode() == self._consumer
            if not mine and not self._stopping.is_set():
                self._counters.add("claimed")
                self._take_over(log_id, entry["times_delivered"], idle_ms)
            elif mine and log_id not in self._done:
                self._retries.setdefault(log_id, 0.0)
        self._watch_the_end()

    def _take_over(self, log_id: bytes, deliveries: int, idle_ms: int) -> None:
        claimed = self._client.xclaim(
            self._names.log, self._group, self._consumer, idle_ms, [log_id]
        )
        for entry in claimed:
            if deliveries >= self._operations.max_deliveries:
                # It was tried as often as it may be, and nobody was left to say what went wrong.
                self._bury(entry, "no consumer finished it", deliveries)
            else:
                self._handle(entry, deliveries + 1)
        if not claimed and not self._client.xrange(self._names.log, log_id, log_id):
            self._client.xack(self._names.log, self._group, log_id)
            self._note_trimmed(1)

    def _pending(
        self, consumer: str | None, log_id: bytes | None = None, idle_ms: int | None = None
    ) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self._client.xpending_range(
            self._names.log,
            self._group,
            min=log_id or "-",
            max=log_id or "+",
            count=1 if log_id else 1_000,
            consumername=consumer,
            idle=idle_ms,
        )
        return found

    # -- one event

    def _handle(self, entry: Entry, deliveries: int) -> None:
        log_id, fields = entry
        if log_id in self._done:
            return
        try:
            event = decode_logged(log_id, fields or {})
        except ValueError as error:
            self._bury(entry, str(error), deliveries)
            return
        try:
            self._handler(event)
        except Exception as error:  # the user's code: the other events go on
            self._counters.add("consumer_failures")
            self._note_failure(entry, error, deliveries)
            return
        self._counters.add("consumed")
        self._done.add(log_id)
        if time.monotonic() >= self._ack_at:
            self._acknowledge()

    def _note_failure(self, entry: Entry, error: Exception, deliveries: int) -> None:
        log.error(
            "trade_events.consumer_failed",
            group=self._group,
            log_id=entry[0].decode(),
            deliveries=deliveries,
            error=repr(error),
        )
        if deliveries >= self._operations.max_deliveries:
            self._bury(entry, describe_error(error), deliveries)
        else:
            due = time.monotonic() + self._operations.retry_after_ms / 1_000
            self._retries[entry[0]] = due

    def _bury(self, entry: Entry, error: str, deliveries: int) -> None:
        log_id, fields = entry
        body = (fields or {}).get(b"m", b"")
        self._failures.bury(self._group, self._consumer, log_id.decode(), body, error, deliveries)

    def _acknowledge(self) -> None:
        self._ack_at = time.monotonic() + ACK_AFTER_S
        if self._done:
            self._client.xack(self._names.log, self._group, *self._done)
            self._done.clear()

    # -- what is told

    def _watch_the_end(self) -> None:
        """Whether the log was trimmed beyond what this group has read."""
        stream = self._client.xinfo_stream(self._names.log)
        for group in self._client.xinfo_groups(self._names.log):
            read = group.get("entries-read")
            if group["name"].decode() == self._group and read is not None:
                lost = stream["entries-added"] - stream["length"] - read
                if lost > self._trimmed:
                    self._note_trimmed(lost - self._trimmed)
                    self._trimmed = lost

    def _note_trimmed(self, count: int) -> None:
        self._counters.add("trimmed_unread", count)
        log.error("trade_events.trimmed_unread", group=self._group, events=count)

    def _note_loss(self, error: BaseException) -> None:
        self._counters.add("consumer_reconnects")
        log.warning("trade_events.consumer_lost", group=self._group, error=str(error))

    def _part(self) -> None:
        """What was dealt with is acknowledged, if Redis takes it now."""
        try:
            self._acknowledge()
        except redis.RedisError as error:
            self._note_loss(error)
