"""Pure: may a trade set the last price, by the tapes' sale-condition rules?

Source: the "consolidated last" column of the CTA (tapes A and B) and UTP (tape C) specifications.
Each condition of a trade has to allow it. Prints that are late, out of sequence, odd lots, averages
or priced by reference may not; what the tapes make conditional on the day's earlier trades is
decided against, because a last price that is stale by a trade beats one that never was.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, time
from typing import Final
from zoneinfo import ZoneInfo

# regular, acquisition, distribution, automatic execution, intermarket sweep, rule 127/155,
# opening, split, cross, yellow flag, stopped stock, reopening, closing, rule 611 exempt,
# corrected consolidated close
_ALLOW: Final = frozenset("@ ADEFKOSXY13568 9")
_ALLOW_CTA: Final = _ALLOW
_ALLOW_UTP: Final = _ALLOW | {"B"}  # "B" is a bunched trade on tape C, an average price on A and B
_EXTENDED_HOURS: Final = "T"

NEW_YORK: Final = ZoneInfo("America/New_York")
_OPEN, _CLOSE = time(9, 30), time(16, 0)


def in_regular_hours(unix_s: float) -> bool:
    """Whether it is a weekday, 9:30 to 16:00 in New York: what needs no calendar."""
    moment = datetime.fromtimestamp(unix_s, NEW_YORK)
    return moment.weekday() < 5 and _OPEN <= moment.time() < _CLOSE


class LastPriceRule:
    """Remembers each combination that it has judged."""

    def __init__(self, is_regular: Callable[[float], bool] = in_regular_hours) -> None:
        self._is_regular = is_regular
        self._judged: dict[tuple[str, tuple[str, ...]], tuple[bool, bool]] = {}

    def allows(self, conditions: tuple[str, ...], tape: str, unix_s: float) -> bool:
        """Whether a trade with these sale conditions, at this time, may set the last price."""
        verdict = self._judged.get((tape, conditions))
        if verdict is None:
            verdict = self._judged[tape, conditions] = _judge(conditions, tape)
        eligible, extended = verdict
        return eligible and not (extended and self._is_regular(unix_s))


def _judge(conditions: Sequence[str], tape: str) -> tuple[bool, bool]:
    """(eligible if the hour allows, is an extended-hours print)."""
    allowed = _ALLOW_UTP if tape == "C" else _ALLOW_CTA
    extended = _EXTENDED_HOURS in conditions
    rest = (condition for condition in conditions if condition != _EXTENDED_HOURS)
    return all(
        condition.strip() in allowed or not condition.strip() for condition in rest
    ), extended
