"""scale_t as the process that a user starts, with the real broker between it and Alpaca."""

from __future__ import annotations

import signal
from decimal import Decimal
from functools import partial

import pytest

from main.alpaca_broker import AlpacaBroker
from main.alpaca_sim import LocalAlpaca
from tests.conftest import wait_for
from tests.integration.scale_t.conftest import STARTED_S, AccountOrders, Run

pytestmark = pytest.mark.integration


@pytest.fixture
def run_scale_t(command: Run) -> Run:
    """`run_scale_t("--max-position", "20", …)`."""
    return partial(command, "run", "--ticker", "AAPL")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_within_five_seconds_and_takes_its_entries_back(
    real_broker: AlpacaBroker,
    alpaca: LocalAlpaca,
    orders: AccountOrders,
    run_scale_t: Run,
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
    real_broker: AlpacaBroker, alpaca: LocalAlpaca, orders: AccountOrders, run_scale_t: Run
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
    real_broker: AlpacaBroker, alpaca: LocalAlpaca, orders: AccountOrders, run_scale_t: Run
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
    real_broker: AlpacaBroker,
    alpaca: LocalAlpaca,
    orders: AccountOrders,
    run_scale_t: Run,
    command: Run,
) -> None:
    """Not with the trade: somebody wanted out. The market is closed, so it takes its time."""
    process = run_scale_t("--max-position", "20", "--start-price", "100")
    wait_for(lambda: set(orders.working()) == {"entry:0:1"}, STARTED_S)
    alpaca.quote("AAPL", 99.97, 99.99)
    wait_for(lambda: set(orders.working()) == {"profit:0:1", "entry:1:1"})
    alpaca.set_session("closed")
    wait_for(lambda: not orders.working())
    flatten = command("flatten", "--ticker", "AAPL", "--yes")
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
    real_broker: AlpacaBroker, orders: AccountOrders, run_scale_t: Run, command: Run
) -> None:
    """They go through Redis; the ladder that answers knows. Other commands say where keys are."""
    run_scale_t("--max-position", "20", "--start-price", "100")
    wait_for(lambda: set(orders.working()) == {"entry:0:1"}, STARTED_S)
    for asked, answer in (("status", "TRADING"), ("pause", "paused")):
        process = command(asked, "--ticker", "AAPL", keys=False)
        assert process.exit_code(STARTED_S) == 0, process.lines
        assert "PAPER account …SIM1" in process.lines[0]
        assert answer in "\n".join(process.lines)
    for word, *more in (("flatten", "--yes"), ("plan", "--max-position", "20")):
        process = command(word, "--ticker", "AAPL", *more, keys=False)
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
