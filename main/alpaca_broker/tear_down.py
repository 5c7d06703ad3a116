"""One run of the broker is ended, in the order in which messages flow."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Final

import structlog

from ..utils.redis.errors import Abandoned, Fenced
from .parts import Parts
from .workers import left_s

if TYPE_CHECKING:
    from .broker import AlpacaBroker

log: Final = structlog.get_logger("tickerbus.broker")


class TearDown:
    """Used by the lifecycle thread."""

    def __init__(self, broker: AlpacaBroker, parts: Parts, *, within_s: float, drain: bool) -> None:
        """`drain`: what was received is published first."""
        self._broker, self._parts, self._drain = broker, parts, drain
        self._deadline_s = time.monotonic() + within_s

    def run(self) -> list[str]:
        """End the run; returns the threads that did not end in time."""
        # Whoever waits for a Redis that takes nothing, also a reply's sender, must not do so for
        # longer. A Redis that takes what it is given is not affected.
        patience = threading.Timer(left_s(self._deadline_s) / 3, self._parts.publisher.give_up)
        patience.name, patience.daemon = "tear-down-patience", True
        patience.start()
        try:
            return self._end_all()
        finally:
            patience.cancel()

    def _end_all(self) -> list[str]:
        parts, deadline = self._parts, self._deadline_s
        stuck: list[str] = []
        parts.upstreams.begin_close()
        if parts.registration is not None:
            parts.registration.begin_stop()
        if parts.subscriber is not None:
            stuck += parts.subscriber.stop(left_s(deadline) / 2)
        stuck += parts.upstreams.join(deadline)
        for thread in (parts.recovery, parts.reconciler):
            thread.begin_stop()
        stuck += self._end_producers()
        if parts.registration and not parts.registration.join(max(0.2, left_s(deadline))):
            stuck.append(parts.registration.name)
        # These two only ever wait for an answer of REST, and hold nothing that could be lost.
        for asking in (parts.recovery, parts.reconciler):
            if not asking.join(max(0.2, left_s(deadline))):
                log.warning("broker.left_waiting_for_rest", thread=asking.name)
        if stuck:
            log.error("broker.threads_would_not_end", threads=stuck)
        return stuck

    def _end_producers(self) -> list[str]:
        """No change of tickers may start producers again behind our back."""
        parts, deadline = self._parts, self._deadline_s
        changing = self._broker.changing
        if not changing.acquire(timeout=left_s(deadline) / 2):
            parts.publisher.give_up()  # the change waits for a batch that Redis does not take
            if not changing.acquire(timeout=max(0.5, left_s(deadline))):
                return ["registration"]
        try:
            return self._end_producers_now()
        finally:
            changing.release()

    def _end_producers_now(self) -> list[str]:
        parts, deadline = self._parts, self._deadline_s
        for producer in parts.producers:
            producer.begin_stop(self._drain)
        stuck = [p for p in parts.producers if not p.join(left_s(deadline) / 2)]
        if stuck:
            parts.publisher.give_up()  # Redis does not take the last batch
            stuck = [p for p in stuck if not p.join(max(0.5, left_s(deadline)))]
        if self._drain and not stuck and parts.publisher.epoch and not parts.publisher.trouble:
            try:
                parts.publisher.publish_batch(parts.price_desk.give_up_refills())
            except (Abandoned, Fenced) as error:
                log.warning("broker.last_gaps_not_told", error=str(error))
        parts.producers = []
        self._broker.update_publisher.reset()
        return [producer.name for producer in stuck]
