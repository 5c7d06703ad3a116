"""Is Alpaca's only market-data connection free, ours, or somebody else's?

A running broker says so itself, in its heartbeat: it is never disturbed. Without one nobody can
know without trying, and trying is only done when asked for (`--probe`): sign in, and leave properly
at once. A connection that somebody else holds is not disturbed by that either: Alpaca refuses the
newcomer (406).
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from typing import Final

from websockets.exceptions import InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from ..alpaca_broker.codec import decode_control
from ..alpaca_broker.market_session import (
    Broken,
    MarketSession,
    Outcome,
    Refused,
    SignedIn,
    SlotTaken,
)
from ..utils.redis.messages import BrokerStatus
from .alpaca_facts import explain
from .findings import Notebook

TIMEOUT_S: Final = 4.0
TAKEN: Final = "406"
FIND_IT: Final = (
    "end the program that holds it (another broker, a notebook, a bot that streams with alpaca-py "
    "and these keys); one that was killed holds it for about 90 s more"
)


@dataclass(frozen=True, kw_only=True)
class Endpoint:
    """The stock stream that the broker would use."""

    url: str
    key: str = field(repr=False)
    secret: str = field(repr=False)


def judge_connection(
    notebook: Notebook, heard: BrokerStatus | None, endpoint: Endpoint, *, probe: bool
) -> None:
    """From the heartbeat if there is one; else, if asked for, by a sign-in."""
    if heard is not None:
        _judge_heard(notebook, heard, probe)
    elif probe:
        _judge_probe(notebook, endpoint)
    else:
        notebook.note(
            "connection",
            "no broker runs here, and whether Alpaca's connection is free was not tried",
            "tickerbus doctor --probe signs in for a moment, and leaves",
        )


def _judge_heard(notebook: Notebook, heard: BrokerStatus, probe: bool) -> None:
    prices = heard.upstream.prices
    if TAKEN in (prices.reason or "") and prices.state != "LIVE":
        notebook.error(
            "connection_taken",
            f"another program holds Alpaca's connection: the broker is told {prices.reason}",
            FIND_IT,
        )
    elif prices.state in ("DOWN", "CONNECTING"):
        notebook.warn(
            "connection",
            f"the running broker has no connection now: {prices.reason or prices.state}",
            "it goes on trying; see its log",
        )
    elif prices.state == "REFUSED":
        notebook.error("connection", f"Alpaca refuses it: {prices.reason}", "see keys and feed")
    else:
        untried = "; not probed, so as not to disturb it" if probe else ""
        notebook.fine("connection", f"the running broker holds it ({prices.state}){untried}")


def _judge_probe(notebook: Notebook, endpoint: Endpoint) -> None:
    try:
        outcome = _sign_in(endpoint)
    except InvalidStatus as error:
        status = error.response.status_code
        often = "too many handshakes: wait a minute" if status == 429 else "check the feed's URL"
        notebook.error("connection", f"HTTP {status} at {endpoint.url}", often)
        return
    except (OSError, WebSocketException) as error:
        trouble, hint = explain(error, endpoint.url)
        notebook.error("connection", trouble, hint)
        return
    match outcome:
        case SignedIn():
            notebook.fine("connection", "free: the probe signed in, and has left")
        case SlotTaken():
            notebook.error(
                "connection_taken", "another program holds Alpaca's connection (406)", FIND_IT
            )
        case Refused(code=409):
            notebook.error(
                "feed",
                f"the plan does not include this stream (409 at {endpoint.url})",
                "set ALPACA_DATA_FEED=iex, which every plan has",
            )
        case Refused(code=code, message=message) | Broken(code=code, message=message):
            notebook.error(
                "sign_in", f"Alpaca refuses the sign-in: {code} {message}", "check the keys"
            )
        case _:
            notebook.error(
                "connection",
                f"{endpoint.url} does not answer the sign-in within {TIMEOUT_S:.0f} s",
                "check ALPACA_DATA_STREAM_URL; then Alpaca's status page",
            )


def _sign_in(endpoint: Endpoint) -> Outcome | None:
    """What came of it; None without an answer in time. The connection is closed properly.

    Raises:
        OSError, WebSocketException: it was not reached.
    """
    deadline = time.monotonic() + TIMEOUT_S
    with connect(
        endpoint.url,
        additional_headers={"Content-Type": "application/msgpack"},
        open_timeout=TIMEOUT_S,
        close_timeout=2,
        compression=None,
    ) as socket:
        return _converse(socket, MarketSession(endpoint.key, endpoint.secret), deadline)


def _converse(socket: ClientConnection, session: MarketSession, deadline: float) -> Outcome | None:
    while (left_s := deadline - time.monotonic()) > 0:
        try:
            control = decode_control(socket.recv(timeout=left_s))
        except TimeoutError:
            return None
        outcomes = session.receive(control) if control is not None else []
        if outcomes:
            return outcomes[0]
        for message in session.outbox:
            socket.send(message)
        session.outbox.clear()
    return None
