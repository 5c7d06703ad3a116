"""Pure: what a ladder is allowed to do now, as a table.

| mode | new entries | working entries | new exits | working exits |
|---|---|---|---|---|
| TRADING | yes | stay | yes | stay |
| PAUSED | no | are taken back | yes | stay |
| HELD | no | are taken back | no | stay |
| STOPPING | no | are taken back, or stay as asked | no | stay |
| FLATTENING | no | are taken back | at the market, once nothing works | are taken back |

PAUSED is a person's wish, or a limit's: exits go on, for they only make the risk smaller. HELD is
a doubt about what is owned (a corporate action, a sale by hand): then an exit may be wrong too, and
only a person's `resume --confirm` ends it. STOPPING and FLATTENING lead out of the program; a stop
may still become a flatten, never a trade.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final


class Mode(Enum):
    """What the ladder is allowed to do."""

    TRADING = auto()
    PAUSED = auto()
    HELD = auto()
    STOPPING = auto()
    FLATTENING = auto()

    @property
    def enters(self) -> bool:
        return self is Mode.TRADING

    @property
    def exits(self) -> bool:
        """Whether new profit orders may be sent."""
        return self in (Mode.TRADING, Mode.PAUSED)


MODE_MOVES: Final[dict[Mode, frozenset[Mode]]] = {
    Mode.TRADING: frozenset({Mode.PAUSED, Mode.HELD, Mode.STOPPING, Mode.FLATTENING}),
    Mode.PAUSED: frozenset({Mode.TRADING, Mode.HELD, Mode.STOPPING, Mode.FLATTENING}),
    Mode.HELD: frozenset({Mode.TRADING, Mode.STOPPING, Mode.FLATTENING}),
    Mode.STOPPING: frozenset({Mode.FLATTENING}),
    Mode.FLATTENING: frozenset(),
}


class IllegalMode(Exception):
    """A mode that cannot follow; nothing was changed."""

    def __init__(self, before: Mode, after: Mode) -> None:
        self.before, self.after = before, after
        super().__init__(f"a ladder that is {before.name} cannot become {after.name}")
