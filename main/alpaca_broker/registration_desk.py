"""Between the registration channel and the thread that carries requests out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from ..utils.redis.errors import RedisUnavailable
from ..utils.redis.messages import RegistrationReply
from .rate_limit import RateLimiter
from .registration_requests import read_request

if TYPE_CHECKING:
    from .broker import AlpacaBroker

log: Final = structlog.get_logger("tickerbus.broker")


class RegistrationDesk:
    """`take_in` and `ignore_unsecured` are for the registration subscriber, `reply` for any
    thread."""

    def __init__(self, broker: AlpacaBroker) -> None:
        self._broker = broker
        self._limiter = RateLimiter()

    def take_in(self, payload: bytes, client_id: str | None) -> None:
        """One message: answered at once if it is none, else queued."""
        request = read_request(payload, client_id)
        admitted = self._limiter.admits(request.client_id or "")
        if isinstance(request, RegistrationReply):
            self._broker.counters["registrations_invalid"] += 1
            if not admitted:
                return  # a flood of nonsense gets neither a log line nor an answer for each
            log.warning("registration.invalid", reason=request.reason, detail=request.detail)
            self.reply(request)
            return
        self._broker.counters["registrations"] += 1
        registration = self._broker.need_parts().registration
        if not admitted:
            self._broker.counters["registrations_limited"] += 1
            self.reply(request.rejected("rate_limited", "too many requests of this client"))
        elif registration is None or not registration.put(request):
            self.reply(request.rejected("rate_limited", "too many requests wait"))

    def ignore_unsecured(self, _message: object) -> None:
        """In secured mode nobody is served on the shared channel: who asks there may be anybody."""
        if not self._broker.counters["registrations_unsecured"]:
            log.warning("registration.shared_channel_ignored", setting="REGISTRATION_SECURED")
        self._broker.counters["registrations_unsecured"] += 1

    def reply(self, reply: RegistrationReply) -> None:
        parts = self._broker.need_parts()
        try:
            parts.publisher.publish(parts.names.BROKER_REGISTRATION_REPLIES, reply)
        except RedisUnavailable as error:
            log.error("registration.reply_not_sent", ticker=reply.ticker, error=str(error))
