"""The demo's live table, drawn with rich. It only reads the board."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from rich import box
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from .board import Board, Row

BARS: Final = "▁▂▃▄▅▆▇█"
SILENT_S: Final = 3.0
SHORT_HEADING_BELOW: Final = 80  # columns
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


def draw(board: Board, heading: Heading, now: float, rate: float, width: int) -> Group:
    """The picture at monotonic time `now`; `rate` in messages a second, `width` in columns."""
    first = _heading(board, heading, now, rate, short=width < SHORT_HEADING_BELOW)
    parts: list[RenderableType] = [first, _rows(board, now, width)]
    if heading.hint:
        parts.append(Text(f" {heading.hint}", style="dim"))
    return Group(*parts)


def _heading(board: Board, heading: Heading, now: float, rate: float, short: bool) -> Text:
    """In one line also of a narrow terminal: `short` leaves out where Redis is."""
    line = Text(" ")
    kind_style = "bold black on green" if heading.paper else "bold white on red"
    line.append(" PAPER " if heading.paper else " LIVE ", kind_style)
    line.append(f" {heading.account}")
    _separate(line)
    line.append("broker ")
    state = broker_state(board, now)
    line.append(state, STATE_STYLE.get(state, "bold red"))
    _separate(line)
    line.append("Redis " if short else f"Redis {heading.redis} ")
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
    line.append(" · ", "dim")


def _good(is_good: bool) -> str:
    return "green" if is_good else "bold red"


def _rows(board: Board, now: float, width: int) -> Table:
    table = Table(box=box.ROUNDED, border_style="dim", header_style="bold")
    columns = [column for column in COLUMNS if width >= column.from_width]
    for column in columns:
        table.add_column(column.title, justify=column.justify, min_width=column.width, no_wrap=True)
    for row in board.rows.values():
        table.add_row(*(column.cell(row, now) for column in columns))
    return table


def _ticker(row: Row, _now: float) -> Text:
    return Text(row.ticker, "bold")


def _price(row: Row, _now: float) -> Text:
    return Text(f"{format_price(row.last)} {TICK_SIGN[row.tick]}", TICK_STYLE[row.tick])


def _change(row: Row, _now: float) -> Text:
    percent = row.change_percent
    if percent is None:
        return Text("")
    percent = round(percent, 2) + 0.0  # never -0.00
    return Text(f"{percent:+.2f}%", "dim" if not percent else "green" if percent > 0 else "red")


def _trend(row: Row, _now: float) -> Text:
    return Text(trend_line(row.trend, TREND_WIDTH), TICK_STYLE[row.tick])


def _volume(row: Row, _now: float) -> Text:
    return Text(format_volume(row.volume))


def _messages(row: Row, _now: float) -> Text:
    return Text(f"{row.messages:,}")


def _age(row: Row, now: float) -> Text:
    age_s = None if row.heard_at is None else now - row.heard_at
    is_old = age_s is not None and age_s > SILENT_S
    return Text(format_age(age_s), "red" if is_old else "dim")


def _order(row: Row, _now: float) -> Text:
    return Text(row.order or "", ORDER_STYLE.get(row.order_event or "", "default"))


def _fills(row: Row, _now: float) -> Text:
    return Text(f"{row.fills:,}" if row.fills else "", "green")


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column. It is drawn on terminals of `from_width` columns and more."""

    title: str
    cell: Callable[[Row, float], Text]
    width: int
    justify: Literal["left", "right"] = "right"
    from_width: int = 0


TREND_WIDTH: Final = 16
COLUMNS: Final = (
    Column(title="ticker", cell=_ticker, width=7, justify="left"),
    Column(title="last price", cell=_price, width=11),
    Column(title="change", cell=_change, width=7, from_width=96),
    Column(title="trend", cell=_trend, width=TREND_WIDTH, justify="left", from_width=124),
    Column(title="volume", cell=_volume, width=8, from_width=70),
    Column(title="messages", cell=_messages, width=8, from_width=80),
    Column(title="age", cell=_age, width=6),
    Column(title="fills", cell=_fills, width=5, from_width=104),
    Column(title="last order event", cell=_order, width=21, justify="left", from_width=59),
)


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
