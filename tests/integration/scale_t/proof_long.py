"""The whole proof, by `make scale-proof`: ten simulated minutes, undisturbed and then disturbed.

After every second of the path the account has to come to what the model says: each working order,
and the cash to the cent. Whatever happens in between, no order may exist twice.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Final

import pytest
from alpaca.trading.client import TradingClient
from alpaca.trading.enums import OrderSide, TimeInForce
from alpaca.trading.requests import MarketOrderRequest

from tests.conftest import wait_for
from tests.integration.scale_t.proof_stage import TICKER, Stage, price_path, proof_stage
from tests.integration.scale_t.test_proof import move_and_kill

pytestmark = [pytest.mark.integration, pytest.mark.slow, pytest.mark.timeout(900)]

SECONDS: Final = 600
KILLS: Final = 20


def test_ten_minutes_end_to_the_share_and_to_the_cent(tmp_path: Path) -> None:
    """Undisturbed, at speed."""
    began = time.monotonic()
    with proof_stage(tmp_path) as stage:
        stage.start_scale_t()
        for price in price_path(SECONDS):
            stage.step(price)
        report(stage, began)


@pytest.mark.parametrize("seed", [1])
def test_ten_minutes_with_everything_that_may_happen(tmp_path: Path, seed: int) -> None:
    """Killed 20 times at random moments, broker and Redis restarted, partial fills, rejected and
    lost orders, a halt, a 10:1 split overnight, a sale by hand."""
    draw, began = random.Random(seed), time.monotonic()
    moments = sorted(draw.sample(range(10, SECONDS - 60), KILLS))
    others: dict[int, Callable[[Stage, Decimal], None]] = {
        40: restart_broker,
        90: restart_redis,
        130: lose_answers,
        170: reject_an_entry,
        210: halt_and_resume,
        250: kill_broker,
        300: sell_by_hand,
        350: restart_redis,
        400: lose_answers,
        430: split_overnight,
    }
    ratio = Decimal(1)
    with proof_stage(tmp_path, partial=0.5) as stage:
        stage.start_scale_t()
        for second, price in enumerate(price_path(SECONDS)):
            if second in moments:
                scaled_kill(stage, draw, second, ratio)
            happening = others.get(second)
            if happening is not None:
                happening(stage, price / ratio)
                print(f"{second:4} s  {happening.__name__}", flush=True)
            ratio = stage.model.ladder.ratio
            stage.step(cents(price / ratio))
        assert stage.kills == KILLS
        report(stage, began)


def scaled_kill(stage: Stage, draw: random.Random, second: int, ratio: Decimal) -> None:
    if ratio == 1:
        move_and_kill(stage, draw, second)
        return
    time.sleep(draw.random() * 0.1)
    stage.kill("scale_t")
    stage.start_scale_t()
    stage.settle(f"after a kill at second {second}")


def report(stage: Stage, began: float) -> None:
    """Nothing is left open that the model does not know, and the books add up."""
    orders, fills = stage.check_books()
    ladder = stage.model.ladder
    assert stage.cash() == stage.model.cash
    print(
        f"\n{SECONDS} simulated seconds in {time.monotonic() - began:.0f} s: {orders} orders, "
        f"{fills} filled, {stage.kills} kills; owns {ladder.position}, "
        f"profit {ladder.profit().realised:.2f} realised, cash {stage.cash()}",
        flush=True,
    )


# -- what may happen


def restart_broker(stage: Stage, price: Decimal) -> None:
    stage.end("broker")
    stage.start_broker()


def kill_broker(stage: Stage, price: Decimal) -> None:
    """While the price moves: the fills of that moment come by reconciliation."""
    moved = cents(price - Decimal("0.07"))
    stage.model.step(moved)
    stage.quote(moved)
    stage.kill("broker")
    stage.start_broker()
    stage.settle("after the broker was killed")


def restart_redis(stage: Stage, price: Decimal) -> None:
    """Empty, while the price moves."""
    moved = cents(price + Decimal("0.06"))
    stage.restart_redis()
    stage.model.step(moved)
    stage.quote(moved)
    stage.settle("after Redis was restarted")


def lose_answers(stage: Stage, price: Decimal) -> None:
    """Alpaca fails on the next calls: some orders are unresolved, and looked up."""
    stage.control("rest_error", path="/v2/orders", status=500, for_s=1.5)


def reject_an_entry(stage: Stage, price: Decimal) -> None:
    """Taken, and then rejected by the venue: it is sent again after its wait."""
    entries = stage.working("entry")
    if entries:
        stage.control("inject_order_event", order_id=entries[0]["id"], event="rejected")


def halt_and_resume(stage: Stage, price: Decimal) -> None:
    """No entry is sent while it lasts; exits work. The first trade afterwards ends it."""
    stage.control("halt", symbol=TICKER)
    wait_for(
        lambda: any("trading is halted" in line for line in stage.lines("scale_t")),
        what="scale_t to hear of the halt",
    )
    stage.control("resume", symbol=TICKER)


def sell_by_hand(stage: Stage, price: Decimal) -> None:
    """Somebody cancels one of its exits in Alpaca's app and sells ten shares: it is held until
    the account's quantity is adopted."""
    low = Decimal("99.74")
    stage.step(low)
    exits = stage.working("profit")
    hand = next(order for order in exits if order["qty"] == "10" and order["filled_qty"] == "0")
    stage.account.cancel(hand["id"])
    wait_for(lambda: hand["id"] not in {each["id"] for each in stage.working("profit")})
    before = stage.cash()
    sell(stage, Decimal(10))
    stage.model.extra_cash += stage.cash() - before
    wait_for(lambda: "HELD" in stage.command("status"), 60, "scale_t to be held")
    assert "--adopt" in stage.command("resume", "--confirm"), "it says what is needed"
    assert "trading again" in stage.command("resume", "--confirm", "--adopt")
    model = stage.model
    model.venue_cancel(hand["client_order_id"])
    model.ladder.adopt(model.ladder.position - 10)
    stage.settle("after a sale by hand")


def sell(stage: Stage, qty: Decimal) -> None:
    hand = TradingClient("local", "local-secret", url_override=f"http://127.0.0.1:{stage.port}")
    before = stage.position()
    request = MarketOrderRequest(
        symbol=TICKER, qty=float(qty), side=OrderSide.SELL, time_in_force=TimeInForce.DAY
    )
    hand.submit_order(request)
    wait_for(lambda: stage.position() == before - qty)
    hand._session.close()


def split_overnight(stage: Stage, price: Decimal) -> None:
    """The market closes, shares are split ten for one, and it opens at a tenth of the price: a
    ladder that did not notice would buy every rung."""
    stage.step(Decimal("99.87"))
    stage.control("set_session", phase="closed")
    stage.model.close_session()
    wait_for(lambda: stage.works() == {}, 20, "the day orders to end")
    wait_for(
        lambda: "the market is closed" in stage.command("status"), 60, "scale_t to see it closed"
    )
    stage.control("split", symbol=TICKER, new_per_old=10)
    orders = len(stage.account.all_orders(TICKER))
    stage.control("set_session", phase="regular")
    stage.quote(Decimal("9.99"))
    wait_for(lambda: "HELD" in stage.command("status"), 60, "scale_t to be held")
    assert len(stage.account.all_orders(TICKER)) == orders, "nothing was sent"
    assert "resume --confirm" in stage.command("resume"), "a person has to say that he looked"
    assert len(stage.account.all_orders(TICKER)) == orders
    stage.model.ladder.rescale(Decimal(10))
    assert "trading again" in stage.command("resume", "--confirm")
    stage.model.step(Decimal("9.99"))
    stage.settle("after the split")


def cents(price: Decimal) -> Decimal:
    return price.quantize(Decimal("0.01"))
