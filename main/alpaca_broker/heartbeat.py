"""The heartbeat: what the broker says of itself on BROKER_STATUS, each second and at changes."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import structlog

from ..utils.redis.messages import (
    BrokerStatus,
    MarketStatus,
    OrderStreamStatus,
    PriceStreamStatus,
    TickerStatus,
    UpstreamStatus,
    now_rfc3339,
    rfc3339,
)
from ..utils.tracebacks import plain_traceback
from ..utils.turns import TURN_S, until_turn_s
from .connection_config import StreamState
from .workers import Worker

log: Final = structlog.get_logger("tickerbus.heartbeat")

MAX_LISTED_TICKERS: Final = 200
MAX_UNWELL_TICKERS: Final = 50
WELL: Final = ("LIVE", "QUIET")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a status is made of, at one moment."""

    epoch: int
    state: str
    account_id: str | None
    paper: bool
    started_ns: int
    version: str
    prices: StreamState
    orders: StreamState
    orders_ready: bool
    last_order_ns: int
    lag_ms: float | None
    seqs: Mapping[str, int]
    following: frozenset[str]
    ticker_states: Mapping[str, str]
    market_open: bool
    market_changes_ns: int | None
    symbol_limit: int
    counters: Mapping[str, int]
    journal: Mapping[str, int]
    account_number: str | None = None
    local: bool | None = None


def build_status(facts: Facts) -> BrokerStatus:
    """Pure but for the time of day."""
    changes_ns = facts.market_changes_ns
    return BrokerStatus(
        epoch=facts.epoch,
        state=facts.state,
        account_id=facts.account_id,
        paper=facts.paper,
        timestamp=now_rfc3339(),
        started_at=rfc3339(facts.started_ns),
        version=facts.version,
        upstream=UpstreamStatus(
            prices=PriceStreamStatus(
                state=facts.prices.state,
                since=rfc3339(facts.prices.since_ns),
                reason=_brief(facts.prices.reason),
                lag_ms=facts.lag_ms,
                symbols=len(facts.following),
            ),
            orders=OrderStreamStatus(
                state=facts.orders.state,
                since=rfc3339(facts.orders.since_ns),
                reason=_brief(facts.orders.reason),
                ready=facts.orders_ready,
                last_event_at=rfc3339(facts.last_order_ns) if facts.last_order_ns else None,
            ),
        ),
        market=MarketStatus(
            is_open=facts.market_open,
            changes_at=None if changes_ns is None else rfc3339(changes_ns),
        ),
        limits={"symbols": facts.symbol_limit},
        **_whose(facts),
        **_tickers(facts),
        counters=dict(facts.counters),
        journal=dict(facts.journal),
    )


def _whose(facts: Facts) -> dict[str, Any]:
    """Only as much of the account's number as tells a person which one it is."""
    if facts.account_number is None or facts.local is None:
        return {}
    return {"account_short": facts.account_number[-4:], "local": facts.local}


def _tickers(facts: Facts) -> dict[str, Any]:
    """Each ticker's number and state; of very many only what does not fit the heartbeat's size."""
    states = {t: facts.ticker_states.get(t, "QUIET") for t in sorted(facts.following)}
    if len(states) <= MAX_LISTED_TICKERS:
        seqs = facts.seqs
        return {
            "tickers": {t: TickerStatus(seq=seqs.get(t, 0), state=s) for t, s in states.items()}
        }
    unwell = [(ticker, state) for ticker, state in states.items() if state not in WELL]
    return {"states": dict(Counter(states.values())), "unwell": dict(unwell[:MAX_UNWELL_TICKERS])}


def _brief(reason: str | None) -> str | None:
    return reason and reason[:200]


class Heartbeat(Worker):
    """A named thread that calls `beat` every `period_s`, and at once when it is nudged, or when
    `look`, which it calls at every turn, has found a change."""

    name = "heartbeat"

    def __init__(
        self,
        beat: Callable[[], None],
        period_s: float,
        look: Callable[[], bool] = lambda: False,
    ) -> None:
        super().__init__()
        self._beat, self._period_s, self._look = beat, period_s, look
        self._nudged = threading.Event()

    def nudge(self) -> None:
        """A state has changed: say so now."""
        self._nudged.set()

    def begin_stop(self) -> None:
        super().begin_stop()
        self._nudged.set()

    def _run(self) -> None:
        next_beat_s, turn_s = 0.0, min(self._period_s, TURN_S)
        while True:
            ending = self._stopping  # one more beat after it was asked to end: it says STOPPING
            nudged = self._nudged.is_set()
            self._nudged.clear()
            try:
                if self._look() or nudged or time.monotonic() >= next_beat_s:
                    # From the turn that has begun: so it falls on one again.
                    next_beat_s = time.monotonic() + until_turn_s(turn_s) - turn_s + self._period_s
                    self._beat()
            except Exception:  # the supervisor: one bad beat must not be the last
                log.error("heartbeat.failed", traceback=plain_traceback())
            if ending:
                return
            left_s = next_beat_s - time.monotonic()
            self._nudged.wait(max(0.0, min(left_s, until_turn_s(turn_s))))
