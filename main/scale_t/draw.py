"""A simulation as a picture: price, rungs, the orders that worked, fills, and the profit."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ..extras import how_to_install
from .session import NEW_YORK
from .simulation import SimulationResult

INK, GRID, PRICE = "#1f2933", "#d9dee3", "#52606d"
BUY, SELL = "#0b6e4f", "#b23a48"
WIDTH_IN, HEIGHT_IN, DPI = 12.0, 7.0, 110


class PlotMissing(Exception):
    """matplotlib is not there; the text says how to get it."""

    def __init__(self) -> None:
        super().__init__(
            f"no picture: matplotlib is not installed. Install it with: {how_to_install('plot')}"
        )


def draw(result: SimulationResult, path: Path, title: str) -> None:
    """Write a PNG (or whatever `path` ends with).

    Raises:
        PlotMissing: matplotlib is not installed.
        OSError: the file cannot be written.
    """
    try:
        import matplotlib  # noqa: PLC0415  (an extra, and slow to import)

        matplotlib.use("Agg")
        from matplotlib import pyplot  # noqa: PLC0415
        from matplotlib.dates import DateFormatter  # noqa: PLC0415
    except ImportError as error:
        raise PlotMissing from error
    figure, (market, money) = pyplot.subplots(
        2, 1, sharex=True, figsize=(WIDTH_IN, HEIGHT_IN), height_ratios=(3, 1), dpi=DPI
    )
    _draw_market(market, result)
    _draw_money(money, result)
    market.set_title(title, loc="left", color=INK, fontsize=11)
    for axes in (market, money):
        axes.grid(color=GRID, linewidth=0.5)
        axes.set_axisbelow(True)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    span = result.curve[-1][0] - result.curve[0][0] if result.curve else 0
    days = span > 36 * 3600 * 1_000_000_000
    clock: Any = DateFormatter  # matplotlib has no types for it
    money.xaxis.set_major_formatter(clock("%d %b" if days else "%H:%M", tz=NEW_YORK))
    money.set_xlabel("New York")
    figure.tight_layout()
    figure.savefig(path, metadata={"Software": None} if path.suffix == ".png" else None)
    pyplot.close(figure)


def _draw_market(axes: Any, result: SimulationResult) -> None:
    moments = [_moment(at_ns) for at_ns, _, _ in result.curve]
    end_ns = result.curve[-1][0] if result.curve else 0
    for order in result.orders:
        if order.place.limit_price is not None:
            color = BUY if order.place.side == "buy" else SELL
            span = (_moment(order.at_ns), _moment(order.ended_ns or end_ns))
            level = float(order.place.limit_price)
            axes.plot(span, (level, level), color=color, linewidth=1.0, alpha=0.35)
    for rung in result.ladder.rungs:
        axes.axhline(float(rung.entry_price), color=GRID, linewidth=0.8, linestyle=":")
    axes.plot(moments, [float(price) for _, price, _ in result.curve], color=PRICE, linewidth=0.9)
    for side, color, marker in (("buy", BUY, "^"), ("sell", SELL, "v")):
        fills = [fill for fill in result.fills if fill.side == side]
        axes.scatter(
            [_moment(fill.at_ns) for fill in fills],
            [float(fill.price) for fill in fills],
            color=color,
            marker=marker,
            s=34,
            zorder=3,
            linewidths=0,
            label=f"{side}, {len(fills)} fills",
        )
    axes.set_ylabel("price")
    axes.legend(loc="best", frameon=False, fontsize=9)
    seen = [float(price) for _, price, _ in result.curve] + [float(f.price) for f in result.fills]
    if seen:
        room = max(0.02, (max(seen) - min(seen)) * 0.08)
        axes.set_ylim(min(seen) - room, max(seen) + room)


def _draw_money(axes: Any, result: SimulationResult) -> None:
    moments = [_moment(at_ns) for at_ns, _, _ in result.curve]
    profits = [float(profit) for _, _, profit in result.curve]
    axes.plot(moments, profits, color=INK, linewidth=1.0)
    axes.axhline(0, color=INK, linewidth=0.6)
    axes.fill_between(moments, profits, 0, color=INK, alpha=0.08, linewidth=0)
    axes.set_ylabel("profit, $")


def _moment(at_ns: int) -> datetime:
    return datetime.fromtimestamp(at_ns / 1e9, UTC)
