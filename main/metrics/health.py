"""Pure: is this broker alive, and can it do its work? With the reasons if not."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, Final

from ..alpaca_broker import AlpacaBroker

# The heartbeat works each second; with Redis away a beat may take some seconds.
BEAT_OVERDUE_S: Final = 30.0
DEAD: Final = ("FAULTED", "REFUSED")


@dataclass(frozen=True, kw_only=True)
class Health:
    """`reasons` is empty if all is well."""

    state: str
    reasons: tuple[str, ...]

    @property
    def is_well(self) -> bool:
        return not self.reasons

    def as_json(self, well: str) -> dict[str, Any]:
        return {well: self.is_well, "state": self.state, "reasons": list(self.reasons)}


def liveness(broker: AlpacaBroker) -> Health:
    """Not alive: nothing but a restart helps. A standby is alive; so is one that waits."""
    state, reasons = broker.state, []
    if state in DEAD:
        reasons.append(f"{state}: {broker.reason or 'see the log'}")
    silent_s = time.monotonic() - broker.beaten_s if broker.beaten_s else 0.0
    if silent_s > BEAT_OVERDUE_S:
        reasons.append(f"the heartbeat thread has not worked for {silent_s:.0f} s")
    return Health(state=state, reasons=tuple(reasons))


def readiness(broker: AlpacaBroker) -> Health:
    """Ready: it owns the connection, runs, both streams flow, and Redis takes what it publishes."""
    state, parts, reasons = broker.state, broker.parts, []
    if state != "RUNNING":
        reasons.append(f"{state}: {broker.reason}" if broker.reason else f"the broker is {state}")
    if parts is None or parts.leadership is None:
        reasons.append("it does not own Alpaca's connection")
    else:
        market = parts.upstreams.market.get("stocks")
        if market is None or market.state.state != "LIVE":
            told = market and (market.state.reason or market.state.state)
            reasons.append(f"prices: {told or 'not connected'}")
        if not broker.status.orders_ready(parts):
            reasons.append("orders: not reconciled since the last interruption")
        if parts.publisher.trouble or not broker.status.redis_hears:
            reasons.append(f"redis: {parts.publisher.trouble or 'takes no heartbeat'}")
    return Health(state=state, reasons=tuple(reasons))
