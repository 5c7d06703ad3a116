"""One conversation on a market-data stream: sign-in, subscribe, unsubscribe. Pure.

    CONNECTED ──auth──> AUTHENTICATED      a refused auth leaves it CONNECTED (D1; S1 flow.go
        │                     │            sends auth again on the same socket after 406)
        └──────> ENDED <──────┘            auth timeout, or an error that closes

Bytes in, control messages out. The shell frames each message alone, in an array of one.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field
from enum import Enum

from .config import Credentials, StreamRules
from .encoding import Encoding
from .errors import stream_error
from .feeds import Feed
from .subscriptions import SubscriptionError, Subscriptions, read_request

Message = dict[str, object]
CONNECTED_MESSAGE: Message = {"T": "success", "msg": "connected"}
AUTHENTICATED_MESSAGE: Message = {"T": "success", "msg": "authenticated"}


class SessionState(Enum):
    """Where the conversation stands."""

    CONNECTED = "connected"
    AUTHENTICATED = "authenticated"
    ENDED = "ended"


@dataclass
class Turn:
    """What the server says next, and what the shell must do besides."""

    messages: list[Message] = field(default_factory=list)
    acknowledges: bool = False  # the last message is an ack: it may be delayed
    sign_in: bool = False  # the client tried to sign in: its deadline starts anew
    subscribed: bool = False  # the subscriptions have changed
    close: bool = False


class DataSession:
    """The server's side of one connection.

    `admit` is asked at sign-in, once the keys are right: an Alpaca error code refuses
    (406 when the slot is taken, or a fault's code), None lets in.
    """

    def __init__(
        self,
        feed: Feed,
        encoding: Encoding,
        credentials: Credentials,
        rules: StreamRules,
        admit: Callable[[], int | None],
    ) -> None:
        self.feed = feed
        self.encoding = encoding
        self.state = SessionState.CONNECTED
        self.subscriptions = Subscriptions(
            feed, limit=rules.symbol_limit, counts=rules.symbol_limit_counts
        )
        self._credentials = credentials
        self._rules = rules
        self._admit = admit

    @property
    def authenticated(self) -> bool:
        """Whether sign-in has succeeded."""
        return self.state is SessionState.AUTHENTICATED

    def open(self, headers: Mapping[str, str]) -> Turn:
        """The first words, and sign-in by header where there is one."""
        if self.feed.market == "options" and self.encoding.name != "msgpack":
            self.state = SessionState.ENDED
            return Turn([stream_error(412)], close=True)
        turn = Turn([CONNECTED_MESSAGE])
        keys = keys_of_headers(headers)
        if keys is not None:
            answer = self._sign_in(*keys)
            turn.messages += answer.messages
            turn.close = answer.close
        return turn

    def wants_to_subscribe(self, frame: bytes | str) -> bool:
        """Whether this frame is a subscribe (asked only while faults are in force)."""
        try:
            request = self.encoding.decode(frame)
        except ValueError:
            return False
        return isinstance(request, dict) and request.get("action") == "subscribe"

    def receive(self, frame: bytes | str, *, omit: Collection[str] = ()) -> Turn:
        """One frame of the client. `omit`: symbols that a subscribe silently loses (a fault)."""
        try:
            request = self.encoding.decode(frame)
        except ValueError:
            return Turn([stream_error(400)])
        if not isinstance(request, dict):
            return Turn([stream_error(400)])
        match request.get("action"):
            case "auth":
                return self._on_auth(request)
            case "subscribe" | "unsubscribe" as action:
                return self._on_subscription(action, request, omit)
            case _:
                return Turn([stream_error(400)])

    def time_out(self) -> Turn:
        """The deadline for sign-in has passed."""
        if self.state is not SessionState.CONNECTED:
            return Turn()
        self.state = SessionState.ENDED
        return Turn([stream_error(404)], close=True)

    def _on_auth(self, request: Message) -> Turn:
        if self.authenticated:
            return Turn([stream_error(403)])
        return self._sign_in(request.get("key"), request.get("secret"))

    def _sign_in(self, key: object, secret: object) -> Turn:
        code: int | None
        if not self._credentials.matches(key, secret):
            code = 402
        elif self.feed.name in self._rules.refused_feeds:
            code = 409
        else:
            code = self._admit()
        if code is None:
            self.state = SessionState.AUTHENTICATED
            return Turn([AUTHENTICATED_MESSAGE], sign_in=True)
        close = code == 402 and self._rules.close_after_auth_failure
        return Turn([stream_error(code)], sign_in=True, close=close)

    def _on_subscription(self, action: str, request: Message, omit: Collection[str]) -> Turn:
        if not self.authenticated:
            return Turn([stream_error(401)])
        try:
            wanted = {
                channel: [symbol for symbol in symbols if symbol not in omit]
                for channel, symbols in read_request(self.feed, request).items()
            }
            if action == "subscribe":
                self.subscriptions.subscribe(wanted)
            else:
                self.subscriptions.unsubscribe(wanted)
        except SubscriptionError as error:
            return Turn([stream_error(error.code)])
        ack = self.subscriptions.acknowledgement()
        return Turn([ack], acknowledges=True, subscribed=True)


def keys_of_headers(headers: Mapping[str, str]) -> tuple[str, str] | None:
    """The key pair of a request: Alpaca's two headers, or HTTP Basic. None if there is none."""
    key, secret = headers.get("APCA-API-KEY-ID"), headers.get("APCA-API-SECRET-KEY")
    if key is not None or secret is not None:
        return key or "", secret or ""
    scheme, _, rest = headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return "access_token", rest
    if scheme.lower() != "basic":
        return None
    try:
        decoded = base64.b64decode(rest, validate=True).decode()
    except (binascii.Error, UnicodeDecodeError):
        return "", ""
    key, _, secret = decoded.partition(":")
    return key, secret
