"""`scale-t simulate`: a ladder over recorded prices."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final

import typer
from rich import box
from rich.table import Table

from .common import Mistake, console, errors
from .ladder_options import ladder_options
from .scale_t import OneTicker, config_of

if TYPE_CHECKING:
    from ..scale_t.simulation import SimulatedFill, SimulationResult

SHOWN: Final = 40


@ladder_options
def simulate(
    data: Annotated[
        Path, typer.Option(metavar="FILE", help="CSV, or JSON lines as `watch --json` prints them.")
    ],
    ticker: OneTicker,
    png: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw price, rungs, orders and fills.")
    ] = None,
    all_trades: Annotated[
        bool, typer.Option("--all", help=f"Print every trade, not the last {SHOWN}.")
    ] = False,
    **ladder: Any,
) -> None:
    """Try a ladder on recorded prices.

    The same core as `run`, faster than real time; no account, no network. The same recording and
    the same parameters give the same result every time. It fills as Alpaca's paper accounts do.
    """
    from ..scale_t.recording import BadRecording, read_recording
    from ..scale_t.simulation import simulate as simulate_ladder

    config = config_of(ticker, **ladder)
    console.print("SIMULATED: no account is touched")
    try:
        ticks = read_recording(data, config.ticker)
    except BadRecording as error:
        raise Mistake(str(error)) from None
    result = simulate_ladder(config, ticks)
    _print_trades(result, all_trades)
    _print_summary(result, len(ticks))
    if png is not None:
        _draw(result, png, f"{config.ticker}, {data.name}")


def _print_trades(result: SimulationResult, all_trades: bool) -> None:
    shown = result.fills if all_trades else result.fills[-SHOWN:]
    table = Table(box=box.SIMPLE_HEAD)
    for name in ("New York", "", "shares", "price", "rung", "owns", "profit"):
        table.add_column(name, justify="left" if name in ("New York", "") else "right")
    for fill in shown:
        table.add_row(*_cells(fill))
    console.print(table)
    if len(shown) < len(result.fills):
        console.print(f"The last {len(shown)} of {len(result.fills)} trades; --all prints them all")


def _cells(fill: SimulatedFill) -> tuple[str, ...]:
    from ..scale_t.session import NEW_YORK
    from ..scale_t.state import plain

    moment = datetime.fromtimestamp(fill.at_ns / 1e9, UTC).astimezone(NEW_YORK)
    style = "green" if fill.side == "buy" else "red"
    return (
        f"{moment:%d %b %H:%M:%S}",
        f"[{style}]{fill.side}[/{style}]",
        str(plain(fill.qty)),
        f"{fill.price:.2f}" if fill.price >= 1 else f"{fill.price:f}",
        str(fill.component),
        str(plain(fill.position)),
        f"{fill.profit:.2f}",
    )


def _print_summary(result: SimulationResult, ticks: int) -> None:
    from ..scale_t.state import plain

    profit = result.ladder.profit()
    rounds = sum(fill.kind == "profit" for fill in result.fills)
    traded = sum((fill.qty * fill.price for fill in result.fills), Decimal(0))
    lines = [
        ("ticks", f"{ticks:,}"),
        ("trades", f"{len(result.fills):,}, of them {rounds:,} profits; ${traded:,.2f} traded"),
        ("profit", f"${profit.realised:.2f} realised, ${profit.open or Decimal(0):.2f} open"),
        ("total", f"${profit.total:.2f}"),
        ("max. drawdown", f"${result.max_drawdown:.2f}"),
        ("owns at the end", str(plain(result.ladder.position))),
        ("owned at most", f"{plain(result.max_position)}, for ${result.max_capital:,.2f}"),
    ]
    if result.ended:
        lines.append(("ended early", result.ended))
    table = Table(box=None, show_header=False)
    for name, words in lines:
        table.add_row(name, words)
    console.print(table)


def _draw(result: SimulationResult, path: Path, title: str) -> None:
    from ..scale_t.draw import PlotMissing, draw

    profit = result.ladder.profit().total
    try:
        draw(result, path, f"{title}: {len(result.fills)} trades, profit ${profit:.2f}")
    except PlotMissing as error:
        raise Mistake(str(error)) from None
    except (OSError, ValueError) as error:
        raise Mistake(f"{path} cannot be written: {error}") from None
    errors.print(f"drawn: {path}", markup=False)
