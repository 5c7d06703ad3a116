"""Registrations while others trade: nobody else loses, sees twice, or sees swapped one message.

The local Alpaca knows what it sent; that is compared with what a handler of the library saw and
with what a plain redis-py client saw.
"""

from __future__ import annotations

import itertools
import statistics
import time
from collections import defaultdict

import pytest

from main.alpaca_broker import AlpacaBroker
from main.alpaca_sim import LocalAlpaca
from main.utils.redis.config import RedisConfig
from main.utils.redis.messages import PriceMessage
from main.utils.redis.subscriber import RedisSubscriber
from tests.conftest import wait_for
from tests.integration.alpaca_broker.bench import Bus
from tests.integration.alpaca_broker.conftest import StartBroker, quiet_market

pytestmark = [pytest.mark.integration, pytest.mark.slow]

HELD = [
    "AAPL", "MSFT", "NVDA", "TSLA", "AMZN", "META", "GOOGL", "SPY", "QQQ", "AMD",
    "INTC", "NFLX", "DIS", "BA", "JPM", "BAC", "XOM", "CVX", "KO", "PEP",
]  # fmt: skip
OTHERS = ["WMT", "HD", "MCD", "NKE", "PFE"]
MESSAGES_PER_S = 2_000
CHANGES = 50
ACK_S = 0.2


class Watch:
    """What was seen of each ticker, by a handler of the library and by a plain client."""

    def __init__(self, config: RedisConfig, bus: Bus) -> None:
        self.by_handler: defaultdict[str, list[PriceMessage]] = defaultdict(list)
        self.bus = bus
        self.subscriber = RedisSubscriber(config)
        for ticker in HELD:
            seen = self.by_handler[ticker]
            self.subscriber.subscribe(f"TICKER_UPDATES_{ticker}", seen.append)
        bus.listen(*(f"TICKER_UPDATES_{ticker}" for ticker in HELD))
        self.subscriber.start_listening()

    def check(self, sim: LocalAlpaca, ticker: str) -> int:
        """Compare with the oracle; returns how many trades there were."""
        sent = [trade.trade_id for trade in sim.oracle.sent_trades(ticker)]
        seen = self.by_handler[ticker]
        heard = self.bus.updates(ticker)
        assert [m["trade_id"] for m in heard] == sent, f"{ticker}: the plain client"
        assert [m.trade_id for m in seen] == sent, f"{ticker}: the library's handler"
        assert [m["seq"] for m in heard] == list(range(1, len(sent) + 1))
        assert [m.seq for m in seen] == list(range(1, len(sent) + 1))
        assert len({m["epoch"] for m in heard}) == 1
        return len(sent)


def change_registrations(bus: Bus, over_s: float) -> None:
    """Registrations and unregistrations of other tickers, evenly spread, without waiting."""
    began = time.monotonic()
    steps = zip(range(CHANGES), itertools.cycle(OTHERS), strict=False)
    for number, ticker in steps:
        action = "subscribe" if number // len(OTHERS) % 2 == 0 else "unsubscribe"
        bus.ask({"action": action, "ticker": ticker, "client_id": "other", "request_id": number})
        due = began + over_s * (number + 1) / CHANGES
        wait_for(lambda due=due: time.monotonic() >= due, timeout_s=over_s)


def restart_under_load(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus, config: RedisConfig, over_s: float
) -> None:
    watch = Watch(config, bus)
    try:
        for ticker in HELD:
            assert bus.register(ticker, "holder")["status"] == "accepted"
        for ticker in HELD:
            sim.set_rate(ticker, MESSAGES_PER_S / len(HELD))
        restarts = broker.counters["restarts"]
        change_registrations(bus, over_s)
        wait_for(
            lambda: len({r["request_id"] for r in replies(bus)}) == CHANGES,
            timeout_s=30,
            what="a reply to every request",
        )
        for ticker in HELD:
            sim.set_rate(ticker, 0)
        for ticker in HELD:
            sent = len(sim.oracle.sent_trades(ticker))
            wait_for(lambda t=ticker, n=sent: len(watch.by_handler[t]) >= n, timeout_s=30)
            bus.wait_for_trades(ticker, sent, timeout_s=30)
        total = sum(watch.check(sim, ticker) for ticker in HELD)
        assert total > MESSAGES_PER_S * over_s * 0.8, "the load was not there"
        assert broker.counters["restarts"] - restarts >= 5, "nothing was restarted"
        assert {r["status"] for r in replies(bus)} == {"accepted"}
        assert watch.subscriber.counters.get("holes", 0) == 0
    finally:
        watch.subscriber.close()


def replies(bus: Bus) -> list[dict[str, object]]:
    heard = list(bus.heard["BROKER_REGISTRATION_REPLIES"])
    return [reply for reply in heard if reply["client_id"] == "other"]


def test_50_registration_changes_cost_20_busy_tickers_nothing(
    sim: LocalAlpaca, broker: AlpacaBroker, bus: Bus, redis_config: RedisConfig
) -> None:
    restart_under_load(sim, broker, bus, redis_config, over_s=10)


def test_nor_do_they_when_alpaca_takes_200_ms_to_acknowledge(
    start_broker: StartBroker, bus: Bus, redis_config: RedisConfig
) -> None:
    with quiet_market(ack_delay_s=ACK_S) as slow:
        broker = start_broker(slow)
        restart_under_load(slow, broker, bus, redis_config, over_s=6)
        usual_s = statistics.median(broker.dead_times_s)
        assert usual_s < ACK_S / 2, "the acknowledgement is not part of the dead time"
        broker.stop()
