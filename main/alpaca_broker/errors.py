"""Alpaca's error codes, and for each: retry, wait, or give up. And the broker's own errors.

Source: Alpaca's streaming pages; the codes of 402, 409, 410 and 411 never heal by themselves.
"""

from __future__ import annotations

from enum import Enum
from typing import Final


class Remedy(Enum):
    """What to do about an upstream error."""

    RETRY = "retry"  # reconnect soon
    WAIT = "wait"  # somebody holds our slot, or we ask too often: back off, keep asking
    GIVE_UP = "give_up"  # asking again cannot help: stop, and say so
    REQUEST = "request"  # only this one request was wrong; the connection is fine


STREAM_ERRORS: Final[dict[int, Remedy]] = {
    400: Remedy.REQUEST,  # invalid syntax, or one symbol of the frame in an invalid format
    401: Remedy.GIVE_UP,  # not authenticated
    402: Remedy.GIVE_UP,  # auth failed
    403: Remedy.REQUEST,  # already authenticated: harmless
    404: Remedy.RETRY,  # auth timeout
    405: Remedy.REQUEST,  # symbol limit exceeded: the whole request is void
    406: Remedy.WAIT,  # connection limit exceeded: a dead connection holds its slot for about 90 s
    407: Remedy.RETRY,  # slow client
    409: Remedy.GIVE_UP,  # insufficient subscription: the plan lacks this feed
    410: Remedy.REQUEST,  # invalid subscribe action for this feed
    411: Remedy.GIVE_UP,  # insufficient scope
    412: Remedy.GIVE_UP,  # option messages only in MessagePack
    413: Remedy.REQUEST,  # star subscription not allowed
    500: Remedy.RETRY,  # internal error
}


def remedy_for(code: int) -> Remedy:
    """The remedy for an error message of the stream; an unknown code is worth another try."""
    return STREAM_ERRORS.get(code, Remedy.RETRY)


def remedy_for_handshake(http_status: int) -> Remedy:
    """The remedy for an HTTP answer other than 101 to the websocket handshake."""
    if http_status == 429:
        return Remedy.WAIT
    if http_status in (401, 402, 403):
        return Remedy.GIVE_UP
    return Remedy.RETRY


class BrokerError(Exception):
    """The root of the broker's errors. `exit_code` is what the command line ends with."""

    exit_code = 1


class BrokerRefused(BrokerError):
    """Alpaca refuses these keys or this feed: asking again cannot help."""

    exit_code = 3


class BrokerNotReady(BrokerError):
    """Something that the broker needs is missing; the message says what and what to do."""

    exit_code = 2


class IllegalTransition(BrokerError, RuntimeError):
    """A call that does not fit the state. Nothing was changed."""

    def __init__(self, subject: str, state: str, wanted: str) -> None:
        self.subject, self.state, self.wanted = subject, state, wanted
        super().__init__(f"{subject} is {state}: it cannot become {wanted} from there")


class ThreadsStillRunning(BrokerError):
    """Threads that did not end within their deadline; the names say which."""

    def __init__(self, names: list[str], deadline_s: float) -> None:
        self.names = names
        super().__init__(f"still running after {deadline_s:.1f} s: {', '.join(names)}")
