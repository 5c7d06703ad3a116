"""scale_t as the process that a user starts, with the real broker between it and Alpaca."""

from __future__ import annotations

import signal
from collections.abc import Iterator
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


class RunScaleT:
    """`run_scale_t("--max-position", "20", …)`; `run_scale_t.command("status")`, also without
    keys."""

    def __init__(self, folder: Path, env: dict[str, str]) -> None:
        self.started: list[Process] = []
        self._folder, self._env = folder, env

    def __call__(self, *arguments: str) -> Process:
        return self.command("run", *arguments)

    def command(self, *words: str, keys: bool = True) -> Process:
        env = {name: value for name, value in self._env.items() if keys or "ALPACA" not in name}
        command = ["-m", "main", "scale-t", words[0], "--ticker", "AAPL", *words[1:]]
        self.started.append(Process(command, self._folder, env))
        return self.started[-1]


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
    env = environment(
        REDIS_HOST=redis_config.host,
        REDIS_PORT=str(redis_config.port),
        ALPACA_API_KEY="local",
        ALPACA_API_SECRET="local-secret",
        ALPACA_TRADING_URL=alpaca.url,
        ALPACA_DATA_URL=alpaca.url,
        XDG_STATE_HOME=str(tmp_path),
    )
    run = RunScaleT(tmp_path, env)
    yield run
    for process in run.started:
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


def test_killed_in_the_middle_of_a_flatten_it_goes_on_with_that(
    real_broker: AlpacaBroker, alpaca: LocalAlpaca, orders: AccountOrders, run_scale_t: RunScaleT
) -> None:
    """Not with the trade: somebody wanted out. The market is closed, so it takes its time."""
    process = run_scale_t("--max-position", "20", "--start-price", "100")
    wait_for(lambda: set(orders.working()) == {"entry:0:1"}, STARTED_S)
    alpaca.quote("AAPL", 99.97, 99.99)
    wait_for(lambda: set(orders.working()) == {"profit:0:1", "entry:1:1"})
    alpaca.set_session("closed")
    wait_for(lambda: not orders.working())
    flatten = run_scale_t.command("flatten", "--yes")
    flatten.wait_for_line("flattening", STARTED_S)
    process.signal(signal.SIGKILL)
    process.exit_code()
    flatten.end()
    process = run_scale_t("--max-position", "20")
    process.wait_for_line("scale_t.flattens", STARTED_S)
    alpaca.set_session("regular")
    alpaca.quote("AAPL", 99.97, 99.99)
    assert process.exit_code(STARTED_S) == 0, process.lines
    assert (orders.position(), orders.client.get("/orders", {"status": "open"})) == (0, [])
    assert sum("entry" in each["client_order_id"] for each in orders.all()) == 2, "none since"


def test_status_and_pause_need_no_keys_and_say_whose_account_it_is(
    real_broker: AlpacaBroker, orders: AccountOrders, run_scale_t: RunScaleT
) -> None:
    """They go through Redis; the ladder that answers knows. Other commands say where keys are."""
    run_scale_t("--max-position", "20", "--start-price", "100")
    wait_for(lambda: set(orders.working()) == {"entry:0:1"}, STARTED_S)
    for command, words in (("status", "TRADING"), ("pause", "paused")):
        process = run_scale_t.command(command, keys=False)
        assert process.exit_code(STARTED_S) == 0, process.lines
        assert "PAPER account …SIM1" in process.lines[0]
        assert words in "\n".join(process.lines)
    for asks in (("flatten", "--yes"), ("plan", "--max-position", "20")):
        process = run_scale_t.command(*asks, keys=False)
        assert process.exit_code(STARTED_S) == 2
        assert "up` prints" in " ".join(process.lines)


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
