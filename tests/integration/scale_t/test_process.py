"""scale_t as the process that a user starts, with the real broker between it and Alpaca."""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

from main.alpaca_broker import AlpacaBroker, BrokerConfig
from main.alpaca_sim import LocalAlpaca
from main.settings import Settings
from main.utils.redis.config import RedisConfig
from tests.conftest import wait_for
from tests.integration.examples.processes import Process, environment
from tests.integration.scale_t.conftest import AccountOrders

pytestmark = pytest.mark.integration

STARTED_S = 40.0  # a program's start on a busy machine

RunScaleT = Callable[..., Process]


@pytest.fixture
def real_broker(settings: Settings) -> Iterator[AlpacaBroker]:
    broker = AlpacaBroker(BrokerConfig.from_settings(settings))
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture
def run_scale_t(
    alpaca: LocalAlpaca, redis_config: RedisConfig, tmp_path: Path
) -> Iterator[RunScaleT]:
    """`run_scale_t("--max-position", "20", …)`."""
    env = environment(
        REDIS_HOST=redis_config.host,
        REDIS_PORT=str(redis_config.port),
        ALPACA_API_KEY="local",
        ALPACA_API_SECRET="local-secret",
        ALPACA_TRADING_URL=alpaca.url,
        ALPACA_DATA_URL=alpaca.url,
        XDG_STATE_HOME=str(tmp_path),
    )
    started: list[Process] = []

    def run(*arguments: str) -> Process:
        command = ["-m", "main", "scale-t", "run", "--ticker", "AAPL", *arguments]
        started.append(Process(command, tmp_path, env))
        return started[-1]

    yield run
    for process in started:
        process.end()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_within_five_seconds_and_takes_its_entries_back(
    real_broker: AlpacaBroker,
    alpaca: LocalAlpaca,
    orders: AccountOrders,
    run_scale_t: RunScaleT,
    number: signal.Signals,
) -> None:
    """Exit code 0, unregistered, the exit order left to work."""
    process = run_scale_t("--max-position", "20", "--start-price", "100")
    wait_for(lambda: set(orders.working()) == {"entry:0:1"}, STARTED_S)
    alpaca.quote("AAPL", 99.97, 99.99)
    wait_for(lambda: set(orders.working()) == {"profit:0:1", "entry:1:1"})
    process.signal(number)
    assert process.exit_code(timeout_s=5) == 0, process.lines
    assert set(orders.working()) == {"profit:0:1"}
    wait_for(lambda: not real_broker.following(), what="the broker to let go of the ticker")
    assert "PAPER" in process.lines[0]


def test_killed_between_fill_and_exit_it_goes_on_where_alpaca_stands(
    real_broker: AlpacaBroker, alpaca: LocalAlpaca, orders: AccountOrders, run_scale_t: RunScaleT
) -> None:
    """What filled while it was dead is found in the order list, and offered; nothing is doubled."""
    process = run_scale_t("--max-position", "20", "--start-price", "100")
    wait_for(lambda: set(orders.working()) == {"entry:0:1"}, STARTED_S)
    process.signal(signal.SIGKILL)
    process.exit_code()
    alpaca.quote("AAPL", 99.97, 99.99)
    wait_for(lambda: orders.position() == 10)
    run_scale_t("--max-position", "20")
    wait_for(
        lambda: orders.working() == {"profit:0:1": ("10", "100.05"), "entry:1:1": ("10", "99.95")},
        STARTED_S,
    )
    assert len(orders.all()) == 3


def test_killed_at_any_moment_of_a_moving_market_it_never_holds_too_much(
    real_broker: AlpacaBroker, alpaca: LocalAlpaca, orders: AccountOrders, run_scale_t: RunScaleT
) -> None:
    """The market swings over the ladder all the time; in the end all adds up at Alpaca itself."""
    arguments = ("--max-position", "40", "--increment", "0.02", "--start-price", "100")
    swing = [100.0, 99.97, 99.93, 99.96, 99.90, 99.99, 100.05, 99.98]
    for steps in (2, 5, 8):
        process = run_scale_t(*arguments)
        process.wait_for_line("scale_t.entries_allowed", STARTED_S)
        wait_for(orders.all)
        for price in swing[:steps]:
            alpaca.quote("AAPL", price - 0.01, price)
            assert_never_too_much(orders)
        process.signal(signal.SIGKILL)
        process.exit_code()
    run_scale_t(*arguments).wait_for_line("scale_t.entries_allowed", STARTED_S)
    wait_for(orders.quiet)
    assert_never_too_much(orders)


def assert_never_too_much(orders: AccountOrders) -> None:
    """One snapshot of Alpaca's own order list."""
    snapshot = orders.all()
    filled = {"buy": Decimal(0), "sell": Decimal(0)}
    pending = {"buy": Decimal(0), "sell": Decimal(0)}
    for order in snapshot:
        filled[order["side"]] += Decimal(order["filled_qty"])
        if order["status"] not in ("filled", "canceled", "expired", "rejected"):
            pending[order["side"]] += Decimal(order["qty"]) - Decimal(order["filled_qty"])
    held = filled["buy"] - filled["sell"]
    assert held + pending["buy"] <= 40
    assert pending["sell"] <= held
