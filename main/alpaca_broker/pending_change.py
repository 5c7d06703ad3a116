"""A change of what Alpaca follows, until every symbol of it has its answer."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal


@dataclass(eq=False)
class PendingChange:
    """A change of subscriptions on its way, and what came of it for each symbol."""

    action: Literal["subscribe", "unsubscribe"]
    subscriptions: dict[str, frozenset[str]]
    done: set[str] = field(default_factory=set)
    rejected: dict[str, tuple[int, str]] = field(default_factory=dict)

    # Both are called by the reader, in the frames' order: when all is answered, and for each part
    # that is acknowledged, before its first frame.
    on_settled: Callable[[], None] | None = None
    on_acknowledged: Callable[[list[str]], None] | None = None
    forgotten: bool = False  # nobody waits for it any more

    def __post_init__(self) -> None:
        self._settled = threading.Condition()

    @property
    def open(self) -> dict[str, frozenset[str]]:
        """What has no answer yet."""
        return {
            symbol: channels
            for symbol, channels in self.subscriptions.items()
            if symbol not in self.done and symbol not in self.rejected
        }

    def settle(
        self, done: Iterable[str] = (), rejected: Mapping[str, tuple[int, str]] | None = None
    ) -> None:
        with self._settled:
            self.done.update(done)
            self.rejected.update(rejected or {})
            self._settled.notify_all()

    def wait(self, timeout_s: float) -> bool:
        """Whether every symbol has its answer within the time."""
        with self._settled:
            return self._settled.wait_for(lambda: not self.open, timeout_s)
