"""What an open `TickerClient` consists of: one reader, the lease thread, an ear for the broker.

Threads: `bus-reader` and `bus-refill` of the subscriber, `lease-keeper`, and a worker for each of
the heartbeat, the broker's replies and the callbacks.
"""

from __future__ import annotations

import threading
import time
from typing import Final

from ..event_log import EventLog
from .broker_watch import SILENCE_S, BrokerView, BrokerWatch
from .config import RedisConfig
from .errors import BusError
from .followed import Followed
from .holds import Holds
from .leases import LeaseKeeper
from .messages import BrokerStatus, RegistrationReply, now_rfc3339
from .registration import RegistrationClient
from .stream import Stream
from .subscriber import RedisSubscriber

log: Final = EventLog("tickerbus.client")

UNREAD_S: Final = 10.0
LONGEST_PARTING_S: Final = 3.0  # of what may be spent on giving tickers back


class Tap:
    """Any thread may call it."""

    def __init__(self, config: RedisConfig, client_id: str, secured: bool, lease_s: int) -> None:
        """Connect, and start.

        Raises:
            RedisUnavailable: nobody answers there, or refuses us.
        """
        self._client_id = client_id
        self._lock = threading.Lock()
        self._watch = BrokerWatch(time.monotonic(), now_rfc3339())
        self._told_away = self._closed = False
        self._unread: list[Stream] = []
        self.bus = RedisSubscriber(config)
        try:
            self.bus.start_listening()
            self._registration = RegistrationClient(
                config, client_id, secured=secured, subscriber=self.bus
            )
            self._keeper = LeaseKeeper(
                self._registration,
                lease_s=lease_s,
                on_reply=self._on_reply,
                on_silence=self._on_silence,
                on_tick=self._note_absence,
            )
            self._holds = Holds(self._keeper, self._note_absence)
            self.followed = Followed(self.bus, self._holds)
            self.bus.subscribe(self.bus.names.BROKER_STATUS, self._on_status)
            self._keeper.start()
        except BaseException:
            self.bus.close()
            raise

    @property
    def tickers(self) -> tuple[str, ...]:
        return self._holds.tickers

    def broker(self) -> BrokerView:
        with self._lock:
            return self._watch.view(time.monotonic())

    def warn_if_unread(self, stream: Stream) -> None:
        """From now on: nobody may have kept what `follow` has returned."""
        with self._lock:
            self._unread.append(stream)

    def close(self, timeout_s: float) -> list[str]:
        """Give the tickers back, and end. Names of threads that would not."""
        with self._lock:
            if self._closed:
                return []
            self._closed = True
        deadline = time.monotonic() + timeout_s
        self._holds.close()
        parting_s = min(LONGEST_PARTING_S, timeout_s / 2)
        # Who is away cannot be told: the leases end by themselves.
        here = not self.broker().away
        stuck = [] if self._keeper.stop(here, parting_s) else ["lease-keeper"]
        stuck += self.bus.stop(max(0.0, deadline - time.monotonic()))
        self._registration.close()
        self.bus.close()
        return stuck

    # -- the workers' threads

    def _on_reply(self, ticker: str, reply: RegistrationReply) -> None:
        self._holds.note(ticker, reply)

    def _on_status(self, status: object) -> None:
        if not isinstance(status, BrokerStatus):
            return
        now = time.monotonic()
        with self._lock:
            self._watch.hear(status, now)
            was_away, self._told_away = self._told_away, False
            unread = [stream for stream in self._unread if stream.is_unread(now, UNREAD_S)]
            self._unread = [
                s for s in self._unread if s not in unread and not s.was_read and not s.ended
            ]
        if was_away:
            log.info("broker.back", client_id=self._client_id, state=status.state)
        for stream in unread:
            log.warning(
                "stream.unread",
                tickers=stream.tickers,
                hint="nobody reads what client.follow() has returned; in a loop over a stream, "
                "stream.follow() adds tickers to it",
            )

    def _on_silence(self, error: BusError) -> None:
        """A renewal was not answered."""
        if not self._note_absence():
            log.warning("broker.does_not_answer", client_id=self._client_id, reason=str(error))

    def _note_absence(self) -> bool:
        """Whether there is no broker; tells it when that is new."""
        with self._lock:
            away = self._watch.is_away(time.monotonic())
            new, self._told_away = away and not self._told_away, away or self._told_away
        if new:
            log.warning(
                "broker.away",
                client_id=self._client_id,
                reason=f"no heartbeat for {SILENCE_S:.0f} s",
                now="waiting",
            )
        return away
