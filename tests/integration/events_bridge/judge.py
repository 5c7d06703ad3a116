"""What the trade events must have been, counted from Alpaca's own books, not from the bus.

It knows nothing of the bridge's code: orders by REST, executions by their activities, and positions
added up with whole cents.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from main.trade_events import RedisEventBus

_BY_STATUS = {
    "canceled": ["order.cancelled"],
    "expired": ["order.cancelled"],
    "rejected": ["order.rejected", "trade.failed"],
    "replaced": ["order.modified"],
}
_HITS = {"limit": "risk.take_profit_hit", "stop": "risk.stop_loss_hit"}


@dataclass
class Truth:
    """How many events of each type, and what the round trips earned."""

    events: Counter[str] = field(default_factory=Counter)
    pnl: Decimal = Decimal(0)
    volumes: dict[tuple[str, str], Decimal] = field(default_factory=dict)  # by symbol and owner


def truth_of(orders: Iterable[Mapping[str, Any]], fills: Iterable[Mapping[str, Any]]) -> Truth:
    """`orders` carry their legs; `fills` are the account's activities in the order in which they
    happened."""
    truth = Truth()
    owners = dict[str, str]()
    parents = dict[str, str]()
    found = {order["id"]: order for order in orders}
    for order in list(found.values()):
        for leg in order["legs"] or []:
            found[leg["id"]] = leg
            parents[leg["id"]] = order["id"]
    for order in sorted(
        found.values(), key=lambda each: (each["submitted_at"], each["id"] in parents)
    ):
        truth.events["order.created"] += 1
        truth.events.update(_BY_STATUS.get(order["status"], []))
        if order["id"] in parents and order["status"] == "filled":
            truth.events[_HITS[order["type"]]] += 1
        name, before = order["client_order_id"], parents.get(order["id"]) or order["replaces"]
        owners[order["id"]] = name.partition(":")[0] if ":" in name else owners.get(before, "")
    _count_fills(truth, fills, owners)
    return truth


def _count_fills(
    truth: Truth, fills: Iterable[Mapping[str, Any]], owners: Mapping[str, str]
) -> None:
    costs = defaultdict[tuple[str, str], Decimal](Decimal)
    volumes = defaultdict[tuple[str, str], Decimal](Decimal)
    for fill in fills:
        whole = fill["type"] == "fill"
        truth.events["order.filled" if whole else "order.partially_filled"] += 1
        truth.events["trade.executed"] += 1
        holder = (fill["symbol"], owners[fill["order_id"]])
        qty, price = Decimal(fill["qty"]), Decimal(fill["price"])
        signed = qty if fill["side"] == "buy" else -qty
        held = volumes[holder]
        if held * signed >= 0:
            truth.events["position.modified" if held else "position.opened"] += 1
            costs[holder] += signed * price
            volumes[holder] += signed
            continue
        closed = min(abs(held), qty).copy_sign(signed)
        share = costs[holder] * -closed / held
        truth.pnl += -closed * price - share
        costs[holder] -= share
        volumes[holder] += closed
        truth.events["position.partially_closed" if volumes[holder] else "position.closed"] += 1
        if rest := signed - closed:
            truth.events["position.opened"] += 1
            costs[holder], volumes[holder] = rest * price, rest
    truth.volumes = {holder: volume for holder, volume in volumes.items() if volume}


def told(bus: RedisEventBus) -> Truth:
    """What stands in the event bus' log, and in its state."""
    found = Truth()
    ids = set[str]()
    symbols = set[str]()
    for event in bus.replay(None):
        assert event.event_id not in ids, f"{event.event_type} came twice: {event.event_id}"
        ids.add(event.event_id)
        symbols.add(event.symbol)
        found.events[event.event_type.value] += 1
        found.pnl += Decimal(str(event.data.get("pnl", 0)))
    for symbol in symbols:
        for held in bus.get_active_positions(symbol):
            sign = -1 if held["direction"] == "SHORT" else 1
            found.volumes[symbol, held.get("owner", "")] = sign * Decimal(str(held["volume"]))
    return found
