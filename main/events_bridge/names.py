"""The bridge's own keys in Redis: the only place where they are spelled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

PLACE: Final = "place"  # the id of the last order message whose events are all published
ORDER: Final = "o:"
HOLDING: Final = "h:"


@dataclass(frozen=True)
class BridgeNames:
    """`prefix` is BUS_PREFIX."""

    prefix: str = ""

    @property
    def owner(self) -> str:
        """Which bridge process may write; with expiry."""
        return f"{self.prefix}trades:bridge:owner"

    def memory(self, symbol: str) -> str:
        """A hash: `place`, `o:<order id>`, `h:<owner>`."""
        return f"{self.prefix}trades:bridge:memory:{symbol}"
