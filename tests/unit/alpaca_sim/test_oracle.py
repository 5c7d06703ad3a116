"""What really happened."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from main.alpaca_sim.messages import Timestamp, Trade
from main.alpaca_sim.oracle import Oracle, OracleSeries


def trade(number: int, symbol: str = "AAPL") -> Trade:
    return Trade(symbol=symbol, trade_id=number, price=1.0, size=1, timestamp=Timestamp(number))


def test_serials_count_from_one_per_symbol() -> None:
    oracle = Oracle()
    assert [oracle.record(trade(n)) for n in (7, 8)] == [1, 2]
    assert oracle.record(trade(9, "MSFT")) == 1
    assert [t.trade_id for t in oracle.trades("AAPL")] == [7, 8]
    assert oracle.symbols() == ["AAPL", "MSFT"]


@settings(deadline=None)
@given(st.lists(st.integers(1, 30)))
def test_what_was_sent_is_kept_in_order_with_repeats(serials: list[int]) -> None:
    oracle = Oracle()
    for serial in serials:
        oracle.sent(1, "AAPL", serial)
    assert oracle.sent_serials("AAPL", 1) == serials
    assert oracle.sent_serials("AAPL") == sorted(set(serials))


def test_the_bound_forgets_the_oldest_trades_but_not_their_serials() -> None:
    oracle = Oracle(keep_per_symbol=2)
    for number in range(5):
        oracle.sent(1, "AAPL", oracle.record(trade(number)))
    assert [t.serial for t in oracle.trades("AAPL")] == [4, 5]
    assert oracle.sent_serials("AAPL", 1) == [1, 2, 3, 4, 5]
    assert [t.serial for t in oracle.sent_trades("AAPL", 1)] == [4, 5]


def test_a_prepared_series_takes_its_serials_at_once() -> None:
    oracle = Oracle()
    oracle.record(trade(1))
    assert oracle.record_series("AAPL", 100, 1_000_000) == 2
    assert oracle.record(trade(2)) == 1_000_002
    assert oracle.series("AAPL") == [OracleSeries("AAPL", 2, 100, 1_000_000)]
    assert oracle.connections("AAPL") == []
