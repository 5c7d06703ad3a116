"""The whole road with real processes: Alpaca, broker, bridge, executor and bus."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from decimal import Decimal

import pytest
from alpaca.trading.client import TradingClient

from main.trade_events import RedisEventBus
from main.trader import ExecutorBuilder, TradeExecutor
from tests.conftest import wait_for
from tests.integration.events_bridge.judge import told
from tests.integration.events_bridge.kills import Stage, kill_rounds

pytestmark = [pytest.mark.integration, pytest.mark.slow]


def test_killed_five_times_during_500_orders_every_count_is_exact() -> None:
    """`make bridge-kills` does it 20 times during 10,000."""
    truth = kill_rounds(500, 5, seed=3, say=print)
    assert truth.events["order.partially_filled"] > 0, "some filled in parts"


def executor_of(stage: Stage, bus: RedisEventBus, client_id: str) -> TradeExecutor:
    client = TradingClient("local", "local-secret", url_override=stage.sim.url)
    config = {"client_id": client_id, "requests_per_minute": 200, "poll_s": 0.2}
    return ExecutorBuilder.build_from_config(config=config, client=client, event_bus=bus)


def trade(executor: TradeExecutor, wait: Callable[[object], object]) -> None:
    """Round trips, a short sale, a replaced and a cancelled order, and one that is refused."""
    for symbol, first, second in (("AAPL", "buy", "sell"), ("MSFT", "sell", "buy")):
        for side in (first, first, second):
            outcome = executor.execute(symbol=symbol, side=side, qty=10)
            assert outcome, outcome
            wait(outcome)
    resting = executor.buy("NVDA", qty=5, limit_price=50)
    wait_for(lambda: _status(executor, resting.order_id) == "new", what="it rests")
    replaced = executor.replace(resting, limit_price=51)
    assert replaced, replaced
    wait_for(lambda: _status(executor, replaced.order_id) == "new", what="the new one rests")
    executor.cancel(replaced)
    wait(replaced)
    for symbol in ("AAPL", "MSFT"):
        closed = executor.close_position(symbol)
        assert closed is not None
        assert closed, closed
        wait(closed)


def bracket(stage: Stage, executor: TradeExecutor) -> None:
    """An entry with both exits; the market falls to the stop loss. The stream does not say whose
    the legs are."""
    entry = executor.buy(
        "TSLA", qty=10, order_class="bracket", take_profit_price=120, stop_loss_price=90
    )
    assert entry, entry
    executor.wait(entry, timeout_s=10)
    stage.sim.quote("TSLA", 89.90, 89.95)
    wait_for(lambda: executor.orders.settled, what="both legs ended")


def storm(executor: TradeExecutor) -> None:
    """Four threads buy and sell one symbol at once, some in parts: orders overlap, and this
    owner's position goes through zero again and again. The account's is another's, and large."""

    def some(number: int) -> None:
        for turn in range(8):
            side = "buy" if (turn + number) % 2 else "sell"
            outcome = executor.execute(symbol="SPY", side=side, qty=3 + turn)
            assert outcome, outcome

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(some, range(4)))


def _status(executor: TradeExecutor, order_id: str | None) -> str:
    assert order_id is not None
    order = executor.orders.order(order_id)
    return "" if order is None else order.status


def bridge_told_all(stage: Stage) -> bool:
    """Whether the bridge remembers the last message of each order journal."""
    with stage.config.client() as client:
        journals = [key.decode() for key in client.keys("ORDER_LOG_*")]
        for journal in journals:
            symbol = journal.removeprefix("ORDER_LOG_")
            place = client.hget(f"trades:bridge:memory:{symbol}", "place")
            ((last, _),) = client.xrevrange(journal, count=1)
            if place != last:
                return False
    return bool(journals)


def test_the_executors_and_the_brokers_word_become_one_event() -> None:
    """Both tell everything, the bus takes each once; counts, profit and positions are those of
    Alpaca's own books."""
    with ExitStack() as stack:
        stage = stack.enter_context(Stage(seed=1))
        stack.enter_context(stage.bridge())
        one, two = (
            stack.enter_context(executor_of(stage, stage.bus, name)) for name in ("bot-a", "bot-b")
        )
        trade(one, lambda outcome: one.wait(outcome, timeout_s=10))  # type: ignore[arg-type]
        one.wait(one.buy("SPY", qty=10_000), timeout_s=10)
        storm(two)
        bracket(stage, one)
        for executor in (one, two):
            wait_for(lambda it=executor: it.orders.settled, what="the executor knows it all")  # type: ignore[misc]
        expected = stage.truth()
        wait_for(
            lambda: _published(one) + _published(two) == expected.events.total(),
            what="the executors told it all",
        )
        wait_for(lambda: bridge_told_all(stage), what="the bridge told it all too")
        found = told(stage.bus)
        assert found.events == expected.events, (one.orders.counters, two.orders.counters)
        assert abs(found.pnl - expected.pnl) < Decimal("0.01")
        assert found.volumes == expected.volumes
        assert stage.bus.counters["anomaly"] == 0


def _published(executor: TradeExecutor) -> int:
    assert executor.orders.counters["events_failed"] == 0
    return executor.orders.counters["events_published"]
