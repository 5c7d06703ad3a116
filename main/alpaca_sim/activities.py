"""The account's activities: executions, and what corporate actions and payments did."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

from .new_york_day import new_york
from .orders import Order
from .refusals import invalid
from .venue_ids import VenueIds
from .wire_numbers import number, timestamp

_MILLISECOND = 1_000_000

Activity = dict[str, object]


@dataclass(frozen=True, kw_only=True)
class ActivityFilter:
    """The query of GET /v2/account/activities."""

    types: frozenset[str] | None = None
    category: str = ""
    after_ns: int | None = None
    until_ns: int | None = None
    ascending: bool = False
    page_size: int = 100
    page_token: str | None = None


class ActivityLog:
    """Activities in the order in which they happened, with ids that also page.

    An id is New York time to the millisecond and a UUID, `20220202135509981::2d7be4ff-…`. Paging
    goes by the position of the token's activity, because several share a millisecond.
    Bounded: the oldest beyond `keep` are forgotten and counted.
    """

    def __init__(self, ids: VenueIds, keep: int) -> None:
        self._ids = ids
        self._keep = keep
        self._entries: list[tuple[int, Activity]] = []
        self._place_of: dict[str, int] = {}
        self.forgotten = 0

    def record_fill(
        self,
        order: Order,
        execution_id: str,
        price: Decimal,
        qty: Decimal,
        kind: str,
        now_ns: int,
    ) -> None:
        """One execution. The id's second half is the execution's id, as on the stream."""
        is_filled = kind == "fill"
        self._append(
            now_ns,
            execution_id,
            {
                "activity_type": "FILL",
                "transaction_time": timestamp(now_ns),
                "type": kind,
                "price": number(price),
                "qty": number(qty),
                "side": order.side,
                "symbol": order.symbol,
                "leaves_qty": "0" if is_filled else number(order.leaves_qty),
                "order_id": order.id,
                "cum_qty": number(order.filled_qty),
                "order_status": "filled" if is_filled else "partially_filled",
            },
        )

    def record_other(
        self, activity_type: str, now_ns: int, *, net_amount: Decimal, **details: object
    ) -> None:
        """Anything that is not an execution, such as SPLIT, NC or CSD."""
        activity = _other(activity_type, now_ns, net_amount, details)
        self._append(now_ns, self._ids.uuid(), activity)

    def record_fee(self, now_ns: int, *, net_amount: Decimal, **details: object) -> None:
        """A pair's fee. Its id knows the day alone."""
        activity_id = f"{new_york(now_ns):%Y%m%d}000000000::{self._ids.uuid()}"
        self._keep_as(activity_id, now_ns, _other("CFEE", now_ns, net_amount, details))

    def _append(self, now_ns: int, unique: str, activity: Activity) -> None:
        moment = new_york(now_ns).strftime("%Y%m%d%H%M%S")
        millisecond = now_ns // _MILLISECOND % 1_000
        self._keep_as(f"{moment}{millisecond:03d}::{unique}", now_ns, activity)

    def _keep_as(self, activity_id: str, now_ns: int, activity: Activity) -> None:
        self._place_of[activity_id] = self.forgotten + len(self._entries)
        self._entries.append((now_ns, {"id": activity_id, **activity}))
        if len(self._entries) >= 2 * self._keep:
            self._trim()

    def _trim(self) -> None:
        surplus = len(self._entries) - self._keep
        for _, activity in self._entries[:surplus]:
            self._place_of.pop(str(activity["id"]), None)
        del self._entries[:surplus]
        self.forgotten += surplus

    def select(self, query: ActivityFilter) -> list[Activity]:
        """One page. Raises Refusal for a token that is not an activity's id."""
        found: list[Activity] = []
        for time_ns, activity in self._from_token(query):
            if _matches(query, time_ns, activity):
                found.append(activity)
                if len(found) == query.page_size:
                    break
        return found

    def _from_token(self, query: ActivityFilter) -> Iterable[tuple[int, Activity]]:
        entries = self._entries
        if query.page_token is None:
            return entries if query.ascending else reversed(entries)
        place = self._place_of.get(query.page_token)
        if place is None:
            raise invalid("invalid page_token")
        place -= self.forgotten
        return _walk(entries, place, 1 if query.ascending else -1)


def _other(
    activity_type: str, now_ns: int, net_amount: Decimal, details: Mapping[str, object]
) -> Activity:
    return {
        "activity_type": activity_type,
        "date": new_york(now_ns).date().isoformat(),
        "created_at": timestamp(now_ns),
        "net_amount": number(net_amount),
        "currency": "USD",
        "status": "executed",
        **details,
    }


def _walk(
    entries: list[tuple[int, Activity]], place: int, step: Literal[1, -1]
) -> Iterator[tuple[int, Activity]]:
    place += step
    while 0 <= place < len(entries):
        yield entries[place]
        place += step


def _matches(query: ActivityFilter, time_ns: int, activity: Activity) -> bool:
    is_trade = query.category == "trade_activity"
    return (
        (query.types is None or activity["activity_type"] in query.types)
        and (not query.category or (activity["activity_type"] == "FILL") == is_trade)
        and (query.after_ns is None or time_ns > query.after_ns)
        and (query.until_ns is None or time_ns < query.until_ns)
    )
