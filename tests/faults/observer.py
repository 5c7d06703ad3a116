"""What the lab hears from outside: the heartbeats, and every word of the processes.

From these follows when a fault was detected (the first thing said of it, by anybody) and when all
was well again.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast

import redis

from main.utils.redis.messages import BrokerStatus, decode_typed

from .planted import Leaks
from .programs import read_log_line

MISSED_NS = 1_750_000_000  # this long without a heartbeat is evidence
WELL = frozenset({"LIVE", "QUIET"})


@dataclass(frozen=True)
class Evidence:
    """Something was said that is not usual."""

    at: int
    who: str
    what: str


class Observer:
    """Listens until it is closed. `port` says where the primary is now."""

    def __init__(self, port: Callable[[], int], prefix: str = "") -> None:
        self.evidence: list[Evidence] = []
        self.statuses: deque[tuple[int, BrokerStatus]] = deque(maxlen=20_000)
        self.words: dict[str, deque[str]] = {}
        self.leaks = Leaks()
        self._missed_after = 0
        self._port, self._channel = port, f"{prefix}BROKER_STATUS"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, name="lab-observer", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._ended.set()
        self._thread.join(5)

    def hear(self, who: str, at: int, text: str) -> None:
        """A line of a process's log. Warnings and errors are evidence."""
        self.leaks.look(f"what {who} says", text)
        self.words.setdefault(who, deque(maxlen=4_000)).append(f"{at} {text}")
        said = read_log_line(text)
        if said.level in ("warning", "error", "critical"):
            self.evidence.append(Evidence(at, who, said.event))

    def first_evidence(self, since: int) -> Evidence | None:
        return next((one for one in sorted(self.evidence, key=_when) if one.at >= since), None)

    @property
    def last(self) -> BrokerStatus | None:
        return self.statuses[-1][1] if self.statuses else None

    def well_since(self, since: int) -> int | None:
        """When, after `since`, a heartbeat first said that all is well and it stayed so."""
        found: int | None = None
        for at, status in list(self.statuses):
            if at < since:
                continue
            if not is_well(status):
                found = None
            elif found is None:
                found = at
        return found

    def _listen(self) -> None:
        while not self._ended.is_set():
            client = redis.Redis(
                host="127.0.0.1", port=self._port(), socket_timeout=1, socket_connect_timeout=1
            )
            try:
                with cast(Any, client).pubsub(ignore_subscribe_messages=True) as channel:
                    channel.subscribe(self._channel)
                    port = self._port()
                    while not self._ended.is_set() and port == self._port():
                        message = channel.get_message(timeout=0.1)
                        if message:
                            self._take(message["data"])
                        self._miss_heartbeats()
            except (redis.RedisError, OSError):
                self._ended.wait(0.05)
                self._miss_heartbeats()
            finally:
                client.close()

    def _miss_heartbeats(self) -> None:
        """A heartbeat comes every second: who listens knows when it does not."""
        now = time.time_ns()
        last = self.statuses[-1][0] if self.statuses else now
        if last <= self._missed_after or now - last < MISSED_NS:
            return
        self._missed_after = last
        self.evidence.append(Evidence(now, "heartbeat", "missing"))

    def _take(self, payload: bytes) -> None:
        self.leaks.look("the heartbeat", payload)
        status = decode_typed(payload)
        if not isinstance(status, BrokerStatus):
            return
        at = time.time_ns()
        if self.statuses and not is_well(status):
            self.evidence.append(Evidence(at, "heartbeat", describe(status)))
        self.statuses.append((at, status))


def _when(evidence: Evidence) -> int:
    return evidence.at


def is_well(status: BrokerStatus) -> bool:
    tickers = status.tickers if isinstance(status.tickers, dict) else {}
    return (
        status.state == "RUNNING"
        and status.upstream.prices.state in WELL
        and status.upstream.orders.state == "LIVE"
        and status.upstream.orders.ready
        and all(ticker.state in WELL for ticker in tickers.values())
    )


def describe(status: BrokerStatus) -> str:
    prices, orders = status.upstream.prices, status.upstream.orders
    tickers = status.tickers if isinstance(status.tickers, dict) else {}
    ill = [f"{name} {one.state}" for name, one in tickers.items() if one.state not in WELL]
    parts = [
        status.state * (status.state != "RUNNING"),
        f"prices {prices.state}" * (prices.state not in WELL),
        f"orders {orders.state}" * (orders.state != "LIVE"),
        "orders not ready" * (not orders.ready),
        *ill[:2],
    ]
    return ", ".join(filter(None, parts))
