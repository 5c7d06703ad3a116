"""Bounded memory."""

from __future__ import annotations

from main.alpaca_sim.share_out import ShareOut


def test_each_ticker_keeps_its_newest() -> None:
    kept: ShareOut[int] = ShareOut(3)
    for n in range(5):
        kept.add("AAPL", n)
    assert list(kept.of("AAPL")) == [2, 3, 4]
    assert list(kept.of("MSFT")) == []


def test_many_tickers_share_what_there_is() -> None:
    kept: ShareOut[int] = ShareOut(each=1_000, total=2_000)
    for n in range(1_000):
        kept.add("AAPL", n)
    assert len(kept.of("AAPL")) == 1_000
    for n in range(1_000):
        for symbol in ("AAPL", "MSFT", "TSLA", "F"):
            kept.add(symbol, n)
    assert sum(len(kept.of(symbol)) for symbol in ("AAPL", "MSFT", "TSLA", "F")) == 2_000


def test_a_hundred_are_always_kept() -> None:
    kept: ShareOut[int] = ShareOut(each=1_000, total=10)
    for n in range(500):
        kept.add("AAPL", n)
    assert list(kept.of("AAPL")) == list(range(400, 500))
