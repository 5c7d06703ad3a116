"""`register`, `unregister`, `registrations`: asking the broker, and seeing who asked."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Annotated, Final

import typer
from rich import box
from rich.table import Table

from ..demo import client_id_of
from ..holders import Holder, describe_left, parse_duration, read_holders
from ..settings import Settings
from ..utils.redis.constants import MAX_LEASE_S
from ..utils.redis.messages import RegistrationReply
from ..utils.redis.registration import RegistrationClient
from .common import Mistake, TickerArguments, console, open_settings, parse_tickers

DEFAULT_FOR: Final = "1h"
PROGRAM: Final = "cli"


def register(
    tickers: TickerArguments,
    lease: Annotated[
        str, typer.Option("--for", metavar="TIME", help="How long: 90s, 45m, 2h, up to 24h.")
    ] = DEFAULT_FOR,
    forever: Annotated[
        bool, typer.Option("--forever", help="Until `unregister --all-anonymous`.")
    ] = False,
) -> None:
    """Ask the broker to follow tickers.

    Registers as `cli@` and this host's name for an hour, so that a forgotten terminal does not eat
    the symbol limit. Exit code 1: rejected, or no broker answered within 5 s.
    """
    settings = open_settings()
    wanted = parse_tickers(tickers)
    lease_s = _lease_s(lease)
    with _client(settings, None if forever else client_id_of(PROGRAM)) as client:
        replies = client.register(wanted, lease_s)
    _report(replies, "for ever" if forever else f"for {describe_left(lease_s)}")


def unregister(
    tickers: Annotated[
        list[str] | None,
        typer.Argument(metavar="TICKER…", help="None with --client or --all-anonymous: all."),
    ] = None,
    client: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Whose. Without it: `cli@` and this host's name."),
    ] = None,
    all_anonymous: Annotated[
        bool, typer.Option("--all-anonymous", help="What was registered without a client id.")
    ] = False,
) -> None:
    """Let go of tickers.

    The ticker stays followed while anybody else holds it. Exit code 1: rejected, or no broker.
    """
    settings = open_settings()
    if client is not None and all_anonymous:
        raise Mistake("--client and --all-anonymous exclude each other")
    holder = "" if all_anonymous else client or client_id_of(PROGRAM)
    if tickers:
        wanted = parse_tickers(tickers)
    elif client is None and not all_anonymous:
        raise Mistake("name the tickers, or whose: --client ID or --all-anonymous")
    else:
        wanted = _held_by(settings, holder)
    if not wanted:
        console.print(f"{holder or 'the anonymous'} holds nothing")
        return
    with _client(settings, holder or None) as asking:
        replies = asking.unregister(wanted)
    _report(replies, "")


def registrations() -> None:
    """Who holds what until when."""
    settings = open_settings()
    holders = read_holders(settings.redis_config())
    if not holders:
        console.print("nobody holds a ticker")
        return
    console.print(_holders_table(holders))


def _lease_s(text: str) -> int:
    try:
        lease_s = parse_duration(text)
    except ValueError as error:
        raise Mistake(f"--for: {error}") from None
    if lease_s > MAX_LEASE_S:
        raise Mistake(f"--for: at most {MAX_LEASE_S // 3600}h; there is --forever")
    return lease_s


def _client(settings: Settings, client_id: str | None) -> RegistrationClient:
    if settings.registration_secured and client_id is None:
        raise Mistake("REGISTRATION_SECURED: there are no anonymous registrations")
    return RegistrationClient(
        settings.redis_config(), client_id, secured=settings.registration_secured
    )


def _held_by(settings: Settings, client_id: str) -> tuple[str, ...]:
    holders = read_holders(settings.redis_config())
    return tuple(holder.ticker for holder in holders if holder.client_id == client_id)


def _report(replies: Sequence[RegistrationReply], term: str) -> None:
    for reply in replies:
        ticker = f"{reply.ticker or '?':<10}"
        if reply.status == "accepted":
            held = f"{reply.holders} holder{'s' * (reply.holders != 1)}"
            words = f"accepted {term}".strip()
            console.print(f"{ticker} [green]{words}[/green], {held}")
        else:
            console.print(f"{ticker} [red]rejected[/red]: {reply.reason}", end="")
            console.print(f" ({reply.detail})" if reply.detail else "", markup=False)
    if any(reply.status == "rejected" for reply in replies):
        raise typer.Exit(1)


def _holders_table(holders: Sequence[Holder]) -> Table:
    table = Table(box=box.ROUNDED, border_style="dim")
    for name in ("ticker", "client", "data", "ends in"):
        table.add_column(name, no_wrap=True)
    now_s = time.time()
    for holder in holders:
        client = holder.client_id or "[dim]anonymous[/dim]"
        left = describe_left(holder.left_s(now_s))
        table.add_row(holder.ticker, client, ", ".join(holder.data), left)
    return table
