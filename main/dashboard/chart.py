"""Pure: a ticker's chart: its prices, its orders on them, and where prices may be missing."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Final

from ..utils.redis.messages import GapMessage, OrderMessage, PriceMessage
from . import words
from .orders import order_line

MAX_POINTS: Final = 1_600
Point = tuple[float, float]


def thin(points: Sequence[Point], most: int = MAX_POINTS) -> list[Point]:
    """At most about `most` points. Of each stretch the lowest and the highest stay, in order, so
    that no spike is lost."""
    if len(points) <= most:
        return list(points)
    begin, end = points[0][0], points[-1][0]
    stretch = max(1e-9, (end - begin) / (most / 2))
    kept: list[Point] = []
    group: list[Point] = []
    last = -1
    for point in points:
        number = int((point[0] - begin) / stretch)
        if number != last and group:
            kept += _extremes(group)
            group = []
        last = number
        group.append(point)
    return kept + _extremes(group)


def _extremes(group: Sequence[Point]) -> list[Point]:
    ends = {min(group, key=lambda p: p[1]), max(group, key=lambda p: p[1])}
    return sorted(ends)


def draw(
    messages: Iterable[object], orders: Iterable[OrderMessage], now_s: float
) -> dict[str, Any]:
    """`{"t": […], "p": […], "marks": […], "gaps": […]}` of a journal's messages, oldest first.

    Times are Unix seconds; a mark is `[time, price, event, side, quantity, order id]`; a gap
    `[from, to, refilled]`.
    """
    points: list[Point] = []
    gaps: list[list[Any]] = []
    for message in messages:
        at_s = words.unix_s(getattr(message, "timestamp", None))
        if at_s is None or at_s > now_s + 60:
            continue
        if isinstance(message, PriceMessage) and message.last_eligible:
            points.append((at_s, message.price))
        elif isinstance(message, GapMessage):
            gaps.append([words.unix_s(message.from_), words.unix_s(message.to), message.backfilled])
    points.sort(key=lambda point: point[0])  # what was refilled came late
    shown = thin(points)
    marks = [order_line(order, 0, now_s).mark for order in orders]
    return {
        "t": [round(t, 3) for t, _ in shown],
        "p": [p for _, p in shown],
        "marks": sorted(mark for mark in marks if mark is not None),
        "gaps": [gap for gap in gaps if None not in gap],
        "trades": len(points),
    }
