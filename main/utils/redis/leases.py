"""Keeping what the broker granted: leases that are renewed while their tickers are wanted."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from ..event_log import EventLog
from ..tracebacks import plain_traceback
from .constants import DEFAULT_LEASE_S
from .errors import BusError, NoBroker, RedisUnavailable
from .messages import BrokerStatus, RegistrationReply

if TYPE_CHECKING:
    from .registration import RegistrationClient

log: Final = EventLog("tickerbus.registration")

UNREGISTER_S: Final = 2.0  # how long a keeper that ends waits for an answer
RETRY_S: Final = 2.0  # how soon a keeper repeats a renewal that nobody answered
TICK_S: Final = 1.0
PASSING_RETRY_S: Final = 5.0
PASSING_REASONS: Final = frozenset({"rate_limited", "upstream_unavailable"})  # worth asking again

DataKind = Literal["trades", "quotes", "bars"]


@dataclass(kw_only=True)
class _Lease:
    """One ticker that is kept."""

    data: tuple[DataKind, ...] | None
    due: float = 0.0  # when it is to be renewed, on the monotonic clock
    reason: str | None = None  # of the last rejection


class LeaseKeeper:
    """Renews a client's leases every third of their length, and at once when a new broker runs.

    Pub/sub forgets what was said while the broker was away: a new epoch in `BROKER_STATUS` is the
    sign to say it again. Tickers may come and go while it runs. The callbacks are called in the
    keeper's thread: `on_rejected` once per change of a ticker's outcome; `on_reply` with a ticker
    and every reply, and whoever takes it tells of rejections himself; `on_silence`, in place of a
    log line, when no broker answers, once each time; `on_tick` about once a second.
    """

    def __init__(  # noqa: PLR0913  (a callback for each thing that it tells)
        self,
        client: RegistrationClient,
        tickers: Iterable[str] = (),
        lease_s: int = DEFAULT_LEASE_S,
        data: Sequence[DataKind] | None = None,
        on_rejected: Callable[[RegistrationReply], object] | None = None,
        *,
        on_reply: Callable[[str, RegistrationReply], object] | None = None,
        on_silence: Callable[[BusError], object] | None = None,
        on_tick: Callable[[], object] | None = None,
    ) -> None:
        self._client, self._lease_s, self._data = client, lease_s, data
        self._on_rejected, self._on_reply = on_rejected, on_reply
        self._on_silence, self._on_tick = on_silence, on_tick
        self._lock = threading.Lock()
        self._leases: dict[str, _Lease] = {}
        self._leaving: list[str] = []
        self._wake = threading.Event()
        self._stopping = self._unanswered = self._letting_go = False
        self._epoch: int | None = None
        self._thread = threading.Thread(target=self._keep, name="lease-keeper", daemon=True)
        self.tickers = tuple(tickers)

    @property
    def tickers(self) -> tuple[str, ...]:
        """What is kept now."""
        with self._lock:
            return tuple(self._leases)

    @tickers.setter
    def tickers(self, tickers: Iterable[str]) -> None:
        kinds = None if self._data is None else tuple(self._data)
        with self._lock:
            self._leases = {ticker: _Lease(data=kinds) for ticker in tickers}

    def add(self, ticker: str, data: Sequence[DataKind] | None = None) -> None:
        """Keep one more, or another kind of its data; asked for at once, in the keeper's thread."""
        with self._lock:
            self._leases[ticker] = _Lease(data=None if data is None else tuple(data))
        self._wake.set()

    def remove(self, ticker: str, *, unregister: bool = True) -> None:
        """Let go of one, in the keeper's thread."""
        with self._lock:
            if self._leases.pop(ticker, None) is not None and unregister:
                self._leaving.append(ticker)
        self._wake.set()

    def start(self) -> None:
        """Register at once, in the keeper's thread, and go on renewing.

        Raises:
            RedisUnavailable: the heartbeat's channel was not confirmed; nothing was started.
        """
        status_channel = self._client.subscriber.names.BROKER_STATUS
        self._client.subscriber.subscribe(status_channel, self._on_status)
        self._thread.start()

    def stop(self, unregister: bool = True, timeout_s: float = 5.0) -> bool:
        """End the thread, and let go of the tickers. False if the thread would not end in time.

        Who cannot be told is not waited for long: the lease ends by itself.
        """
        deadline = time.monotonic() + timeout_s
        self._stopping = True
        self._wake.set()
        if not self._letting_go:  # what it gives back is answered soon
            self._client.interrupt()
        bus = self._client.subscriber
        bus.unsubscribe(bus.names.BROKER_STATUS, self._on_status)
        if self._thread.is_alive():  # else it never began, or Ctrl-C came as it did: it ends alone
            self._thread.join(timeout_s)
        if unregister:
            with self._lock:
                self._leaving += self._leases
                self._leases = {}
            self._let_go(min(UNREGISTER_S, max(0.1, deadline - time.monotonic())))
        return not self._thread.is_alive()

    def _keep(self) -> None:
        while not self._stopping:
            self._wake.clear()
            self._let_go(UNREGISTER_S)
            for data, tickers in self._due().items():
                if not self._stopping:
                    self._renew(tickers, data)
            if self._on_tick is not None:
                self._call(self._on_tick)
            self._wake.wait(self._until_due())

    def _due(self) -> dict[tuple[DataKind, ...] | None, list[str]]:
        """What is to be renewed now, by the kinds of data that are asked for together."""
        due: dict[tuple[DataKind, ...] | None, list[str]] = {}
        now = time.monotonic()
        with self._lock:
            for ticker, lease in self._leases.items():
                if lease.due <= now:
                    due.setdefault(lease.data, []).append(ticker)
        return due

    def _until_due(self) -> float | None:
        with self._lock:
            waits = [lease.due - time.monotonic() for lease in self._leases.values()]
        if self._on_tick is not None:
            waits.append(TICK_S)
        return max(0.0, min(waits)) if waits else None

    def _renew(self, tickers: list[str], data: tuple[DataKind, ...] | None) -> None:
        with self._lock:
            asked = {ticker: self._leases.get(ticker) for ticker in tickers}
        # A broker may take 5 s to learn the outcome.
        timeout_s = min(6.0, max(1.0, self._lease_s / 3))
        try:
            replies = self._client.register(tickers, self._lease_s, data, timeout_s)
        except (NoBroker, RedisUnavailable) as error:
            self._postpone(asked.values(), RETRY_S)
            if not self._stopping:
                self._tell_silence(tickers, error)
            return
        self._unanswered = False
        self._postpone(asked.values(), self._lease_s / 3)
        for ticker, reply in zip(tickers, replies, strict=True):
            lease = asked[ticker]
            if lease is not None and lease is self._leases.get(ticker):  # not asked anew meanwhile
                self._report(ticker, lease, reply)

    def _postpone(self, leases: Iterable[_Lease | None], by_s: float) -> None:
        # A ticker that was added again meanwhile has another lease, which stays due.
        for lease in leases:
            if lease is not None:
                lease.due = time.monotonic() + by_s

    def _tell_silence(self, tickers: list[str], error: BusError) -> None:
        told, self._unanswered = self._unanswered, True
        if told:
            return
        if self._on_silence is None:
            log.warning("lease.not_renewed", tickers=tickers, error=str(error))
        else:
            self._call(self._on_silence, error)

    def _report(self, ticker: str, lease: _Lease, reply: RegistrationReply) -> None:
        reason = reply.reason if reply.status == "rejected" else None
        changed, lease.reason = lease.reason != reason, reason
        if reason in PASSING_REASONS:
            self._postpone([lease], min(PASSING_RETRY_S, self._lease_s / 3))
        if reason and changed:
            if self._on_reply is None or reason in PASSING_REASONS:
                log.warning("lease.rejected", ticker=ticker, reason=reason, detail=reply.detail)
            if self._on_rejected is not None:
                self._call(self._on_rejected, reply)
        if self._on_reply is not None:
            self._call(self._on_reply, ticker, reply)

    def _call(self, callback: Callable[..., object], *arguments: object) -> None:
        try:
            callback(*arguments)
        except Exception:  # user code: it must not end the renewals
            log.error("lease.callback_raised", traceback=plain_traceback())

    def _let_go(self, timeout_s: float) -> None:
        with self._lock:
            leaving = [ticker for ticker in self._leaving if ticker not in self._leases]
            self._leaving = []
        if not leaving:
            return
        self._letting_go = True
        try:
            self._client.unregister(leaving, timeout_s)
        except (NoBroker, RedisUnavailable) as error:
            if self._stopping and threading.current_thread() is self._thread:
                with self._lock:  # `stop` has interrupted us, and asks once more itself
                    self._leaving += leaving
                return
            log.warning("lease.not_returned", tickers=leaving, error=str(error))
        finally:
            self._letting_go = False

    def _on_status(self, status: object) -> None:
        if isinstance(status, BrokerStatus) and status.epoch != self._epoch:
            known, self._epoch = self._epoch is not None, status.epoch
            if known:
                with self._lock:
                    for lease in self._leases.values():
                        lease.due = 0.0
                self._wake.set()
