"""Pure: the trade-updates conversation. Frames in, requests and outcomes out. No I/O.

Objects, not arrays; JSON, in binary frames on paper. `listen` replaces the whole set, and a stream
that is not available is left out of its acknowledgement without an error: so that is checked.
Source: alpaca-protocol page, section 2.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from .codec import UNREADABLE
from .market_session import Broken, Outcome, Phase, Refused, SignedIn

_STREAM: Final = "trade_updates"
_decode: Final = msgspec.json.Decoder().decode


class TradingSession:
    """One connection's conversation. Its owner sends `outbox` after each call. Not thread-safe."""

    def __init__(self, key: str, secret: str) -> None:
        self.phase = Phase.CONNECTING
        self.outbox: list[bytes] = []
        self.malformed = 0
        self._key, self._secret = key, secret

    def __repr__(self) -> str:
        return f"<TradingSession {self.phase.value}>"

    def sign_in(self) -> None:
        """The client speaks first on this stream."""
        self.phase = Phase.SIGNING_IN
        self._send({"action": "auth", "key": self._key, "secret": self._secret})

    def receive(self, frame: bytes | str) -> tuple[list[Outcome], Mapping[str, Any] | None]:
        """Take in one frame: the outcomes, and the trade update that it carried, if it did."""
        try:
            message = _decode(frame)
        except UNREADABLE:
            message = None
        match message:
            case {"stream": "trade_updates", "data": dict(update)}:
                return [], update
            case {"stream": "trade_updates", "data": None}:
                return [], None  # seen in the wild, and means nothing
            case {"stream": "authorization", "data": dict(data)}:
                return self._receive_authorization(data), None
            case {"stream": "listening", "data": dict(data)}:
                return self._receive_listening(data), None
        self.malformed += 1
        return [], None

    def _receive_authorization(self, data: Mapping[str, Any]) -> list[Outcome]:
        if data.get("status") == "authorized":
            self._send({"action": "listen", "data": {"streams": [_STREAM]}})
            return []
        self.phase = Phase.REFUSED
        return [Refused(code=402, message=str(data.get("message") or "unauthorized"))]

    def _receive_listening(self, data: Mapping[str, Any]) -> list[Outcome]:
        streams = data.get("streams")
        if isinstance(streams, list) and _STREAM in streams:
            self.phase = Phase.READY
            return [SignedIn()]
        return [Broken(code=0, message=f"{_STREAM} is missing from the acknowledged streams")]

    def _send(self, message: Mapping[str, Any]) -> None:
        self.outbox.append(msgspec.json.encode(message))
