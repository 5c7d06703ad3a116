"""One conversation on the trading stream, without the socket. Pure.

The protocol is Alpaca's `/stream` (protocol page, section 2): objects, not arrays; both forms of
signing in; `listen` replaces what was listened to; streams that do not exist are left out of the
acknowledgement without a word.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, cast

import msgspec

from .config import Credentials

Encoding = Literal["json", "msgpack"]

_STREAMS = ("trade_updates",)
# Enough for any request of this protocol.
_MAX_REQUEST = 64 * 1024


class TradingSession:
    """Takes a client's frames, gives the frames to send back.

    `close_after_send` says that the connection is to be closed once these are sent.
    """

    def __init__(self, credentials: Credentials, *, encoding: str) -> None:
        if encoding not in {"json", "msgpack"}:
            raise ValueError(f"encoding must be 'json' or 'msgpack', not {encoding!r}")
        self._credentials = credentials
        self._encoding = cast(Encoding, encoding)
        self._listens: tuple[str, ...] = ()
        self.authenticated = False
        self.close_after_send = False

    @property
    def listens(self) -> tuple[str, ...]:
        """The streams that were acknowledged last."""
        return self._listens

    def sign_in_by_header(self, key_id: str | None, secret: str | None) -> None:
        """Sign in with the headers of the upgrade request; wrong ones change nothing."""
        if self._credentials.matches(key_id, secret):
            self.authenticated = True

    def receive(self, frame: bytes | str) -> list[bytes]:
        """The answers to one frame of the client."""
        request = self._decode(frame)
        if request is None:
            return [self._fault("invalid syntax")]
        action = request.get("action")
        if action in {"auth", "authenticate"}:
            return [self._sign_in(request)]
        if action == "listen":
            return [self._listen(request)]
        return [self._fault("invalid action")]

    def offer(self, event: Mapping[str, object] | None) -> bytes | None:
        """The frame of one trade update, or None for a client that does not listen.

        `None` as the event gives the `{"data": null}` that has been seen.
        """
        if "trade_updates" not in self._listens:
            return None
        return self._encode({"stream": "trade_updates", "data": event})

    def _sign_in(self, request: Mapping[str, object]) -> bytes:
        key_id, secret = _credentials_in(request)
        if self._credentials.matches(key_id, secret):
            self.authenticated = True
            return self._authorization("authorized", "authenticate")
        self.authenticated = False
        self._listens = ()
        self.close_after_send = True
        return self._authorization("unauthorized", "authenticate")

    def _listen(self, request: Mapping[str, object]) -> bytes:
        if not self.authenticated:
            return self._authorization("unauthorized", "listen")
        wanted = _part(request, "data").get("streams")
        if not isinstance(wanted, list):
            return self._fault("invalid syntax")
        self._listens = tuple(stream for stream in _STREAMS if stream in wanted)
        return self._encode({"stream": "listening", "data": {"streams": list(self._listens)}})

    def _authorization(self, status: str, action: str) -> bytes:
        answer = {"status": status, "action": action}
        return self._encode({"stream": "authorization", "data": answer})

    def _fault(self, message: str) -> bytes:
        return self._encode({"stream": "error", "data": {"error": message}})

    def _encode(self, message: object) -> bytes:
        if self._encoding == "msgpack":
            return msgspec.msgpack.encode(message)
        return msgspec.json.encode(message)

    def _decode(self, frame: bytes | str) -> Mapping[str, object] | None:
        """The object in a frame. Text is JSON always; bytes are what was agreed upon."""
        if len(frame) > _MAX_REQUEST:
            return None
        try:
            decoded: object
            if self._encoding == "msgpack" and isinstance(frame, bytes):
                decoded = msgspec.msgpack.decode(frame)
            else:
                decoded = msgspec.json.decode(frame)
        except (msgspec.DecodeError, UnicodeError, RecursionError):
            return None
        return decoded if isinstance(decoded, dict) else None


def _part(request: Mapping[str, object], name: str) -> Mapping[str, object]:
    part = request.get(name)
    return part if isinstance(part, dict) else {}


def _credentials_in(request: Mapping[str, object]) -> tuple[object, object]:
    """Key and secret of either form: beside the action, or under `data`."""
    data = _part(request, "data")
    if "key_id" in data or "secret_key" in data:
        return data.get("key_id"), data.get("secret_key")
    return request.get("key"), request.get("secret")
