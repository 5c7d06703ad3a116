"""Kill the bridge again and again while orders fill, and count every event type.

    python -m tests.integration.events_bridge.kills --orders 10000 --kills 20

Real processes: the broker and each bridge by `python -m main`, a Valkey, and the local Alpaca over
its sockets. What must have been told is counted from Alpaca's books (judge.py).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from typing import Any, Final

from main.alpaca_sim import LocalAlpaca, MarketRules, SimConfig, StreamRules
from main.alpaca_sim.venue_config import VenueConfig
from main.children import Child
from main.embedded_valkey import EmbeddedValkey
from main.trade_events import RedisEventBus
from main.utils.order_calls import OrderCalls
from main.utils.redis.config import RedisConfig
from tests.integration.events_bridge.judge import Truth, told, truth_of

OWNERS: Final = ("bot-a", "bot-b", "scale-t", "")
TRADED: Final = ("AAPL", "MSFT", "SPY")
RESTING: Final = ("NVDA", "TSLA")
CHUNK: Final = 24  # orders in one round: half of them buy, then half of them sell
_CENT: Final = Decimal("0.01")


class Stage:
    """Alpaca, Valkey and the broker, while the block lasts; `start_bridge` as often as wanted."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.sim = LocalAlpaca(
            SimConfig(
                control_port=None,
                tickers=(*TRADED, *RESTING),
                market=MarketRules(default_rate=0),
                venue=VenueConfig(starting_cash=Decimal(10**9), wash_trade_protection=False),
                streams=StreamRules(zombie_slot_s=0.1, handshake_limit=0),
                trading_rest_limit=0,
                data_rest_limit=0,
            )
        )
        self._server = EmbeddedValkey()
        self._stack = ExitStack()

    def __enter__(self) -> Stage:
        self._stack.enter_context(self._server)
        self._stack.enter_context(self.sim)
        for number, symbol in enumerate((*TRADED, *RESTING)):
            self.sim.quote(symbol, 100 + number, 100.05 + number)
        self.config = RedisConfig(host="127.0.0.1", port=self._server.port)
        self.bus = self._stack.enter_context(RedisEventBus(self.config))
        self.calls = OrderCalls.connect(self.sim.url, "local", "local-secret", timeout_s=30)
        self._stack.callback(self.calls.close)
        broker = self._child("broker", "broker")
        self._stack.callback(lambda: broker.stop(10))
        self._wait_until_ready(broker)
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def _wait_until_ready(self, broker: Child) -> None:
        """What is traded before the order stream is up is recovered later, and so out of order:
        positions would be told in another order than that of Alpaca's books."""
        with self.config.client() as client, client.pubsub() as heartbeats:
            heartbeats.subscribe("BROKER_STATUS")

            def is_ready() -> bool:
                assert broker.exit_code is None, broker.obituary()
                heard = heartbeats.get_message(ignore_subscribe_messages=True, timeout=0.1)
                return (
                    heard is not None and json.loads(heard["data"])["upstream"]["orders"]["ready"]
                )

            wait_until(is_ready, 60, "the broker is ready for orders")

    @contextmanager
    def bridge(self) -> Iterator[Child]:
        """One bridge process; ended with the block, if it was not killed in it."""
        bridge = self._child("bridge", "events", "bridge", "--look-every", "0.1")
        try:
            yield bridge
        finally:
            bridge.stop(10)

    def _child(self, name: str, *arguments: str) -> Child:
        child = Child(name, arguments, self._environment())
        child.start()
        return child

    def _environment(self) -> dict[str, str]:
        known = {name: value for name, value in os.environ.items() if "ALPACA" not in name}
        return known | {
            "REDIS_URL": f"redis://127.0.0.1:{self._server.port}/0",
            "ALPACA_API_KEY": "local",
            "ALPACA_API_SECRET": "local-secret",
            "ALPACA_DATA_STREAM_URL": self.sim.data_stream_url,
            "ALPACA_TRADING_STREAM_URL": self.sim.trading_stream_url,
            "ALPACA_DATA_URL": self.sim.url,
            "ALPACA_TRADING_URL": self.sim.url,
        }

    @property
    def logged(self) -> int:
        """Events in the bus' log."""
        with self.config.client() as client:
            return int(client.xlen("trades:log"))

    def truth(self) -> Truth:
        orders = [order for symbol in (*TRADED, *RESTING) for order in self._orders(symbol)]
        return truth_of(orders, self.calls.fills("2000-01-01T00:00:00Z", max_pages=1_000))

    def _orders(self, symbol: str) -> list[Any]:
        """Page by page, with the legs inside their parents."""
        found: dict[str, Any] = {}
        wanted = {"status": "all", "symbols": symbol, "limit": 500, "nested": "true"}
        while True:
            page = self.calls._client.get("/orders", wanted)
            fresh = [order for order in page if order["id"] not in found]
            found.update((order["id"], order) for order in fresh)
            if len(page) < 500 or not fresh:
                return list(found.values())
            wanted["until"] = page[-1]["submitted_at"]


class Traffic:
    """Orders of several owners and by hand: filled in one or in parts, cancelled, replaced,
    rejected, expired. `sent` counts them; it goes on as far as `go_on_to` says."""

    def __init__(self, stage: Stage) -> None:
        self.sent = 0
        self.failed: BaseException | None = None
        self._stage, self._chance = stage, random.Random(stage.chance.random())
        self._goal, self._ending = 0, threading.Event()
        self._thread = threading.Thread(target=self._run, name="traffic", daemon=True)
        self._thread.start()

    def go_on_to(self, orders: int) -> None:
        self._goal = orders

    def join(self, timeout_s: float) -> None:
        """All of it is sent, and settled."""
        self._ending.set()
        self._thread.join(timeout_s)
        assert not self._thread.is_alive(), f"only {self.sent} orders were sent"
        if self.failed is not None:
            raise self.failed

    def _run(self) -> None:
        try:
            while True:
                if self.sent >= self._goal:
                    if self._ending.wait(0.01):
                        return
                    continue
                self._round_trips()
                self._end_somehow()
        except BaseException as error:
            self.failed = error

    def _round_trips(self) -> None:
        """The account buys and sells as much; its owners may end flat, long or short of it."""
        symbol = self._chance.choice(TRADED)
        count = min(CHUNK // 2, (self._goal - self.sent + 1) // 2)
        owners = self._chance.choices(OWNERS, k=count)
        sellers = self._chance.choice(
            [self._chance.choices(OWNERS, k=count), self._chance.sample(owners, count)]
        )
        for side, traders in (("buy", owners), ("sell", sellers)):
            for owner in traders:
                self._order(symbol, owner, side=side, qty="10", type="market")
            self._settle(symbol)

    def _end_somehow(self) -> None:
        """A resting order that ends in one of the other ways."""
        symbol = self._chance.choice(RESTING)
        owner = self._chance.choice(OWNERS)
        order_id = self._order(symbol, owner, side="buy", qty="10", type="limit", limit_price="50")
        way = self._chance.choice(["cancel", "replace", "rejected", "expired", "rest"])
        wait_until(lambda: self._status(order_id) == "new", 20, "the order rests")
        if way == "cancel":
            self._stage.calls.cancel(order_id)
        elif way == "replace":
            self._stage.calls._client.patch(f"/orders/{order_id}", {"limit_price": "51"})
            self.sent += 1
            wait_until(lambda: self._status(order_id) == "replaced", 20, "it is replaced")
        elif way in ("rejected", "expired"):
            self._stage.sim.inject_order_event(order_id, way)

    def _order(self, symbol: str, owner: str, **fields: str) -> str:
        name = f"{owner}:{symbol}:{self.sent}" if owner else f"by-hand-{self.sent}"
        self.sent += 1
        return self._stage.sim.order_by_hand(
            symbol=symbol, time_in_force="day", client_order_id=name, **fields
        )

    def _status(self, order_id: str) -> str:
        answer: Any = self._stage.calls.get(order_id)
        return str(answer.order_data["status"])

    def _settle(self, symbol: str) -> None:
        wait_until(lambda: not self._stage.calls.open_orders(symbol), 60, f"{symbol} is settled")


def kill_rounds(orders: int, kills: int, seed: int, say: Callable[[str], None]) -> Truth:
    """Trade, kill, count.

    Raises:
        AssertionError: an event type's count, the profit or a position is not what it must be.
    """
    with Stage(seed) as stage:
        traffic = Traffic(stage)
        for number in range(kills):
            with stage.bridge() as bridge:
                traffic.go_on_to((number + 1) * orders // kills)
                # An order makes four events or more, so that there is work left at the kill.
                _kill_at_work(stage, bridge, stage.chance.randint(1, 3 * orders // kills))
            say(f"kill {number + 1}: {traffic.sent} orders sent, {stage.logged} events told")
        with stage.bridge() as last:
            traffic.join(600)
            expected = stage.truth()
            total = expected.events.total()
            wait_until(lambda: stage.logged >= total, 120, f"{total} events are told")
            last.stop(10)
            assert last.exit_code == 0, last.obituary()
        _compare(expected, told(stage.bus))
        anomalies = stage.config.client().xlen("trades:anomalies")
        assert anomalies == 0, f"{anomalies} illegal moves"
        rebuilt = stage.bus.rebuild()
        assert rebuilt.is_equal, f"the state is not what the log says: {rebuilt}"
        return expected


def _kill_at_work(stage: Stage, bridge: Child, after_events: int) -> None:
    """SIGKILL while it publishes: some events after it began, wherever that is."""
    until = stage.logged + after_events
    wait_until(lambda: stage.logged >= until, 120, "the bridge is at work")
    os.kill(bridge.pid, 9)


def _compare(expected: Truth, found: Truth) -> None:
    assert found.events == expected.events, (
        f"told and true differ: too many {found.events - expected.events}, "
        f"missing {expected.events - found.events}"
    )
    assert abs(found.pnl - expected.pnl) < _CENT, f"profit {found.pnl}, not {expected.pnl}"
    assert found.volumes == expected.volumes


def wait_until(condition: Callable[[], object], timeout_s: float, what: str) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, f"not within {timeout_s} s: {what}"
        time.sleep(0.01)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=10_000)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    began = time.monotonic()
    truth = kill_rounds(given.orders, given.kills, given.seed, lambda line: print(line, flush=True))
    for name, count in sorted(truth.events.items()):
        print(f"{name:26} {count:>8,}")
    took_s = time.monotonic() - began
    print(f"exact after {given.kills} kills: {truth.events.total():,} events in {took_s:.0f} s")


if __name__ == "__main__":
    sys.exit(main())
