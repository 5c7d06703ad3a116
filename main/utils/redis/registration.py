"""Asking the broker to follow tickers; `LeaseKeeper` keeps what was granted."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Final, Literal, cast

from .config import RedisConfig
from .constants import DEFAULT_LEASE_S
from .errors import NoBroker
from .leases import DataKind, LeaseKeeper
from .messages import RegistrationReply, RegistrationRequest
from .publisher import RedisPublisher
from .subscriber import RedisSubscriber

__all__ = ["DataKind", "LeaseKeeper", "NoBroker", "RegistrationClient"]

ASK_AGAIN_S: Final = 0.25  # while nobody listens
SILENCE_S: Final = 1.5  # after so long without a reply it is asked again


class RegistrationClient:
    """Registers and unregisters tickers, and waits for the broker's replies. Any thread may call.

    `client_id=None` is anonymous: all anonymous clients count as one holder, without a lease.
    With `secured` it asks on its own channel, `BROKER_REGISTRATION.<client_id>`. A `subscriber`
    that listens already may hear the replies, and stays open; otherwise it has its own.
    """

    def __init__(
        self,
        config: RedisConfig,
        client_id: str | None,
        *,
        secured: bool = False,
        subscriber: RedisSubscriber | None = None,
    ) -> None:
        """Connect, and listen for replies.

        Raises:
            RedisUnavailable: nobody answers there, or refuses us.
            ValueError: `secured` without a `client_id`.
        """
        if secured and client_id is None:
            raise ValueError("secured registration needs a client_id")
        self.client_id = client_id
        self._shares_subscriber = subscriber is not None
        self.subscriber = subscriber or RedisSubscriber(config)
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
        try:
            self.subscriber.subscribe(names.BROKER_REGISTRATION_REPLIES, self._on_reply)
            if not self._shares_subscriber:
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
        if self._shares_subscriber:
            replies = self.subscriber.names.BROKER_REGISTRATION_REPLIES
            self.subscriber.unsubscribe(replies, self._on_reply)
        else:
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


def _left(deadline: float) -> float:
    """Seconds to a deadline, never below 0."""
    return max(0.0, deadline - time.monotonic())
