"""`scale-t run`, `plan` and `simulate`: trade a ladder, look at it, or try it on a recording."""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich import box
from rich.table import Table

from ..account import AccountRefused
from ..settings import Settings
from ..stack import alpaca_access
from .common import (
    Mistake,
    console,
    errors,
    open_settings,
    parse_tickers,
    print_account,
    program,
)
from .ladder_options import ladder_options
from .services import require

if TYPE_CHECKING:
    from ..scale_t import ScaleTConfig
    from ..scale_t.plan import PlanLine

TickersToTrade = Annotated[
    str, typer.Option("--ticker", metavar="A[,B,…]", help="What to trade; several with commas.")
]
OneTicker = Annotated[str, typer.Option("--ticker", metavar="A", help="The ticker.")]


@ladder_options
def run_scale_t(
    ticker: TickersToTrade,
    adopt: Annotated[
        bool,
        typer.Option(
            "--adopt", help="If the account owns less than the ladder's orders say: believe it."
        ),
    ] = False,
    keep_entries: Annotated[
        bool, typer.Option("--keep-entries", help="Leave entries working when it is stopped.")
    ] = False,
    requests_per_minute: Annotated[
        int, typer.Option(metavar="N", help="Of the account's 200, which all programs share.")
    ] = 60,
    max_price_age: Annotated[
        float, typer.Option(metavar="SECONDS", help="Then the price is asked of Alpaca by REST.")
    ] = 60.0,
    state_dir: Annotated[
        Path | None, typer.Option(help="Where it keeps what Alpaca's order list cannot tell.")
    ] = None,
    **ladder: Any,
) -> None:
    """Trade a ladder on one ticker or several.

    Buys at falling prices (short: sells at rising ones) and takes a profit on every rung. Prices
    and fills come through the broker, orders go to Alpaca: on paper, unless ALPACA_PAPER=false and
    ALPACA_LIVE_CONFIRMED=true. Exit code 1: its orders are not understood, or the ticker is not to
    be had; 2: bad parameters; 3: Alpaca refuses the keys; 4: its loss limit.
    """
    from ..scale_t import run_scale_t as run

    settings = open_settings()
    running = {
        "adopt": adopt,
        "cancel_entries_on_stop": not keep_entries,
        "requests_per_minute": requests_per_minute,
        "max_price_age_s": max_price_age,
        "state_dir": state_dir,
    }
    configs = [config_of(each, **ladder, **running) for each in _tickers(ticker)]
    require(settings)
    print_account(alpaca_access(settings))
    raise typer.Exit(run(configs, settings))


@ladder_options
def plan(ticker: OneTicker, **ladder: Any) -> None:
    """Print the ladder as a table. Nothing is sent.

    Without --start-price the latest trade is asked of Alpaca, with the keys.
    """
    from ..scale_t.plan import lines_of

    settings = open_settings()
    config = config_of(ticker, **ladder)
    _say_account(settings)
    start = config.start_price or _latest_price(settings, config.ticker)
    table = Table(box=box.SIMPLE_HEAD, title=f"{config.ticker}, {config.terms.side.value}")
    sizes = "coins" if config.terms.is_crypto else "shares"
    for name in ("rung", sizes, "entry", "cost so far", "profit orders", "profit"):
        table.add_column(name, justify="left" if name == "profit orders" else "right")
    lines = lines_of(config.terms, start)
    for line in lines:
        exits = ", ".join(f"{qty} at {price}" for qty, price in line.exits)
        cells = (line.component, line.size, line.entry, line.cost, exits or "-", line.profit)
        table.add_row(*map(str, cells))
    console.print(table)
    console.print(_outcome(config, lines))


def _outcome(config: ScaleTConfig, lines: Sequence[PlanLine]) -> str:
    terms = config.terms
    if terms.profit_offset is None:
        return "No profit orders: it only enters."
    made = sum((line.profit_cents for line in lines), Decimal(0))
    words = f"Each full round of every rung makes ${max(made, Decimal(0)):.2f}"
    if not terms.fee_rate:
        return words
    words += f", after fees of {terms.fee_rate * 100:.2f}% each way"
    if (
        made * 100
        < sum(Decimal(line.size) * Decimal(line.entry) for line in lines) * terms.fee_rate
    ):
        words += (
            f".\nThe profit offset {terms.profit_offset} hardly pays the fees, or less: no exit "
            "stands lower than where it does. Ask for more"
        )
    return words


def config_of(ticker: str, **words: Any) -> ScaleTConfig:
    """Raises:
    Mistake: naming every bad parameter.
    """
    from ..scale_t import ScaleTConfig, ScaleTConfigError

    try:
        return ScaleTConfig.from_text(ticker=ticker, **words)
    except ScaleTConfigError as error:
        raise Mistake(str(error)) from None


def _tickers(words: str) -> tuple[str, ...]:
    """One bad ticker is named with all other faults of its ladder."""
    return parse_tickers(words) if "," in words else (words,)


def _say_account(settings: Settings) -> None:
    if not settings.has_alpaca_keys:
        console.print("No keys given: no account is looked at.")
        return
    try:
        print_account(alpaca_access(settings))
    except AccountRefused as error:
        errors.print(str(error), markup=False)


def _latest_price(settings: Settings, ticker: str) -> Decimal:
    from ..scale_t.account import open_venue
    from ..scale_t.venue import VenueFailed

    if not settings.has_alpaca_keys:
        raise Mistake(
            "give a --start-price, or Alpaca keys to ask for the latest trade: `export …`, as "
            f"`{program()} up` prints it for the local Alpaca"
        )
    venue = open_venue(settings)
    try:
        latest = venue.latest_trade(ticker)
    except VenueFailed as error:
        raise Mistake(f"{error}: give a --start-price") from None
    finally:
        venue.close()
    if latest is None:
        raise Mistake(f"Alpaca knows no trade of {ticker}: give a --start-price")
    return latest.price
