"""Asking the broker to follow tickers, and keeping what was granted."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterable, Sequence
from types import TracebackType
from typing import Final, Literal, cast

import structlog

from ..tracebacks import plain_traceback
from .config import RedisConfig
from .constants import DEFAULT_LEASE_S
from .errors import BusError, RedisUnavailable
from .messages import BrokerStatus, RegistrationReply, RegistrationRequest
from .publisher import RedisPublisher
from .subscriber import RedisSubscriber

log: Final = structlog.get_logger("tickerbus.registration")

ASK_AGAIN_S: Final = 0.25  # while nobody listens
SILENCE_S: Final = 1.5  # after so long without a reply it is asked again
UNREGISTER_S: Final = 2.0  # how long a keeper that ends waits for an answer
RETRY_S: Final = 2.0  # how soon a keeper repeats a renewal that nobody answered

DataKind = Literal["trades", "quotes", "bars"]


class NoBroker(BusError):
    """No broker answered in time. `listening` says whether one heard the request."""

    retry = True

    def __init__(self, tickers: Sequence[str], listening: bool, timeout_s: float) -> None:
        self.tickers, self.listening = tuple(tickers), listening
        what = (
            "a broker is listening but did not answer"
            if listening
            else "no broker is listening: start one, or check BUS_PREFIX"
        )
        super().__init__(f"{', '.join(tickers)}: {what} (waited {timeout_s:g} s)")


class RegistrationClient:
    """Registers and unregisters tickers, and waits for the broker's replies. Any thread may call.

    `client_id=None` is anonymous: all anonymous clients count as one holder, without a lease.
    With `secured` it asks on its own channel, `BROKER_REGISTRATION.<client_id>`.
    """

    def __init__(
        self, config: RedisConfig, client_id: str | None, *, secured: bool = False
    ) -> None:
        """Connect, and listen for replies.

        Raises:
            RedisUnavailable: nobody answers there, or refuses us.
            ValueError: `secured` without a `client_id`.
        """
        if secured and client_id is None:
            raise ValueError("secured registration needs a client_id")
        self.client_id = client_id
        self.subscriber = RedisSubscriber(config)
        self._publisher = RedisPublisher(config)
        names = self._publisher.names
        self._channel = (
            names.get_client_registration_channel(client_id)
            if secured and client_id is not None
            else names.BROKER_REGISTRATION
        )
        self._answered = threading.Condition()
        self._replies: dict[str, RegistrationReply | None] = {}
        self._interrupts = 0
        # Subscribed before the first request, so no reply can be missed.
        self.subscriber.subscribe(names.BROKER_REGISTRATION_REPLIES, self._on_reply)
        try:
            self.subscriber.start_listening()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> RegistrationClient:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. What is registered stays until its lease ends."""
        self.interrupt()
        self.subscriber.close()
        self._publisher.close()

    def register(
        self,
        tickers: Iterable[str],
        lease_s: int = DEFAULT_LEASE_S,
        data: Sequence[DataKind] | None = None,
        timeout_s: float = 6.0,
    ) -> list[RegistrationReply]:
        """Ask for tickers, or renew them; one reply each, in their order. Rejections are values.

        Raises:
            NoBroker: not every request was answered within `timeout_s`.
            RedisUnavailable: Redis did not take the request.
        """
        lease = None if self.client_id is None else lease_s
        kinds = None if data is None else list(data)
        return self._ask("subscribe", list(tickers), lease, kinds, timeout_s)

    def unregister(self, tickers: Iterable[str], timeout_s: float = 6.0) -> list[RegistrationReply]:
        """Let go of tickers; one reply each, in their order.

        Raises:
            NoBroker, RedisUnavailable: as `register`.
        """
        return self._ask("unsubscribe", list(tickers), None, None, timeout_s)

    def interrupt(self) -> None:
        """Let calls that wait for a reply end now, with `NoBroker`."""
        with self._answered:
            self._interrupts += 1
            self._answered.notify_all()

    def _ask(
        self,
        action: Literal["subscribe", "unsubscribe"],
        tickers: list[str],
        lease_s: int | None,
        kinds: list[DataKind] | None,
        timeout_s: float,
    ) -> list[RegistrationReply]:
        requests = [
            RegistrationRequest(
                action=action,
                ticker=ticker,
                client_id=self.client_id,
                lease_s=lease_s,
                request_id=uuid.uuid4().hex,
                data=kinds,
            )
            for ticker in tickers
        ]
        ids = [str(request.request_id) for request in requests]
        with self._answered:
            self._replies.update(dict.fromkeys(ids))
        try:
            return self._answers(requests, ids, timeout_s)
        finally:
            with self._answered:
                for request_id in ids:
                    del self._replies[request_id]

    def _answers(
        self, requests: list[RegistrationRequest], ids: list[str], timeout_s: float
    ) -> list[RegistrationReply]:
        deadline, interrupts = time.monotonic() + timeout_s, self._interrupts
        heard = all(self._publish(request, deadline, interrupts) for request in requests)
        patience_s = SILENCE_S
        while not self._all_answered(ids, interrupts, min(patience_s, _left(deadline))):
            if self._interrupts != interrupts or not _left(deadline):
                break
            # Whoever heard it was perhaps no broker: a monitor, while the broker starts. Asking
            # again changes nothing for a broker that is merely slow: its first answer counts.
            patience_s *= 2
            for request in requests:
                if self._replies[str(request.request_id)] is None:
                    self._publisher.publish(self._channel, request)
        with self._answered:
            replies = [self._replies[request_id] for request_id in ids]
        if None in replies:
            pairs = zip(requests, replies, strict=True)
            missing = [request.ticker for request, reply in pairs if reply is None]
            raise NoBroker(missing, heard, timeout_s)
        return cast(list[RegistrationReply], replies)

    def _all_answered(self, ids: list[str], interrupts: int, timeout_s: float) -> bool:
        """Whether every request has its reply within the time (an interrupt ends the wait)."""
        with self._answered:
            self._answered.wait_for(
                lambda: self._interrupts != interrupts or None not in map(self._replies.get, ids),
                timeout_s,
            )
            return None not in map(self._replies.get, ids)

    def _publish(self, request: RegistrationRequest, deadline: float, interrupts: int) -> bool:
        """Publish until somebody hears it; False if nobody did before the deadline."""
        while not self._publisher.publish(self._channel, request):
            if time.monotonic() + ASK_AGAIN_S > deadline:
                return False
            self._publisher.reconnect()  # nobody hears it there: perhaps Redis has moved
            with self._answered:  # a broker that is just starting will listen soon
                if self._answered.wait_for(lambda: self._interrupts != interrupts, ASK_AGAIN_S):
                    return False
        return True

    def _on_reply(self, reply: object) -> None:
        if not isinstance(reply, RegistrationReply):
            return
        with self._answered:
            if self._replies.get(str(reply.request_id), reply) is None:
                self._replies[str(reply.request_id)] = reply
                self._answered.notify_all()


class LeaseKeeper:
    """Renews a client's leases every third of their length, and at once when a new broker runs.

    Pub/sub forgets what was said while the broker was away: a new epoch in `BROKER_STATUS` is the
    sign to say it again. `on_rejected` is called in the keeper's thread, once per change of a
    ticker's outcome.
    """

    def __init__(
        self,
        client: RegistrationClient,
        tickers: Iterable[str],
        lease_s: int = DEFAULT_LEASE_S,
        data: Sequence[DataKind] | None = None,
        on_rejected: Callable[[RegistrationReply], object] | None = None,
    ) -> None:
        self.tickers = tuple(tickers)
        self._client, self._lease_s, self._data = client, lease_s, data
        self._on_rejected = on_rejected
        self._rejections: dict[str, str | None] = {}
        self._wake = threading.Event()
        self._stopping = False
        self._epoch: int | None = None
        self._thread = threading.Thread(target=self._keep, name="lease-keeper", daemon=True)

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
        self._client.interrupt()
        bus = self._client.subscriber
        bus.unsubscribe(bus.names.BROKER_STATUS, self._on_status)
        if self._thread.ident is not None:
            self._thread.join(timeout_s)
        if unregister:
            try:
                left_s = min(UNREGISTER_S, max(0.1, deadline - time.monotonic()))
                self._client.unregister(self.tickers, left_s)
            except (NoBroker, RedisUnavailable) as error:
                log.warning("lease.not_returned", tickers=self.tickers, error=str(error))
        return not self._thread.is_alive()

    def _keep(self) -> None:
        while not self._stopping:
            self._wake.clear()
            self._wake.wait(self._lease_s / 3 if self._renew() else RETRY_S)

    def _renew(self) -> bool:
        # A broker may take 5 s to learn the outcome.
        timeout_s = min(6.0, max(1.0, self._lease_s / 3))
        try:
            replies = self._client.register(self.tickers, self._lease_s, self._data, timeout_s)
        except (NoBroker, RedisUnavailable) as error:
            log.warning("lease.not_renewed", tickers=self.tickers, error=str(error))
            return False
        for ticker, reply in zip(self.tickers, replies, strict=True):
            self._report(ticker, reply)
        return True

    def _report(self, ticker: str, reply: RegistrationReply) -> None:
        reason = reply.reason if reply.status == "rejected" else None
        changed = self._rejections.get(ticker) != reason
        self._rejections[ticker] = reason
        if reason and changed:
            log.warning("lease.rejected", ticker=ticker, reason=reason, detail=reply.detail)
            if self._on_rejected is not None:
                try:
                    self._on_rejected(reply)
                except Exception:  # user code: it must not end the renewals
                    log.error("lease.callback_raised", ticker=ticker, traceback=plain_traceback())

    def _on_status(self, status: object) -> None:
        if isinstance(status, BrokerStatus) and status.epoch != self._epoch:
            known, self._epoch = self._epoch is not None, status.epoch
            if known:
                self._wake.set()


def _left(deadline: float) -> float:
    """Seconds to a deadline, never below 0."""
    return max(0.0, deadline - time.monotonic())
