"""`watch` and `status`: what comes through the bus, as a person reads it."""

from __future__ import annotations

import sys
import threading
from contextlib import ExitStack
from typing import Annotated, Any, Final

import typer
from rich import box
from rich.table import Table
from rich.text import Text

from ..demo import client_id_of
from ..heartbeat import SILENCE_S, next_heartbeat
from ..settings import Settings
from ..table import STATE_STYLE
from ..utils.redis.messages import BrokerStatus
from ..utils.redis.registration import LeaseKeeper, RegistrationClient
from ..utils.redis.subscriber import RedisSubscriber
from ..wording import describe
from .common import (
    Mistake,
    TickerArguments,
    console,
    ended_by_signals,
    errors,
    open_settings,
    parse_tickers,
)

LEASE_S: Final = 60
PARTING_S: Final = 3.0
ENDED_STATES: Final = ("STOPPING", "STOPPED", "REFUSED", "FAULTED")


def watch(
    tickers: TickerArguments,
    as_json: Annotated[
        bool, typer.Option("--json", help="Each message verbatim, as it is on the wire.")
    ] = False,
) -> None:
    """Print every message of tickers, one a line.

    Registers with a lease that it renews, and unregisters on Ctrl-C.
    """
    settings = open_settings()
    wanted = parse_tickers(tickers)
    watching = ExitStack()
    with ended_by_signals(watching.close):
        _watch(settings, wanted, as_json, watching)


def _watch(
    settings: Settings, tickers: tuple[str, ...], as_json: bool, watching: ExitStack
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
    keeper.start()
    printer.reader_left.wait()


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


def status() -> None:
    """The broker's last heartbeat as a table.

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
    console.print(_account_line(heartbeat))
    console.print(_status_table(heartbeat))
    if heartbeat.state in ENDED_STATES:
        raise typer.Exit(1)


def _account_line(heartbeat: BrokerStatus) -> str:
    kind = "PAPER" if heartbeat.paper else "LIVE"
    account = f"…{heartbeat.account_id[-4:]}" if heartbeat.account_id else "not known yet"
    return f"{kind} account id {account}"


def _status_table(heartbeat: BrokerStatus) -> Table:
    table = Table(box=box.ROUNDED, border_style="dim", show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column()
    state = heartbeat.state
    table.add_row("broker", Text(state, STATE_STYLE.get(state, "bold red")))
    table.add_row("version", heartbeat.version)
    table.add_row("started", heartbeat.started_at)
    table.add_row("epoch", str(heartbeat.epoch))
    prices, orders = heartbeat.upstream.prices, heartbeat.upstream.orders
    lag = "" if prices.lag_ms is None else f", {prices.lag_ms:.0f} ms behind"
    table.add_row(
        "prices", f"{_stream(prices.state, prices.reason)}, {prices.symbols} symbols{lag}"
    )
    entries = "entries may be sent" if orders.ready else "send no new entries"
    table.add_row("orders", f"{_stream(orders.state, orders.reason)}, {entries}")
    if isinstance(heartbeat.tickers, dict):
        followed = (f"{name} {t.state} {t.seq:,}" for name, t in sorted(heartbeat.tickers.items()))
        table.add_row("tickers", "\n".join(followed) or "none")
    for title, numbers in (("counters", heartbeat.counters), ("journal", heartbeat.journal)):
        table.add_row(title, "\n".join(f"{name} {count:,}" for name, count in numbers.items()))
    return table


def _stream(state: str, reason: str | None) -> str:
    return f"{state} ({reason})" if reason else state
