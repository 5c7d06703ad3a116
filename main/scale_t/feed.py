"""The thread that reads the ticker's channel, and asks for it again when the broker refuses it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Final

import structlog

from ..utils.redis.client import TickerClient
from ..utils.redis.errors import BusError, RegistrationRejected
from ..utils.redis.stream import Stream
from ..utils.waits import GrowingWait

log: Final = structlog.get_logger("tickerbus.scale_t")

FOLLOW_AGAIN_FIRST_S: Final = 5.0
FOLLOW_AGAIN_CAP_S: Final = 60.0


class TickerFeed:
    """Hands every message of one ticker to `on_message`, own orders only, in this thread."""

    def __init__(
        self,
        client: TickerClient,
        ticker: str,
        on_message: Callable[[object], object],
        on_rejected: Callable[[RegistrationRejected], object],
    ) -> None:
        self._client, self._ticker = client, ticker
        self._on_message, self._on_rejected = on_message, on_rejected
        self._stop = threading.Event()
        self._following = threading.Event()
        self._stream: Stream | None = None
        self._thread = threading.Thread(target=self._work, name="ticker-feed", daemon=True)

    def start(self, timeout_s: float) -> None:
        """Returns once the channel is listened to, so that nothing later is missed, or the broker
        refused it, or after `timeout_s`."""
        self._thread.start()
        self._following.wait(timeout_s)

    def stop(self, timeout_s: float) -> None:
        """Lets go of the ticker."""
        self._stop.set()
        if self._stream is not None:
            self._stream.close()
        self._thread.join(timeout_s)

    def _work(self) -> None:
        wait = GrowingWait(FOLLOW_AGAIN_FIRST_S, FOLLOW_AGAIN_CAP_S)
        while not self._stop.is_set():
            try:
                self._stream = self._client.follow(self._ticker)
                self._following.set()
                for message in self._stream:
                    self._on_message(message)
                return  # closed
            except RegistrationRejected as error:
                self._following.set()
                self._on_rejected(error)
            except BusError as error:
                if not self._stop.is_set():
                    log.warning("scale_t.bus_away", reason=str(error))
            self._stop.wait(wait.grow(0.0))
