"""`scale-t status`, `pause`, `resume`, `stop`, `flatten`, `update`, `price`: a running scale_t."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich import box
from rich.table import Table

from ..settings import Settings
from ..stack import alpaca_access
from ..utils.redis.constants import normalize_ticker
from ..utils.redis.errors import InvalidTicker, RedisUnavailable
from ..wording import price_text
from .common import Mistake, console, open_settings, print_account, say
from .services import require_keys, require_redis

if TYPE_CHECKING:
    from ..scale_t.control import Command, ControlReply

FLAT_WITHIN_S: Final = 60.0
LOOK_S: Final = 0.5
NOBODY: Final = 1

ClientId = Annotated[str, typer.Option(metavar="ID", help="Whose ladders.")]
MaybeTicker = Annotated[
    str | None, typer.Option(metavar="A", help="Without it: every ladder of this client.")
]
OneTicker = Annotated[str, typer.Option("--ticker", metavar="A", help="Its ladder.")]


def scale_t_status(ticker: MaybeTicker = None, client_id: ClientId = "scale-t") -> None:
    """What running ladders own, what works, and what they made."""
    settings = _open()
    replies = _ask(settings, client_id, ticker, "status")
    _say_accounts(settings, replies)
    for reply in replies:
        _print_state(reply)


def pause(ticker: MaybeTicker = None, client_id: ClientId = "scale-t") -> None:
    """Take entries back; exits go on."""
    _command("pause", ticker, client_id)


def resume(
    ticker: MaybeTicker = None,
    client_id: ClientId = "scale-t",
    confirm: Annotated[
        bool, typer.Option("--confirm", help="You have looked at what holds it.")
    ] = False,
    adopt: Annotated[
        bool, typer.Option("--adopt", help="The account's quantity is right, not the ladder's.")
    ] = False,
    split: Annotated[
        str | None,
        typer.Option(metavar="RATIO", help="New shares for one old, if Alpaca does not tell."),
    ] = None,
) -> None:
    """Trade again.

    A ladder that is HELD (a corporate action, a sale by hand, a jump of 20 %) needs --confirm.
    """
    _command("resume", ticker, client_id, confirm=confirm, adopt=adopt, split=split)


def stop(ticker: MaybeTicker = None, client_id: ClientId = "scale-t") -> None:
    """Take entries back and end it; exits stay at Alpaca."""
    _command("stop", ticker, client_id)


def update(ticker: OneTicker, client_id: ClientId = "scale-t") -> None:
    """Fetch its orders from Alpaca by REST now."""
    _command("update", ticker, client_id)


def price(
    price: Annotated[str, typer.Argument(metavar="PRICE", help="In dollars.")],
    ticker: OneTicker,
    client_id: ClientId = "scale-t",
) -> None:
    """Give it a last price by hand, until the next trade."""
    _command("price", ticker, client_id, price=price)


def flatten(
    ticker: OneTicker,
    client_id: ClientId = "scale-t",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    state_dir: Annotated[
        Path | None, typer.Option(help="That of `run`, if it was given there.")
    ] = None,
) -> None:
    """Cancel its own orders, then close what it owns at the market, and end it.

    Other holdings of the account stay. Works also when no scale_t is running, or Redis is away: by
    REST alone.
    """
    settings = open_settings()
    require_keys(settings)
    print_account(alpaca_access(settings))
    name = _ticker(ticker)
    if not yes:
        typer.confirm(
            f"Close everything that {client_id} owns of {name}, at the market?", abort=True
        )
    if _told_to_flatten(settings, client_id, name):
        _wait_until_flat(settings, client_id, name)
        return
    if not _flatten_alone(settings, client_id, name, state_dir):
        raise Mistake("not flat yet: if the market is closed, the orders wait for it", NOBODY)
    console.print("flat")


def _told_to_flatten(settings: Settings, client_id: str, ticker: str) -> bool:
    """Whether a scale_t of that name runs, and does it itself."""
    try:
        replies = _gather(settings, client_id, ticker, "flatten")
    except RedisUnavailable as error:
        # No reason to refuse: all that has to be known is at Alpaca.
        console.print(f"{error}.", markup=False)
        console.print(
            "By REST. A scale_t of that name that still runs is not reached: stop it first, "
            "or it trades on."
        )
        return False
    if not replies:
        console.print("No scale_t of that name is running: by REST.")
    _tell(replies)
    return bool(replies)


def _flatten_alone(settings: Settings, client_id: str, ticker: str, state_dir: Path | None) -> bool:
    from ..scale_t.account import open_venue
    from ..scale_t.alone import AlreadyRuns
    from ..scale_t.flatten import flatten_alone
    from ..scale_t.rebuilt import NotUnderstood
    from ..scale_t.saved import StateFileBroken
    from ..scale_t.venue import TooManyOrders, UnknownTicker, VenueFailed

    ours = (NotUnderstood, StateFileBroken, AlreadyRuns)
    venue = open_venue(settings)
    try:
        return flatten_alone(
            settings, venue, client_id, ticker, state_dir, console.print, FLAT_WITHIN_S
        )
    except (VenueFailed, TooManyOrders, UnknownTicker, *ours) as error:
        raise Mistake(str(error), NOBODY) from None
    finally:
        venue.close()


def _wait_until_flat(settings: Settings, client_id: str, ticker: str) -> None:
    """It ends by itself when it is: then nobody answers any more."""
    deadline = time.monotonic() + FLAT_WITHIN_S
    last: dict[str, Any] = {}
    while replies := _status_of(settings, client_id, ticker):
        last = replies[0].state
        if time.monotonic() > deadline:
            raise Mistake(
                f"still owns {last['position']}: if the market is closed, it waits for it", NOBODY
            )
        time.sleep(LOOK_S)
    console.print("flat")


def _status_of(settings: Settings, client_id: str, ticker: str) -> list[ControlReply]:
    try:
        return _gather(settings, client_id, ticker, "status")
    except RedisUnavailable as error:
        raise Mistake(f"it flattens, but {error}: ask again, it may be flat", NOBODY) from None


def _command(command: Command, ticker: str | None, client_id: str, **arguments: Any) -> None:
    settings = _open()
    replies = _ask(settings, client_id, ticker, command, arguments)
    _say_accounts(settings, replies)
    _tell(replies)
    if not all(reply.ok for reply in replies):
        raise typer.Exit(1)


def _open() -> Settings:
    """No keys are needed: it goes through Redis, and who answers knows whose account it is."""
    settings = open_settings()
    require_redis(settings)
    if settings.has_alpaca_keys:
        print_account(alpaca_access(settings))
    return settings


def _say_accounts(settings: Settings, replies: list[ControlReply]) -> None:
    if not settings.has_alpaca_keys:
        for account in dict.fromkeys(str(reply.state.get("account", "")) for reply in replies):
            say(account)


def _ask(
    settings: Settings,
    client_id: str,
    ticker: str | None,
    command: Command,
    arguments: dict[str, Any] | None = None,
) -> list[ControlReply]:
    from ..scale_t.control import who_hears

    name = None if ticker is None else _ticker(ticker)
    replies = _gather(settings, client_id, name, command, arguments)
    if not replies:
        whom = f"{client_id} on {name}" if name else client_id
        others = [other for other in who_hears(settings.redis_config()) if other != client_id]
        hint = (
            "these do: " + ", ".join(f"--client-id {other}" for other in others)
            if others
            else "is it running, under this BUS_PREFIX?"
        )
        raise Mistake(f"no scale_t of {whom} answers on this Redis: {hint}", NOBODY)
    return replies


def _gather(
    settings: Settings,
    client_id: str,
    ticker: str | None,
    command: Command,
    arguments: dict[str, Any] | None = None,
) -> list[ControlReply]:
    from ..scale_t.control import ask

    return ask(settings.redis_config(), client_id, ticker, command, arguments)


def _ticker(word: str) -> str:
    try:
        return normalize_ticker(word)
    except InvalidTicker as error:
        raise Mistake(str(error)) from None


def _tell(replies: list[ControlReply]) -> None:
    for reply in replies:
        style = "" if reply.ok else "bold red"
        console.print(f"{reply.ticker}: {reply.words}", style=style, markup=False)


def _print_state(reply: ControlReply) -> None:
    state = reply.state
    facts = Table(box=None, show_header=False, title=f"{reply.ticker}", title_justify="left")
    for name, words in _facts(state):
        facts.add_row(name, words)
    console.print(facts)
    if not state["orders"]:
        return
    orders = Table(box=box.SIMPLE_HEAD)
    for name in ("order", "rung", "open", "price", ""):
        orders.add_column(name, justify="left" if name in ("order", "") else "right")
    for order in state["orders"]:
        told = "" if order["stage"] == "SEEN" else order["stage"].lower()
        price = price_text(order["price"]) or "market"
        orders.add_row(order["order"], str(order["component"]), order["qty"], price, told)
    console.print(orders)


def _facts(state: dict[str, Any]) -> list[tuple[str, str]]:
    mode = state["mode"] + (f": {state['reason']}" if state["reason"] else "")
    age = "" if state["price_age_s"] is None else f", {state['price_age_s']:g} s old"
    hand = ", by hand" if state["price_by_hand"] else ""
    stale = ", STALE" if state["price_is_stale"] else ""
    small = state.get("dust", "0")  # a pair's
    dust = "" if small == "0" else f"; {small} of it too little for an order"
    held = state["entries_held"] or state["range"]
    if not state["market_open"]:
        held = "the market is closed, or the session's check is not done"
    if state["mode"] != "TRADING":
        held = f"it is {state['mode']}"
    return [
        ("mode", mode),
        ("entries", f"held: {held}" if held else "allowed"),
        ("owns", f"{state['position']} of at most {state['max_position']}, {state['side']}{dust}"),
        ("price", f"{price_text(state['last_price']) or 'none yet'}{age}{stale}{hand}"),
        ("starting price", price_text(state["start_price"]) or "the first one to come"),
        ("profit", f"{state['realised']} realised, {state['open'] or '?'} open"),
        ("requests", f"{state['requests']}, {state['refused']} refused"),
    ]
