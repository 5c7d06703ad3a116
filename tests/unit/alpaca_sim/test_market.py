"""The seeded market."""

from __future__ import annotations

from itertools import pairwise

import pytest

from main.alpaca_sim.assets import AssetBook
from main.alpaca_sim.config import MarketRules
from main.alpaca_sim.market import Market
from main.alpaca_sim.messages import Quote, Trade

SECOND = 1_000_000_000
BOOK = AssetBook.built_in()


def market(**rules: float) -> tuple[Market, list[Quote | Trade]]:
    events: list[Quote | Trade] = []
    return Market(BOOK, MarketRules(**rules), events.append), events  # type: ignore[arg-type]


def run(made: Market, seconds: float, step_ns: int = 5_000_000) -> None:
    for now in range(0, int(seconds * SECOND) + 1, step_ns):
        made.advance(now)


@pytest.mark.parametrize("symbol", ["AAPL", "BRK.A", "LCID", "BTC/USD", "SHIB/USD", "FAKEPACA"])
def test_trades_sit_inside_the_quote_before_them_and_time_only_rises(symbol: str) -> None:
    made, events = market(default_rate=500.0)
    made.activate(symbol, 0)
    run(made, 2)
    quote = None
    for event in events:
        if isinstance(event, Quote):
            assert 0 < event.bid_price < event.ask_price
            quote = event
        else:
            assert quote is not None
            assert quote.bid_price <= event.price <= quote.ask_price
            assert event.size > 0
    trades = [event for event in events if isinstance(event, Trade)]
    assert all(a.timestamp.ns < b.timestamp.ns for a, b in pairwise(trades))
    assert all(a.trade_id + 1 == b.trade_id for a, b in pairwise(trades))


def test_the_same_seed_gives_the_same_market() -> None:
    runs = []
    for _ in range(2):
        made, events = market(default_rate=100.0)
        made.activate("AAPL", 0)
        made.activate("MSFT", 0)
        run(made, 1)
        runs.append(events)
    assert runs[0] == runs[1]
    other, events = market(default_rate=100.0, seed=2)
    other.activate("AAPL", 0)
    run(other, 1)
    assert events != [event for event in runs[0] if event.symbol == "AAPL"]


def test_a_chosen_rate_is_kept_over_time() -> None:
    made, events = market(default_rate=50.0, quotes_per_trade=2.0)
    made.activate("AAPL", 0)
    run(made, 20)
    trades = sum(isinstance(event, Trade) for event in events)
    assert 950 < trades < 1_050
    assert sum(isinstance(event, Quote) for event in events) == 2 * trades + 1


def test_a_rate_can_change_and_zero_stops_the_ticker() -> None:
    made, events = market(default_rate=0.0)
    made.activate("AAPL", 0)
    run(made, 1)
    assert len(events) == 1
    made.set_rate("AAPL", 100.0, 0)
    run(made, 1)
    count = len(events)
    assert count > 100
    made.set_rate("AAPL", 0.0, 0)
    made.advance(9 * SECOND)
    assert len(events) == count


def test_a_halted_ticker_is_silent_and_a_closed_market_leaves_crypto_alone() -> None:
    made, events = market(default_rate=100.0)
    for symbol in ("AAPL", "MSFT", "BTC/USD"):
        made.activate(symbol, 0)
    made.halted.add("AAPL")
    run(made, 0.5)
    assert {e.symbol for e in events if isinstance(e, Trade)} == {"MSFT", "BTC/USD"}
    events.clear()
    made.set_phase("closed", SECOND)
    made.advance(2 * SECOND)
    assert {event.symbol for event in events} == {"BTC/USD"}


def test_extended_hours_are_marked_and_the_opening_is_a_burst() -> None:
    made, events = market(default_rate=100.0, opening_burst=5.0, opening_burst_s=1.0)
    made.set_phase("pre", 0)
    made.activate("AAPL", 0)
    made.advance(SECOND)
    early = [event for event in events if isinstance(event, Trade)]
    assert all("T" in event.conditions for event in early)  # type: ignore[operator]
    events.clear()
    made.set_phase("regular", SECOND)
    made.advance(2 * SECOND)
    opening = [event for event in events if isinstance(event, Trade)]
    assert len(opening) > 3 * len(early)
    assert all("T" not in event.conditions for event in opening)  # type: ignore[operator]


def test_an_overloaded_machine_skips_ahead_and_counts_what_it_skipped() -> None:
    made, events = market(default_rate=10.0)
    made.activate("AAPL", 0)
    made.advance(60 * SECOND)
    assert made.skipped > 500
    assert len(events) < 100


def test_a_rename_silences_the_old_ticker_and_goes_on_at_its_price() -> None:
    made, events = market(default_rate=100.0)
    made.activate("AAPL", 0)
    book_price = next(event for event in events if isinstance(event, Quote)).bid_price
    BOOK_WITH_NEW = AssetBook.built_in(["AAPLX"])  # noqa: N806
    made._assets = BOOK_WITH_NEW  # the venue adds the new asset first
    events.clear()
    made.rename("AAPL", "AAPLX", 0)
    run(made, 0.2)
    trades = [event for event in events if isinstance(event, Trade)]
    assert {event.symbol for event in trades} == {"AAPLX"}
    assert abs(trades[0].price - book_price) < 2


def test_an_unknown_ticker_does_not_come_alive() -> None:
    made, events = market()
    assert made.activate("NOPE", 0) is None
    assert events == []
