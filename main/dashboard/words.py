"""Pure: numbers and times as the page writes them."""

from __future__ import annotations

import math
import time
from collections import deque
from collections.abc import Iterable
from typing import Final

from ..utils.redis.messages import parse_rfc3339

SECOND_LENGTH: Final = len("2026-11-21T14:30:05")
MAX_WORD: Final = 64
NOTHING: Final = "—"

_last_second: tuple[str, float] = ("", 0.0)


def unix_s(timestamp: str | None) -> float | None:
    """Seconds since 1970 of an RFC 3339 text; None if it is none."""
    global _last_second  # noqa: PLW0603
    if not timestamp:
        return None
    # Most messages fall into the second of the one before; the tuple is replaced in one step.
    second, base = _last_second
    fraction = timestamp[SECOND_LENGTH:-1]
    if timestamp[:SECOND_LENGTH] == second and timestamp.endswith("Z") and _is_fraction(fraction):
        return base + float(f"0{fraction}" if fraction else 0)
    try:
        found = parse_rfc3339(timestamp) / 1e9
    except (ValueError, OverflowError):
        return None
    if timestamp.endswith("Z"):
        _last_second = (timestamp[:SECOND_LENGTH], float(math.floor(found)))
    return found


def _is_fraction(text: str) -> bool:
    return not text or (text[0] == "." and text[1:].isascii() and text[1:].isdigit())


def price(value: float | None) -> str:
    """`189.20`; below a dollar as many digits as tell something."""
    if value is None or not math.isfinite(value):
        return NOTHING
    size = abs(value)
    if size >= 1e9:
        return f"{value:.4g}"
    if size >= 1 or size == 0:
        return f"{value:,.2f}"
    return f"{value:.4f}" if size >= 0.01 else f"{value:.8f}"


def rate(per_s: float) -> str:
    """Messages a second: `4.2`, `120`, `0`."""
    if per_s < 0.05:
        return "0"
    return f"{per_s:.1f}" if per_s < 10 else f"{per_s:,.0f}"


def lag(seconds: float | None) -> str:
    """`12 ms`, `1.4 s`, `3 min`."""
    if seconds is None:
        return NOTHING
    if seconds < 1:
        return f"{max(0.0, seconds) * 1000:.0f} ms"
    return f"{seconds:.1f} s" if seconds < 100 else duration(seconds)


def duration(seconds: float) -> str:
    """`0.4 s`, `12 s`, `3 min`, `2 h 5 min`, `3 d`."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 90:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes} min" if minutes else f"{hours} h"
    return f"{round(hours / 24)} d"


def clock(seconds: float | None, with_day: bool = False) -> str:
    """`14:30:05`, in UTC."""
    if seconds is None or not 0 <= seconds < 253_402_300_800:
        return NOTHING
    return time.strftime("%Y-%m-%d %H:%M:%S" if with_day else "%H:%M:%S", time.gmtime(seconds))


def megabytes(count: float | None) -> str:
    """Bytes for a person: `512 B`, `4 kB`, `27.3 MB`, `1.2 GB`."""
    if count is None:
        return NOTHING
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1000:,.0f} kB" if count >= 1000 else f"{count:.0f} B"


def word(text: object, length: int = MAX_WORD) -> str:
    """Whatever came, as one bounded line: what is not printable becomes a blank."""
    if text is None:
        return ""
    plain = "".join(c if c.isprintable() else " " for c in str(text)[: length + 1])
    return plain if len(plain) <= length else f"{plain[: length - 1]}…"


def count(number: int, one: str, many: str = "") -> str:
    """`1 ticker`, `2 tickers`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"


def points(values: Iterable[float] | deque[float], width: int = 96, height: int = 24) -> str:
    """The points of an SVG polyline in a box, the newest at the right; empty below two values."""
    line = list(values)
    if len(line) < 2:
        return ""
    low, high = min(line), max(line)
    margin = 2.0
    span, step = (high - low) or 1.0, width / (len(line) - 1)
    scale = (height - 2 * margin) / span
    flat = high == low
    return " ".join(
        f"{i * step:.0f},{height / 2 if flat else height - margin - (v - low) * scale:.0f}"
        for i, v in enumerate(line)
    )
