"""Pure: the market-data conversation. Control messages in, requests and outcomes out. No I/O.

    CONNECTING ─ "connected" → SIGNING_IN ─ "authenticated" → READY
                                  │ 406: the slot is taken; sign in again on the same socket
                                  └ 402, 409, …: REFUSED

Subscribing is additive, and every acknowledgement lists all that is followed. One request is in
flight at a time, of at most 100 symbols: larger ones were seen to be answered in part, and ones
sent back to back to be lost. A 400 or 405 voids a whole request, so one that fails is halved until
the symbol that it failed for stands alone. Source: alpaca-protocol page, 1.2, 1.5 and 1.6.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any, Final, Literal, TypeAlias

import msgspec

from .errors import Remedy, remedy_for

MAX_SYMBOLS_PER_REQUEST: Final = 100
CHANNELS: Final = ("trades", "quotes", "bars", "statuses")
# Asked for besides what a client wants; feeds that lack it (test) leave it out of their answer.
OPTIONAL_CHANNELS: Final = frozenset({"statuses"})

Subscriptions: TypeAlias = Mapping[str, frozenset[str]]  # symbol -> channels


class Phase(Enum):
    CONNECTING = "connecting"
    SIGNING_IN = "signing_in"
    READY = "ready"
    REFUSED = "refused"


@dataclass(frozen=True, kw_only=True)
class Change:
    """One request: `symbols` to follow or leave on `channels`."""

    action: Literal["subscribe", "unsubscribe"]
    symbols: tuple[str, ...]
    channels: frozenset[str]
    tag: object = field(default=None, compare=False)  # whose request it was part of


@dataclass(frozen=True)
class SignedIn:
    """Subscriptions may be sent."""


@dataclass(frozen=True)
class SlotTaken:
    """406: another connection holds the only slot. Sign in again later, on the same socket."""


@dataclass(frozen=True, kw_only=True)
class Refused:
    """Asking again cannot help."""

    code: int
    message: str


@dataclass(frozen=True, kw_only=True)
class Broken:
    """The conversation is out of step or the server failed: reconnect."""

    code: int
    message: str


@dataclass(frozen=True, kw_only=True)
class Acknowledged:
    """A change is in force; `missing` are symbols that the acknowledgement does not show."""

    change: Change
    missing: frozenset[str]


@dataclass(frozen=True, kw_only=True)
class ChangeRejected:
    """Alpaca will not follow this one symbol."""

    change: Change
    code: int
    message: str


Outcome: TypeAlias = SignedIn | SlotTaken | Refused | Broken | Acknowledged | ChangeRejected


class MarketSession:
    """One connection's conversation. Its owner sends `outbox` after each call. Not thread-safe."""

    def __init__(self, key: str, secret: str) -> None:
        self.phase = Phase.CONNECTING
        self.outbox: list[bytes] = []
        self.acknowledged: dict[str, set[str]] = {}
        self._key, self._secret = key, secret
        self._waiting: deque[Change] = deque()
        self._in_flight: Change | None = None

    def __repr__(self) -> str:
        return f"<MarketSession {self.phase.value}>"

    @property
    def settled(self) -> bool:
        """Nothing waits for an acknowledgement."""
        return self._in_flight is None and not self._waiting

    def sign_in(self) -> None:
        """Send the keys (again, after a 406)."""
        self.phase = Phase.SIGNING_IN
        self._send({"action": "auth", "key": self._key, "secret": self._secret})

    def request(
        self,
        action: Literal["subscribe", "unsubscribe"],
        subscriptions: Subscriptions,
        tag: object = None,
    ) -> int:
        """Queue a change, cut into requests; returns into how many symbols it was cut."""
        by_channels: dict[frozenset[str], list[str]] = {}
        for symbol, channels in subscriptions.items():
            if channels:
                by_channels.setdefault(channels, []).append(symbol)
        for channels, symbols in by_channels.items():
            for start in range(0, len(symbols), MAX_SYMBOLS_PER_REQUEST):
                chunk = tuple(symbols[start : start + MAX_SYMBOLS_PER_REQUEST])
                self._waiting.append(
                    Change(action=action, symbols=chunk, channels=channels, tag=tag)
                )
        self._send_next()
        return sum(len(symbols) for symbols in by_channels.values())

    def receive(self, control: Mapping[str, Any]) -> list[Outcome]:
        """Take in one control message."""
        match control:
            case {"T": "success", "msg": "connected"} if self.phase is Phase.CONNECTING:
                self.sign_in()
                return []
            case {"T": "success", "msg": "authenticated"}:
                self.phase = Phase.READY
                self._send_next()
                return [SignedIn()]
            case {"T": "subscription"}:
                return self._receive_acknowledgement(control)
            case {"T": "error"}:
                code, message = control.get("code"), str(control.get("msg", ""))
                return self._receive_error(code if isinstance(code, int) else 0, message)
        return []

    def _receive_acknowledgement(self, control: Mapping[str, Any]) -> list[Outcome]:
        self.acknowledged = {
            channel: set(symbols)
            for channel, symbols in control.items()
            if channel in CHANNELS and isinstance(symbols, list)
        }
        change, self._in_flight = self._in_flight, None
        self._send_next()
        if change is None:
            return []
        if change.action == "unsubscribe":
            return [Acknowledged(change=change, missing=frozenset())]
        needed = change.channels - OPTIONAL_CHANNELS
        shown = [self.acknowledged.get(channel, set()) for channel in needed]
        missing = frozenset(
            symbol for symbol in change.symbols if not all(symbol in seen for seen in shown)
        )
        return [Acknowledged(change=change, missing=missing)]

    def _receive_error(self, code: int, message: str) -> list[Outcome]:
        if code == 406 and self.phase is not Phase.READY:
            return [SlotTaken()]
        remedy = remedy_for(code)
        if remedy is Remedy.GIVE_UP:
            self.phase = Phase.REFUSED
            return [Refused(code=code, message=message)]
        if remedy is not Remedy.REQUEST:
            return [Broken(code=code, message=message)]
        if code == 403:
            return []
        return self._reject_in_flight(code, message)

    def _reject_in_flight(self, code: int, message: str) -> list[Outcome]:
        change, self._in_flight = self._in_flight, None
        if change is None:
            return [Broken(code=code, message=message)]
        if len(change.symbols) == 1:
            self._send_next()
            return [ChangeRejected(change=change, code=code, message=message)]
        middle = len(change.symbols) // 2
        for half in (change.symbols[middle:], change.symbols[:middle]):
            self._waiting.appendleft(replace(change, symbols=half))
        self._send_next()
        return []

    def _send_next(self) -> None:
        if self.phase is not Phase.READY or self._in_flight or not self._waiting:
            return
        change = self._in_flight = self._waiting.popleft()
        symbols = list(change.symbols)
        self._send({"action": change.action} | dict.fromkeys(sorted(change.channels), symbols))

    def _send(self, message: Mapping[str, Any]) -> None:
        self.outbox.append(msgspec.msgpack.encode(message))
