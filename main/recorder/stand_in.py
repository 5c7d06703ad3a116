"""A stand-in for the broker on the bus of a replay: answers registrations, and has a heartbeat."""

from __future__ import annotations

import threading
from collections.abc import Collection
from typing import Any, Final

import msgspec

from .. import __version__
from ..utils.redis.constants import BusNames, normalize_ticker
from ..utils.redis.errors import InvalidTicker
from ..utils.redis.messages import (
    BrokerStatus,
    OrderStreamStatus,
    PriceStreamStatus,
    RegistrationReply,
    RegistrationRequest,
    TickerStatus,
    UpstreamStatus,
    now_rfc3339,
)
from ..utils.redis.publisher import RedisPublisher
from ..utils.redis.subscriber import RedisSubscriber

MOST_TICKERS: Final = 200  # in one heartbeat, by the wire contract


class StandIn:
    """Grants every ticker that the recording holds. Any thread may call it."""

    def __init__(
        self, bus: RedisSubscriber, publisher: RedisPublisher, tickers: Collection[str]
    ) -> None:
        self._publisher, self._tickers = publisher, frozenset(tickers)
        self._names: BusNames = bus.names
        self._holders: dict[str, set[str]] = {}
        self._started_at = now_rfc3339()
        self.asked = threading.Event()  # somebody follows a ticker
        own_channels = self._names.BROKER_REGISTRATION + ".*"
        bus.subscribe(self._names.BROKER_REGISTRATION, self._on_shared)
        bus.subscribe(own_channels, self._on_own, decode=lambda channel, body: (channel, body))

    def _on_shared(self, request: Any) -> None:
        self._answer(request, None)

    def _on_own(self, item: tuple[str, bytes]) -> None:
        """In secured mode the channel's name says who asks."""
        channel, body = item
        try:
            request = msgspec.json.decode(body)
        except msgspec.DecodeError:
            return
        self._answer(request, channel.removeprefix(self._names.BROKER_REGISTRATION + "."))

    def _answer(self, asked: Any, client_id: str | None) -> None:
        if isinstance(asked, dict) and isinstance(asked.get("data"), dict):
            asked = {"client_id": asked.get("sender"), **asked["data"]}
        try:
            request = msgspec.convert(asked, RegistrationRequest)
        except msgspec.ValidationError as error:
            self._reply(asked, None, "invalid_request", str(error))
            return
        holder = client_id or request.client_id or ""
        try:
            ticker = normalize_ticker(request.ticker)
        except InvalidTicker as error:
            self._reply(request, holder, "invalid_ticker", str(error))
            return
        if ticker not in self._tickers:
            self._reply(request, holder, "unknown_ticker", "it is not in this recording")
            return
        holders = self._holders.setdefault(ticker, set())
        if request.action == "subscribe":
            holders.add(holder)
            self.asked.set()
        else:
            holders.discard(holder)
        self._reply(request, holder, None, None, len(holders))

    def _reply(
        self,
        request: Any,
        client_id: str | None,
        reason: str | None,
        detail: str | None,
        holders: int = 0,
    ) -> None:
        known = request if isinstance(request, RegistrationRequest) else None
        reply = RegistrationReply(
            action=known.action if known else None,
            ticker=known.ticker if known else None,
            client_id=client_id or None,
            request_id=known.request_id if known else None,
            status="rejected" if reason else "accepted",
            reason=reason,
            detail=detail,
            holders=holders,
            timestamp=now_rfc3339(),
        )
        self._publisher.publish(self._names.BROKER_REGISTRATION_REPLIES, reply)

    def heartbeat(self, epoch: int, seqs: dict[str, int], state: str = "RUNNING") -> BrokerStatus:
        """What the broker would say: `seqs` are the last numbers that were published."""
        now = now_rfc3339()
        few = len(seqs) <= MOST_TICKERS
        return BrokerStatus(
            epoch=epoch,
            state=state,
            account_id=None,
            paper=True,
            timestamp=now,
            started_at=self._started_at,
            version=f"{__version__} replay",
            upstream=UpstreamStatus(
                prices=PriceStreamStatus(state="LIVE", since=self._started_at, symbols=len(seqs)),
                orders=OrderStreamStatus(state="LIVE", since=self._started_at, ready=True),
            ),
            tickers={symbol: TickerStatus(seq=seq, state="LIVE") for symbol, seq in seqs.items()}
            if few
            else msgspec.UNSET,
            counters={},
            journal={},
        )
