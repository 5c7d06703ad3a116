"""Pure: the orders that are watched, their executions as REST lists them, and from when to ask.

Times are Alpaca's own, never this machine's: its clock may be minutes off.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from ..utils.answers import OrderData
from ..utils.redis.messages import OrderMessage, parse_rfc3339
from .witness import messages_of, told_all

OVERLAP_NS: Final = 60_000_000_000  # an execution may be listed a while after it happened


@dataclass
class _Watched:
    birth: OrderData | None = None  # as Alpaca first showed it, with its legs; until it is told
    fills: dict[str, OrderData] = field(default_factory=dict)  # by their own id
    complete_ns: int | None = None  # up to when all of its executions are known
    told: set[tuple[str, str]] = field(default_factory=set)  # event, cumulative quantity

    def news(self, messages: Iterable[OrderMessage]) -> list[OrderMessage]:
        """Those that were not told before: they count as told now."""
        news = []
        for message in messages:
            key = (message.event, str(message.update.get("cum_qty", "")))
            if key not in self.told:
                self.told.add(key)
                news.append(message)
        return news


class OpenOrders:
    """Every order of ours until all of it is told. Not thread-safe: one owner."""

    def __init__(self) -> None:
        self._watched: dict[str, _Watched] = {}
        self._now_ns = 0  # the newest moment of Alpaca's that was seen

    def __len__(self) -> int:
        return len(self._watched)

    def ids(self) -> list[str]:
        return list(self._watched)

    def watch(self, order_id: str, birth: OrderData | None = None) -> None:
        """From now on, if it is not watched already."""
        watched = self._watched.setdefault(order_id, _Watched())
        watched.birth = watched.birth or birth

    def forget(self, order_id: str) -> None:
        self._watched.pop(order_id, None)

    def knows_all(self, order: OrderData) -> bool:
        """Whether the known executions add up to what the order says was filled."""
        watched = self._watched[str(order["id"])]
        complete = told_all(order, watched.fills.values())
        self._now_ns = max(self._now_ns, moment_ns(order, "updated_at"))
        if complete:
            watched.complete_ns = self._now_ns
        return complete

    def ask_since_ns(self, incomplete: Iterable[OrderData]) -> int:
        """From when to ask for executions, so that none of these orders' is missed."""
        moments = [
            self._watched[str(order["id"])].complete_ns or moment_ns(order, "created_at")
            for order in incomplete
        ]
        return max(0, min(moments, default=0) - OVERLAP_NS)

    def add_fill(self, fill: OrderData) -> None:
        """An execution of the account; ours or not."""
        self._now_ns = max(self._now_ns, moment_ns(fill, "transaction_time"))
        watched = self._watched.get(str(fill.get("order_id")))
        if watched is not None:
            watched.fills[str(fill.get("id"))] = fill

    def messages(
        self, orders: Iterable[OrderData], account_id: str, *, paper: bool
    ) -> list[OrderMessage]:
        """What is new of these orders, in the order in which it happened: of two orders'
        executions, the one that came first may have opened the position that the other closed.
        What is returned counts as told."""
        found: list[OrderMessage] = []
        for order in orders:
            watched = self._watched[str(order["id"])]
            told = messages_of(order, watched.fills.values(), account_id, paper=paper)
            if watched.birth is not None:
                told[:1] = messages_of(watched.birth, [], account_id, paper=paper)[:1]
                watched.birth = None
            found += watched.news(told)
        return sorted(found, key=lambda message: parse_rfc3339(message.timestamp))


def moment_ns(answer: Mapping[str, object], name: str) -> int:
    """A moment of Alpaca's, Unix ns; 0 where it does not say."""
    try:
        return parse_rfc3339(str(answer.get(name)))
    except ValueError:
        return 0
