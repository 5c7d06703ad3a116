"""How a person's command reaches a running scale_t, and its answer comes back.

Over Redis, on two channels of the client: `CONSUMER_CONTROL.<client_id>` carries requests,
`CONSUMER_CONTROL_REPLIES.<client_id>` the answers, one of each scale_t that was meant. Who may
publish on the first may stop the trade: Redis ACL rules bind both to the client's user.

request: {"request_id", "command", "ticker" (null: every one of the client), "arguments": {…}}
reply:   {"type": "control_reply", "request_id", "client_id", "ticker", "ok", "words", "state": {…}}
"""

from __future__ import annotations

import contextlib
import threading
import time
import uuid
from collections.abc import Callable
from typing import Any, Final, Literal, TypeAlias

import msgspec
import redis
import structlog

from ..utils.redis.config import RedisConfig
from ..utils.redis.constants import BusNames
from ..utils.redis.errors import BusError, NotPermitted
from ..utils.redis.publisher import RedisPublisher
from ..utils.redis.subscriber import RedisSubscriber

log: Final = structlog.get_logger("tickerbus.scale_t")

Command: TypeAlias = Literal["status", "pause", "resume", "stop", "flatten", "update", "price"]
REPLY_S: Final = 3.0
MORE_REPLIES_S: Final = 0.5  # after the first one, for those of other tickers


class ControlRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What a person asks. `ticker` None: every ladder of this client."""

    request_id: str
    command: Command
    ticker: str | None = None
    arguments: dict[str, Any] = {}


class ControlReply(msgspec.Struct, frozen=True, kw_only=True, tag="control_reply"):
    """`words` are for the person; `state` is the ladder as it is now (`status.py`)."""

    request_id: str
    client_id: str
    ticker: str
    ok: bool
    words: str
    state: dict[str, Any]


class ControlPort:
    """A running scale_t's end: hears requests for its ticker, and answers."""

    def __init__(
        self,
        bus: RedisSubscriber,
        config: RedisConfig,
        client_id: str,
        ticker: str,
        on_request: Callable[[ControlRequest], object],
    ) -> None:
        self._client_id, self._ticker, self._on_request = client_id, ticker, on_request
        self._names = BusNames(config.bus_prefix)
        self._publisher = RedisPublisher(config)
        try:
            bus.subscribe(self._names.get_control_channel(client_id), self._hear)
        except NotPermitted as error:
            log.warning("scale_t.no_commands", reason=str(error), then="tickerbus acl strategy")

    def answer(self, request: ControlRequest, ok: bool, words: str, state: dict[str, Any]) -> None:
        """A Redis that is away costs a second, and the answer."""
        reply = ControlReply(
            request_id=request.request_id,
            client_id=self._client_id,
            ticker=self._ticker,
            ok=ok,
            words=words,
            state=state,
        )
        try:
            self._publisher.publish(self._names.get_control_replies_channel(self._client_id), reply)
        except BusError as error:
            log.warning("scale_t.reply_not_sent", reason=str(error))

    def close(self) -> None:
        self._publisher.close()

    def _hear(self, message: object) -> None:
        try:
            request = msgspec.convert(message, ControlRequest)
        except msgspec.ValidationError as error:
            log.warning("scale_t.request_not_understood", reason=str(error))
            return
        if request.ticker in (None, self._ticker):
            self._on_request(request)


def ask(
    config: RedisConfig,
    client_id: str,
    ticker: str | None,
    command: Command,
    arguments: dict[str, Any] | None = None,
    timeout_s: float = REPLY_S,
) -> list[ControlReply]:
    """Send a request and gather the answers: none if nobody of that name runs.

    Raises:
        RedisUnavailable: Redis does not answer, or does not allow it.
    """
    names = BusNames(config.bus_prefix)
    request = ControlRequest(
        request_id=uuid.uuid4().hex, command=command, ticker=ticker, arguments=arguments or {}
    )
    replies: list[ControlReply] = []
    heard = threading.Event()

    def hear(message: object) -> None:
        try:
            reply = msgspec.convert(message, ControlReply)
        except msgspec.ValidationError:
            return
        if reply.request_id == request.request_id:
            replies.append(reply)
            heard.set()

    with RedisSubscriber(config) as bus, RedisPublisher(config) as publisher:
        bus.subscribe(names.get_control_replies_channel(client_id), hear)
        bus.start_listening()
        hearers = publisher.publish(names.get_control_channel(client_id), request)
        if hearers and heard.wait(timeout_s) and ticker is None:
            time.sleep(MORE_REPLIES_S)
    return sorted(replies, key=lambda reply: reply.ticker)


def who_hears(config: RedisConfig) -> list[str]:
    """The clients that hear commands now, as far as this user may ask for them."""
    prefix = BusNames(config.bus_prefix).get_control_channel("")
    with contextlib.closing(config.client()) as client:
        try:
            channels: Any = client.pubsub_channels(f"{prefix}*")
        except redis.RedisError:
            return []
    return sorted(channel.decode().removeprefix(prefix) for channel in channels)
