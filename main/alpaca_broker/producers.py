"""The threads between a connection and the publisher.

A producer ends after the batch that it has in hand; what waits stays in its buffer, for the next
one. Only a draining stop empties the buffer first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

import structlog

from ..utils.redis.errors import BusError
from ..utils.tracebacks import plain_traceback
from .workers import Worker

log: Final = structlog.get_logger("tickerbus.producer")

_IDLE_S: Final = 1.0


class Source(Protocol):
    """A buffer that a producer takes from."""

    def take(self, timeout_s: float) -> Sequence[Any]: ...

    def wake(self) -> None: ...


class Producer(Worker):
    """One named thread: take all that waits, hand it on as one batch, again."""

    name = "producer"

    def __init__(
        self,
        source: Source,
        handle: Callable[[Sequence[Any]], None],
        on_failure: Callable[[str, BaseException], None],
        finish: Callable[[], None] = lambda: None,
    ) -> None:
        """`finish` ends what `handle` has begun: the thread's last act."""
        super().__init__()
        self._source, self._handle, self._on_failure = source, handle, on_failure
        self._finish = finish
        self._draining = False

    def begin_stop(self, drain: bool = False) -> None:
        """Ask it to end after its batch, or, draining, once its buffer is empty."""
        self._draining = drain
        super().begin_stop()
        self._source.wake()

    def _run(self) -> None:
        try:
            while not self._stopping or self._draining:
                items = self._source.take(0 if self._stopping else _IDLE_S)
                if self._stopping and not items:
                    break
                self._handle(items)  # also none: what waits for a deadline may be due
            self._finish()
        except BusError as error:  # superseded, or stopped while Redis took nothing
            self._on_failure(self.name, error)
        except Exception as error:  # the supervisor of this thread: whatever it was, it is told
            log.error("producer.failed", thread=self.name, traceback=plain_traceback())
            self._on_failure(self.name, error)


class PriceProducer(Producer):
    """Market data to the ticker channels."""

    name = "price-producer"


class OrderProducer(Producer):
    """Order updates to the ticker channels."""

    name = "order-producer"
