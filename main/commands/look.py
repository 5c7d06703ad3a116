"""`watch` and `status`: what comes through the bus, as a person reads it."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import ExitStack
from typing import Annotated, Any, Final

import typer

from ..demo import client_id_of
from ..heartbeat import SILENCE_S, next_heartbeat
from ..settings import Settings
from ..utils.redis.registration import LeaseKeeper, RegistrationClient
from ..utils.redis.subscriber import RedisSubscriber
from ..wording import describe, describe_account
from .common import (
    Interruption,
    Mistake,
    TickerArguments,
    console,
    ended_by_signals,
    errors,
    open_settings,
    parse_tickers,
)
from .status_table import status_table

LEASE_S: Final = 60
PARTING_S: Final = 3.0
LOOK_S: Final = 1.0
ENDED_STATES: Final = ("STOPPING", "STOPPED", "REFUSED", "FAULTED")


def watch(
    tickers: TickerArguments,
    as_json: Annotated[
        bool, typer.Option("--json", help="Each message verbatim, as it is on the wire.")
    ] = False,
) -> None:
    """Print every message of tickers, one a line.

    Registers with a lease that it renews, and unregisters on Ctrl-C. A trade that *does not set the
    last price* is an odd lot, late, out of sequence, an average, or outside the session.
    """
    settings = open_settings()
    wanted = parse_tickers(tickers)
    watching = ExitStack()
    with ended_by_signals(watching.close) as interruption:
        _watch(settings, wanted, as_json, watching, interruption)


def _watch(
    settings: Settings,
    tickers: tuple[str, ...],
    as_json: bool,
    watching: ExitStack,
    interruption: Interruption,
) -> None:
    """Until nobody reads what is printed. `watching` ends it, the last opened first."""
    config, secured = settings.redis_config(), settings.registration_secured
    printer = _Printer(as_json)
    subscriber = watching.enter_context(RedisSubscriber(config))
    client = watching.enter_context(
        RegistrationClient(config, client_id_of("watch"), secured=secured)
    )
    for ticker in tickers:
        channel = subscriber.names.get_ticker_channel(ticker)
        subscriber.subscribe(
            channel, printer.take, decode=printer.keep_payload if as_json else None
        )
    subscriber.start_listening()
    keeper = LeaseKeeper(client, tickers, LEASE_S)
    # Before anything is asked for: an interrupt may come before the answer.
    watching.callback(keeper.stop, timeout_s=PARTING_S)
    keeper.tickers = tuple(_accepted(client, tickers))
    with interruption.held():
        keeper.start()
    while not printer.reader_left.wait(LOOK_S):
        interruption.look()


def _accepted(client: RegistrationClient, tickers: tuple[str, ...]) -> list[str]:
    """Those that the broker follows; the others are told."""
    accepted = []
    for ticker, reply in zip(tickers, client.register(tickers, LEASE_S), strict=True):
        if reply.status == "accepted":
            accepted.append(ticker)
        else:
            errors.print(f"{ticker}: {reply.detail or reply.reason}", style="red", markup=False)
    if not accepted:
        raise Mistake("the broker follows none of them", exit_code=1)
    return accepted


class _Printer:
    """Prints in the subscriber's thread; tells when nobody reads any more (`watch AAPL | head`)."""

    def __init__(self, as_json: bool) -> None:
        self.reader_left = threading.Event()
        self._as_json = as_json

    def keep_payload(self, _channel: str, payload: bytes) -> bytes:
        return payload

    def take(self, message: Any) -> None:
        line = message.decode() if self._as_json else describe(message)
        try:
            sys.stdout.write(line + "\n")
            sys.stdout.flush()
        except BrokenPipeError:
            # What is left in the buffer has nowhere to go, also not at exit.
            sys.stdout = None
            self.reader_left.set()


def status(
    everything: Annotated[
        bool, typer.Option("--all", help="Every counter too, and what it counts.")
    ] = False,
) -> None:
    """How the broker is, by its last heartbeat.

    Exit code 1: no heartbeat within 3 s, or the broker has ended or will.
    """
    settings = open_settings()
    config = settings.redis_config()
    heartbeat = next_heartbeat(config)
    if heartbeat is None:
        raise Mistake(
            f"no broker: no heartbeat on {config.address} for {SILENCE_S:.0f} s. "
            "Start one, or check REDIS_URL and BUS_PREFIX",
            exit_code=1,
        )
    console.print(describe_account(heartbeat), markup=False)
    table = status_table(heartbeat, everything=everything, now_s=time.time())
    # The console does not wrap its lines; a table has to.
    console.print(table, soft_wrap=False)
    if heartbeat.state in ENDED_STATES:
        raise typer.Exit(1)
