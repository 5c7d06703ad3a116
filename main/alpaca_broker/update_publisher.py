"""The update publisher: the producer threads, stopped and started at every change of tickers."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from .errors import ThreadsStillRunning
from .lifecycle import WORKING, Lifecycle, State
from .parts import Parts
from .producers import Producer

if TYPE_CHECKING:
    from .broker import AlpacaBroker


class UpdatePublisher:
    """Its lifecycle, as the table has it. One thread at a time uses it."""

    def __init__(self, broker: AlpacaBroker) -> None:
        self._broker = broker
        self._lifecycle = Lifecycle("update publisher")

    def reset(self) -> None:
        """A new run begins, or one has ended: no producer runs."""
        self._lifecycle = Lifecycle("update publisher")

    def start(self, parts: Parts, *producers: Producer) -> None:
        """Start them, after what waited for its ticker to be followed.

        Raises:
            IllegalTransition: they run already.
        """
        self._lifecycle.move(State.STARTING)
        following = self._broker.following()
        parts.publisher.expect_tickers(len(following))
        early = parts.price_desk.take_early(following)
        if early:
            parts.publisher.publish_batch(early)
        parts.producers = list(producers)
        for producer in producers:
            producer.start()
        self._lifecycle.move(State.RUNNING)

    def stop(self, parts: Parts) -> None:
        """Each finishes its batch.

        Raises:
            IllegalTransition: they do not run.
            ThreadsStillRunning: one did not end in time; they are left as they are.
        """
        self._lifecycle.move(State.STOPPING)
        for producer in parts.producers:
            producer.begin_stop(drain=False)
        timeout_s = self._broker.config.stop_timeout_s
        deadline = time.monotonic() + timeout_s
        while stuck := [p.name for p in parts.producers if not p.join(0.05)]:
            # While Redis takes no batch they cannot finish theirs, and the change waits with them.
            waits = parts.publisher.trouble and self._broker.lifecycle.state in WORKING
            if not waits and time.monotonic() > deadline:
                self._lifecycle.move(State.FAULTED, "producers did not end")
                raise ThreadsStillRunning(stuck, timeout_s)
        parts.producers = []
        self._lifecycle.move(State.STOPPED)
