"""What handlers failed at, kept for a look: in a stream, and here while Redis is away."""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass
from typing import Any, Final, cast

import redis

from .counts import Counts
from .events import TradeEvent
from .library import FAIL, call
from .names import TradeNames
from .wire import decode_logged, encode_body

WAITING: Final = 1_000  # failures that wait for Redis; the oldest give way
ERROR_CHARACTERS: Final = 2_000


@dataclass(frozen=True, kw_only=True)
class Failure:
    """One event that a handler could not deal with. `where`: "handler" or the consumer group;
    `who`: the handler's or the consumer's name; `deliveries`: how often it was tried. `event` is
    None if what was in the log is no event."""

    id: str
    where: str
    who: str
    error: str
    deliveries: int
    log_id: str
    event: TradeEvent | None


class FailureLog:
    """Any thread may call it."""

    def __init__(self, client: redis.Redis, names: TradeNames, counters: Counts) -> None:
        self._client, self._names, self._counters = client, names, counters
        self._lock = threading.Lock()
        self._waiting: deque[tuple[str | bytes, ...]] = deque(maxlen=WAITING)

    def keep_handlers(self, event: TradeEvent, handler: str, error: BaseException) -> None:
        """A pub/sub handler raised. Never raises itself."""
        self._counters.add("handler_failures")
        entry = ("m", encode_body(event), "log_id", event.log_id or "", "where", "handler")
        more = ("who", handler, "error", describe_error(error), "deliveries", "1")
        with self._lock:
            self._waiting.append(("handler_failures", "", "", *entry, *more))
        self.flush()

    def flush(self) -> None:
        """Write what waits, if Redis takes it now."""
        with self._lock:
            try:
                while self._waiting:
                    self._write(*self._waiting[0])
                    self._waiting.popleft()
            except (redis.RedisError, OSError):
                return  # it stays here until the next time

    def bury(
        self, group: str, consumer: str, log_id: str, body: bytes, error: str, deliveries: int
    ) -> None:
        """A durable consumer gives up on an event: kept, and done with, in one step.

        Raises:
            redis.RedisError: not done.
        """
        entry = ("m", body, "log_id", log_id, "where", group, "who", consumer)
        more = ("error", error[:ERROR_CHARACTERS], "deliveries", str(deliveries))
        self._write("dead_letters", group, log_id, *entry, *more)
        self._counters.add("dead_letters")

    def read(self, limit: int) -> list[Failure]:
        """The newest first.

        Raises:
            redis.RedisError: Redis does not answer.
        """
        self.flush()
        entries = cast(
            "list[tuple[bytes, dict[bytes, bytes]]]",
            self._client.xrevrange(self._names.failed, count=limit),
        )
        return [_read(entry_id.decode(), fields) for entry_id, fields in entries]

    def _write(self, *arguments: str | bytes) -> None:
        names = self._names
        call(
            self._client, FAIL, [names.failed, names.log, names.config, names.counters], *arguments
        )


def _read(entry_id: str, fields: dict[bytes, bytes]) -> Failure:
    def text(name: bytes) -> str:
        return fields.get(name, b"").decode(errors="replace")

    event: TradeEvent | None
    try:
        event = decode_logged(text(b"log_id"), fields)
    except ValueError:
        event = None
    return Failure(
        id=entry_id,
        where=text(b"where"),
        who=text(b"who"),
        error=text(b"error"),
        deliveries=int(text(b"deliveries") or 0),
        log_id=text(b"log_id"),
        event=event,
    )


def describe_error(error: BaseException) -> str:
    """The error and where it was raised, short enough to keep."""
    place = ""
    if (trace := error.__traceback__) is not None:
        while trace.tb_next is not None:
            trace = trace.tb_next
        place = f" ({trace.tb_frame.f_code.co_filename}:{trace.tb_lineno})"
    return f"{type(error).__name__}: {error}{place}"[:ERROR_CHARACTERS]


def name_of(handler: Any) -> str:
    """A handler's name for people."""
    return str(getattr(handler, "__qualname__", None) or repr(handler))[:200]
