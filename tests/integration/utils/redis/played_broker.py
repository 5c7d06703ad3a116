"""A broker that is played by a handler: it answers registrations, and says what it was asked."""

from __future__ import annotations

from collections import Counter
from typing import Any

from main.utils.redis.constants import CHANNELS
from main.utils.redis.messages import RegistrationReply, now_rfc3339
from main.utils.redis.publisher import RedisPublisher
from main.utils.redis.subscriber import RedisSubscriber


class PlayedBroker:
    """Accepts every request, but refuses BAD, and what `refuses` names, and never answers DUMB.

    Of its next answers `loses` many never arrive.
    """

    def __init__(self, bus: RedisSubscriber, publisher: RedisPublisher) -> None:
        self.requests: list[dict[str, Any]] = []
        self.refuses: dict[str, str] = {"BAD": "unknown_ticker"}  # ticker: reason
        self.loses = 0
        self._publisher = publisher
        bus.subscribe(CHANNELS.BROKER_REGISTRATION, self.answer)
        bus.subscribe(CHANNELS.BROKER_REGISTRATION + ".*", self.answer)
        bus.start_listening()

    def answer(self, request: dict[str, Any]) -> None:
        self.requests.append(request)
        if request["ticker"] == "DUMB":
            return
        if self.loses:
            self.loses -= 1
            return
        reason = self.refuses.get(request["ticker"])
        if reason == "insufficient_subscription" and "quotes" not in request.get("data", ()):
            reason = None  # it is the quotes that the plan lacks
        reply = RegistrationReply(
            action=request["action"],
            ticker=request["ticker"],
            client_id=request.get("client_id"),
            request_id=request.get("request_id"),
            status="rejected" if reason else "accepted",
            reason=reason,
            detail=None,
            holders=0 if reason else 1,
            timestamp=now_rfc3339(),
        )
        self._publisher.publish(CHANNELS.BROKER_REGISTRATION_REPLIES, reply)

    def announce(self, epoch: int, *, orders_ready: bool = True, **more: Any) -> None:
        """One heartbeat, with `more` fields."""
        status = {
            "type": "broker_status",
            "epoch": epoch,
            "state": "RUNNING",
            "account_id": None,
            "paper": True,
            "timestamp": now_rfc3339(),
            "started_at": now_rfc3339(),
            "version": "1",
            "upstream": {
                "prices": {"state": "LIVE", "since": now_rfc3339(), "reason": None},
                "orders": {
                    "state": "LIVE",
                    "since": now_rfc3339(),
                    "reason": None,
                    "ready": orders_ready,
                },
            },
            "counters": {},
            "journal": {},
            **more,
        }
        self._publisher.publish(CHANNELS.BROKER_STATUS, status)

    def asked(self) -> Counter[tuple[str, str]]:
        return Counter((request["action"], request["ticker"]) for request in self.requests)
