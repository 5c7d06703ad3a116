"""The bus's errors: whose fault, and what next. Never branch on an error's text."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import hiredis

if TYPE_CHECKING:
    from .messages import RegistrationReply


class BusError(Exception):
    """The root of the bus's errors. `retry` says whether the same call may succeed later."""

    retry = False


class InvalidTicker(BusError, ValueError):
    """A ticker that cannot name a channel."""

    def __init__(self, ticker: object, suggestion: str | None = None) -> None:
        self.ticker, self.suggestion = ticker, suggestion
        hint = (
            f"did you mean {suggestion}?" if suggestion else "expected e.g. AAPL, BRK.B or BTC/USD"
        )
        super().__init__(f"{str(ticker)[:40]!r} is not a ticker: {hint}")


class InvalidClientId(BusError, ValueError):
    """A name that no client can have."""

    def __init__(self, client_id: object) -> None:
        self.client_id = client_id
        super().__init__(
            f"{str(client_id)[:40]!r} is not a client_id: 1 to 64 letters, digits and _ @ . -"
        )


class RedisUnavailable(BusError):
    """Redis did not answer in time, or not at all."""

    retry = True

    def __init__(self, address: str, cause: BaseException | str) -> None:
        self.address, self.cause = address, cause
        super().__init__(f"Redis at {address} is not available: {_plain(cause)}")

    @property
    def nobody_there(self) -> bool:
        """Nothing listens at that address, or there is no such name: it is wrong, or none runs."""
        nobody = ConnectionRefusedError | socket.gaierror
        return any(isinstance(error, nobody) for error in _met(self.cause))


class RedisUnsuitable(BusError):
    """This Redis, or this user on it, cannot carry the bus. `problems` names every lack at once."""

    def __init__(self, address: str, problems: list[str]) -> None:
        self.address, self.problems = address, problems
        listed = "\n".join(f"  - {problem}" for problem in problems)
        super().__init__(f"Redis at {address} cannot carry the bus:\n{listed}")


class Fenced(BusError):
    """Another run of the broker owns the epoch: this one must publish nothing more."""

    def __init__(self, mine: int, theirs: str) -> None:
        self.mine, self.theirs = mine, theirs
        super().__init__(f"epoch {mine} was superseded by {theirs}: another broker is publishing")


class Abandoned(BusError):
    """Stopped while a batch could not be written. `messages` were not confirmed by Redis; those of
    an earlier one are not counted again."""

    def __init__(self, messages: int) -> None:
        self.messages = messages
        super().__init__(f"stopped with {messages} messages that Redis did not confirm")


class IllegalUse(BusError, RuntimeError):
    """The call does not fit the state of its object; nothing was changed."""


class NotPermitted(RedisUnavailable):
    """Redis refuses the channel to this user: an ACL rule is missing."""

    retry = False

    def __init__(self, address: str, channel: str, cause: BaseException) -> None:
        super().__init__(address, cause)
        self.channel = channel
        self.args = (f"Redis at {address} refuses {channel}: {cause}",)


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


class RegistrationRejected(BusError):
    """The broker will not follow a ticker for this client. `reason` is the broker's own word.

    With several tickers at once `replies` holds them all; `ticker`, `reason` and `detail` are the
    first one's.
    """

    def __init__(self, replies: Sequence[RegistrationReply]) -> None:
        self.replies = tuple(replies)
        first = self.replies[0]
        self.ticker, self.reason, self.detail = first.ticker, first.reason, first.detail
        super().__init__("; ".join(map(_rejection, self.replies)))


def _rejection(reply: RegistrationReply) -> str:
    detail = f": {reply.detail}" if reply.detail else ""
    return f"{reply.ticker} is not followed, {reply.reason}{detail}"


def _met(cause: BaseException | str | None) -> Iterator[BaseException]:
    """The error, and those that it came from."""
    while isinstance(cause, BaseException):
        yield cause
        cause = cause.__cause__ or (None if cause.__suppress_context__ else cause.__context__)


def _plain(cause: BaseException | str) -> str:
    """What happened, in words. Which errno a library met on the way helps nobody."""
    import redis

    for error in _met(cause):
        for kind, words in (
            (ConnectionRefusedError, "nobody listens there"),
            (socket.gaierror, "no address is known for that name"),
            (TimeoutError, "no answer in time"),
            ((hiredis.ProtocolError, redis.InvalidResponse), "who answers there is no Redis"),
        ):
            if isinstance(error, kind):
                return words
    return str(cause).rstrip(".")
