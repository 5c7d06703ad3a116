"""Every example runs as a newcomer runs it, against real processes, and does what it says."""

from __future__ import annotations

import csv
import signal
from collections.abc import Callable, Iterator

import pytest
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import LimitOrderRequest

from main.utils.redis import RedisConfig, RedisSubscriber
from main.utils.redis.messages import RegistrationReply
from tests.conftest import wait_for
from tests.integration.examples.processes import Process, RealStack

pytestmark = pytest.mark.integration

RunExample = Callable[..., Process]


@pytest.fixture
def replies(stack: RealStack) -> Iterator[list[RegistrationReply]]:
    """What the broker answers while the test runs."""
    heard: list[RegistrationReply] = []
    with RedisSubscriber(RedisConfig(host="127.0.0.1", port=stack.redis_port)) as bus:
        bus.subscribe(bus.names.BROKER_REGISTRATION_REPLIES, heard.append)
        bus.start_listening()
        yield heard


def buy_far_below(account: TradingClient, ticker: str, client_order_id: str) -> None:
    account.submit_order(
        LimitOrderRequest(
            symbol=ticker,
            qty=3,
            side=OrderSide.BUY,
            time_in_force=TimeInForce.DAY,
            limit_price=1,
            client_order_id=client_order_id,
        )
    )


def test_print_ticker_prints_trades_and_orders_and_unregisters_at_ctrl_c(
    run_example: RunExample, account: TradingClient, replies: list[RegistrationReply]
) -> None:
    """The first thing that a newcomer runs."""
    example = run_example("print_ticker.py", "aapl")
    assert " AAPL " in example.wait_for_line(" x ")
    buy_far_below(account, "AAPL", "printed-1")
    assert "new: buy 3 printed-1" in example.wait_for_line("new: ")
    example.signal(signal.SIGINT)
    assert example.exit_code() == 0
    wait_for(lambda: [(r.action, r.status) for r in replies][-1:] == [("unsubscribe", "accepted")])
    assert not any("Traceback" in line for line in example.lines)


def test_record_to_csv_writes_every_trade_of_its_tickers_and_ends_by_itself(
    run_example: RunExample, stack: RealStack
) -> None:
    """Numbers without a hole: nothing is missing in the file."""
    example = run_example("record_to_csv.py", "AAPL", "MSFT", "--output", "t.csv", "--seconds", "3")
    assert example.exit_code() == 0, example.lines
    with (stack.folder / "t.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for ticker in ("AAPL", "MSFT"):
        numbers = [int(row["seq"]) for row in rows if row["symbol"] == ticker]
        assert len(numbers) > 5
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
    assert all(float(row["price"]) > 0 for row in rows)


def test_price_alert_speaks_once_for_each_crossing(run_example: RunExample) -> None:
    """All prices are above a cent: it says so once, not with every trade."""
    example = run_example("price_alert.py", "MSFT", "--above", "0.01", "--seconds", "3")
    assert example.exit_code() == 0, example.lines
    assert [line.split()[-1] for line in example.lines] == ["above"]


def test_order_log_shows_the_orders_of_one_client_only_when_asked(
    run_example: RunExample, account: TradingClient, replies: list[RegistrationReply]
) -> None:
    """`bot:` is the client's, `bot2:` is not."""
    example = run_example("order_log.py", "NVDA", "--client-id", "bot")
    wait_for(lambda: [r.ticker for r in replies] == ["NVDA"])
    buy_far_below(account, "NVDA", "bot2:1")
    buy_far_below(account, "NVDA", "bot:1")
    line = example.wait_for_line(" new ")
    assert "NVDA new" in line
    assert line.endswith("buy  0/3 at 1 bot:1")
    example.signal(signal.SIGINT)
    assert example.exit_code() == 0
    assert not any("bot2" in line for line in example.lines)


def test_print_ticker_says_why_a_ticker_is_refused(run_example: RunExample) -> None:
    """The broker's reason, and no traceback."""
    example = run_example("print_ticker.py", "ZZZZZQ")
    assert example.exit_code() == 1
    assert example.lines == [
        "ZZZZZQ is not followed, unknown_ticker: Alpaca does not know ZZZZZQ, or it is not active"
    ]


def test_two_tickers_async_prints_their_ratio_and_ends_at_ctrl_c(run_example: RunExample) -> None:
    """One task a ticker."""
    example = run_example("two_tickers_async.py", "TSLA", "AMD")
    line = example.wait_for_line("TSLA/AMD ")
    assert float(line.split()[1]) > 0
    example.signal(signal.SIGINT)
    assert example.exit_code() == 0
    assert not any("Traceback" in line for line in example.lines)
