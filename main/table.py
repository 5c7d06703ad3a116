"""The demo's live table, drawn with rich. It only reads the board."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .board import Board, Row

BARS: Final = "▁▂▃▄▅▆▇█"
SILENT_S: Final = 3.0
TICK_STYLE: Final = {1: "green", -1: "red", 0: "default"}
TICK_SIGN: Final = {1: "▲", -1: "▼", 0: " "}
STATE_STYLE: Final = {"RUNNING": "bold green", "DEGRADED": "bold yellow"}
ORDER_STYLE: Final = {
    "fill": "bold green",
    "partial_fill": "green",
    "new": "cyan",
    "rejected": "bold red",
    "canceled": "dim",
    "expired": "dim",
}


@dataclass(frozen=True, kw_only=True)
class Heading:
    """What the table's first line says besides the broker's state."""

    account: str
    paper: bool
    redis: str
    redis_answers: bool
    hint: str = ""


def draw(board: Board, heading: Heading, now: float, rate: float) -> Group:
    """The whole picture at monotonic time `now`; `rate` in messages per second."""
    parts: list[RenderableType] = [_heading(board, heading, now, rate), _rows(board, now)]
    if heading.hint:
        parts.append(Text(heading.hint, style="dim"))
    return Group(*parts)


def _heading(board: Board, heading: Heading, now: float, rate: float) -> Text:
    line = Text(" ")
    kind_style = "bold black on green" if heading.paper else "bold white on red"
    line.append(" PAPER " if heading.paper else " LIVE ", kind_style)
    line.append(f" {heading.account}")
    _separate(line)
    line.append("broker ")
    state = broker_state(board, now)
    line.append(state, STATE_STYLE.get(state, "bold red"))
    _separate(line)
    line.append(f"Redis {heading.redis} ")
    line.append("✔" if heading.redis_answers else "✘ no answer", _good(heading.redis_answers))
    _separate(line)
    line.append(f"{rate:,.0f}", "bold")
    line.append(" msg/s")
    return line


def broker_state(board: Board, now: float) -> str:
    """The heartbeat's state, or SILENT when there has been none for three seconds."""
    if board.broker is None or board.broker_heard_at is None:
        return "SILENT"
    return "SILENT" if now - board.broker_heard_at > SILENT_S else board.broker.state


def _separate(line: Text) -> None:
    line.append("  ·  ", "dim")


def _good(is_good: bool) -> str:
    return "green" if is_good else "bold red"


def _rows(board: Board, now: float) -> Table:
    table = Table(box=box.ROUNDED, border_style="dim", header_style="bold", pad_edge=True)
    table.add_column("ticker", style="bold", no_wrap=True)
    table.add_column("last price", justify="right", no_wrap=True, min_width=12)
    table.add_column("change", justify="right", no_wrap=True, min_width=7)
    table.add_column("trend", no_wrap=True, min_width=len(BARS) * 2)
    table.add_column("volume", justify="right", no_wrap=True, min_width=9)
    table.add_column("messages", justify="right", no_wrap=True)
    table.add_column("age", justify="right", no_wrap=True, min_width=6)
    table.add_column("last order event", no_wrap=True, min_width=26)
    for row in board.rows.values():
        table.add_row(*_cells(row, now))
    return table


def _cells(row: Row, now: float) -> Sequence[Text]:
    style = TICK_STYLE[row.tick]
    price = Text(f"{format_price(row.last)} {TICK_SIGN[row.tick]}", style)
    change = row.change_percent
    age = None if row.heard_at is None else now - row.heard_at
    order = Text(row.order or "", ORDER_STYLE.get(row.order_event or "", "default"))
    return (
        Text(row.ticker),
        price,
        Text("" if change is None else f"{change:+.2f}%", _change_style(change)),
        Text(trend_line(row.trend, 16), style),
        Text(format_volume(row.volume)),
        Text(f"{row.messages:,}"),
        Text(format_age(age), "red" if age is not None and age > SILENT_S else "dim"),
        order,
    )


def _change_style(change: float | None) -> str:
    if change is None or abs(change) < 0.005:
        return "dim"
    return "green" if change > 0 else "red"


def trend_line(prices: Sequence[float], width: int) -> str:
    """The last prices as a line of bars, the newest at the right."""
    shown = list(prices)[-width:]
    if not shown:
        return ""
    low, high = min(shown), max(shown)
    if high == low:
        return BARS[len(BARS) // 2] * len(shown)
    scale = (len(BARS) - 1) / (high - low)
    return "".join(BARS[round((price - low) * scale)] for price in shown)


def format_price(price: float | None) -> str:
    """Two decimals at least, four below a dollar, and no more than the price has."""
    if price is None:
        return "-"
    return f"{price:,.4f}" if abs(price) < 1 else f"{price:,.2f}"


def format_volume(volume: float) -> str:
    """Shares as a whole number; a fraction of a coin with its digits."""
    return f"{volume:,.0f}" if volume >= 100 or volume == int(volume) else f"{volume:,.3f}"


def format_age(age_s: float | None) -> str:
    if age_s is None:
        return "-"
    return f"{age_s:.1f} s" if age_s < 60 else f"{age_s / 60:.0f} min"
