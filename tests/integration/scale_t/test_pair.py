"""scale_t as the process that a user starts, on a pair of crypto: fees are taken in the coin."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from main.alpaca_broker import AlpacaBroker
from main.alpaca_sim import LocalAlpaca, MarketRules, SimConfig, StreamRules
from main.alpaca_sim.venue_config import VenueConfig
from main.scale_t import asking
from tests.conftest import wait_for
from tests.integration.scale_t.conftest import STARTED_S, AccountOrders, Run

pytestmark = pytest.mark.integration

PAIR = "BTC/USD"
LADDER = ("--ticker", PAIR, "--max-position", "0.3", "--component", "0.1", "--increment", "1000")


@pytest.fixture
def alpaca() -> Iterator[LocalAlpaca]:
    """Fees are listed a second after the execution."""
    config = SimConfig(
        control_port=None,
        market=MarketRules(default_rate=0, rates={PAIR: 0}, prices={PAIR: 60_000.0}),
        venue=VenueConfig(
            partial_fill_rate=0,
            starting_cash=Decimal(50_000),
            crypto_fee_posted_after_ns=10**9,
            # What is listed as open does rest in the book by then.
            acknowledge_delay_ns=0,
            fill_delay_ns=0,
        ),
        streams=StreamRules(zombie_slot_s=0.1),
        trading_rest_limit=0,
        data_rest_limit=0,
    )
    with LocalAlpaca(config) as sim:
        sim.quote(PAIR, 60_000, 60_010)
        yield sim


class Pair(AccountOrders):
    """What Alpaca says of the pair."""

    def open(self) -> dict[str, tuple[Decimal, Decimal]]:
        return {
            order["client_order_id"].split(":", 2)[2]: (
                Decimal(order["qty"]) - Decimal(order["filled_qty"]),
                Decimal(order["limit_price"]),
            )
            for order in self.client.get("/orders", {"status": "open", "limit": 500})
        }

    def offered_coins(self) -> Decimal:
        return sum((qty for name, (qty, _) in self.open().items() if "profit" in name), Decimal(0))

    def coins(self) -> Decimal:
        return sum((Decimal(each["qty"]) for each in self.client.get("/positions")), Decimal(0))

    def cash(self) -> Decimal:
        account: dict[str, Any] = self.client.get("/account")
        return Decimal(account["cash"])

    def fees(self) -> int:
        return len(self.client.get("/account/activities", {"activity_types": "CFEE"}))


@pytest.fixture
def pair(alpaca: LocalAlpaca) -> Iterator[Pair]:
    pair = Pair(alpaca.url)
    yield pair
    pair.close()


def test_a_fee_that_is_listed_while_it_trades_takes_the_place_of_the_assumed_one(
    real_broker: AlpacaBroker,
    alpaca: LocalAlpaca,
    pair: Pair,
    start_scale_t: Any,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What was assumed too much is offered, too, where it is enough for an order."""
    monkeypatch.setattr(asking, "FEES_FIRST_S", 0.1)
    monkeypatch.setattr(asking, "FEES_S", 0.2)
    sizes = {"max_position": Decimal("0.2"), "component": Decimal("0.2"), "increment": "1000"}
    running = start_scale_t(ticker=PAIR, start_price=Decimal(60_000), **sizes)
    wait_for(lambda: set(pair.open()) == {"entry:0:1"})
    alpaca.quote(PAIR, 59_980, 60_000)
    wait_for(lambda: pair.offered_coins() == pair.coins() == Decimal("0.1997"))
    ladder = running.scale_t.engine.ladder
    assert ladder.position == pair.coins()
    assert not ladder.book.fees_awaited()
    alpaca.quote(PAIR, 61_000, 61_010)
    wait_for(lambda: not pair.coins() and ladder.book.flow == pair.cash() - 50_000)


def state_of(command: Run) -> dict[str, str]:
    """What `status` prints, by its first word."""
    lines = wait_for(lambda: status_lines(command), STARTED_S)
    return {line.split()[0]: " ".join(line.split()[1:]) for line in lines if line.strip()}


def status_lines(command: Run) -> list[str]:
    process = command("status", "--ticker", PAIR)
    return process.lines if process.exit_code(STARTED_S) == 0 else []


def test_a_pair_is_sold_as_it_was_received_and_ends_flat(
    real_broker: AlpacaBroker, alpaca: LocalAlpaca, pair: Pair, command: Run
) -> None:
    """Bought, sold at a profit, bought again, killed, started again, flattened: nothing is ever
    offered that the account does not have, nothing is doubted, and profit is the account's."""
    process = command("run", *LADDER, "--start-price", "60000")
    wait_for(lambda: set(pair.open()) == {"entry:0:1"}, STARTED_S)
    alpaca.quote(PAIR, 59_980, 60_000)
    wait_for(lambda: set(pair.open()) == {"profit:0:1", "entry:1:1"})
    # It waited in the book: 0.15 %. As long as that is not listed, 0.25 % is assumed.
    assert pair.coins() == Decimal("0.09985")
    offered, price = pair.open()["profit:0:1"]
    assert (offered, price) == (Decimal("0.099749991"), 61_000)
    wait_for(pair.fees)
    alpaca.quote(PAIR, 61_000, 61_010)
    wait_for(lambda: set(pair.open()) == {"entry:0:2"}, what="sold, and wanted again")
    assert Decimal("0.0000") < pair.coins() < Decimal("0.00015")
    alpaca.quote(PAIR, 59_980, 60_000)
    wait_for(lambda: set(pair.open()) == {"profit:0:2", "entry:1:2"})
    process.signal(9)
    process.exit_code()
    wait_for(lambda: pair.fees() == 3)
    process = command("run", *LADDER)
    wait_for(lambda: set(pair.open()) >= {"profit:0:2", "entry:1:2"}, STARTED_S)
    process.wait_for_line("scale_t.entries_allowed", STARTED_S)
    # All fees are listed by now, and known again.
    owned = pair.coins()
    wait_for(lambda: pair.offered_coins() <= owned)
    told = state_of(command)
    assert told["mode"] == "TRADING"
    assert Decimal(told["owns"].split()[0]) == owned, "to the unit"
    realised = Decimal(told["profit"].split()[0])
    flatten = command("flatten", "--ticker", PAIR, "--yes")
    assert flatten.exit_code(STARTED_S) == 0, flatten.lines
    assert process.exit_code(10) == 0, process.lines
    assert pair.open() == {}
    assert 0 <= pair.coins() < Decimal("0.00001"), "dust at most"
    lines = "\n".join(process.lines)
    assert "scale_t.held" not in lines
    assert "scale_t.order_refused" not in lines
    assert realised > 0
    # What it says it made is what the account has more or less, but for the dust.
    stopped = next(line for line in process.lines if "scale_t.stopped" in line)
    made = Decimal(stopped.split("realised=")[1].split()[0].strip("'\""))
    assert abs(pair.cash() - 50_000 - made) <= Decimal("0.01") + pair.coins() * 60_000
