"""The asset list."""

from __future__ import annotations

import pytest

from main.alpaca_sim.assets import AssetBook, asset_id, invent_asset, is_well_formed, load_assets


def test_the_built_in_list_has_some_five_hundred_stocks_and_twenty_pairs() -> None:
    assets = load_assets()
    assert len([a for a in assets if a.asset_class == "us_equity"]) >= 500
    assert len([a for a in assets if a.asset_class == "crypto"]) >= 20
    assert all(is_well_formed(a.symbol) and a.start_price > 0 for a in assets)
    assert len({a.id for a in assets}) == len(assets)


def test_ids_are_the_same_in_every_run() -> None:
    assert asset_id("AAPL") == "5cfc0fac-b74e-5de6-86c3-32d829140f80"
    assert AssetBook.built_in().find("AAPL") == AssetBook.built_in().find(asset_id("AAPL"))


def test_a_pair_is_found_with_and_without_its_slash() -> None:
    book = AssetBook.built_in()
    assert book.find("BTCUSD") is book.find("BTC/USD")
    assert book.find("BTC/USD") is not None


def test_an_unknown_ticker_stays_unknown_unless_any_is_allowed() -> None:
    assert AssetBook.built_in().find("ZZZZ") is None
    found = AssetBook.built_in(any_ticker=True).find("ZZZZ")
    assert found is not None
    assert found.tradable
    assert AssetBook.built_in(any_ticker=True).find("not a ticker") is None


def test_extra_tickers_are_known_and_the_list_is_sorted() -> None:
    book = AssetBook.built_in(["ZZZZ", "AAPL"])
    assert book.find("ZZZZ") is not None
    every = book.all()
    assert every == sorted(every, key=lambda a: (a.asset_class, a.exchange, a.symbol))
    assert len(every) == len(load_assets()) + 1


def test_a_malformed_ticker_cannot_be_invented() -> None:
    with pytest.raises(ValueError, match="well-formed"):
        invent_asset("lower case")


def test_the_wire_object_of_a_pair_has_its_increments() -> None:
    pair = AssetBook.built_in().find("BTC/USD")
    assert pair is not None
    wire = pair.to_wire()
    assert wire["class"] == "crypto"
    assert wire["min_order_size"] == "0.000000001"
    assert "borrow_status" not in wire


def test_tapes_follow_the_primary_exchange() -> None:
    book = AssetBook.built_in()
    tapes = {symbol: book.find(symbol) for symbol in ("AAPL", "F", "SPY")}
    assert [a.tape for a in tapes.values() if a] == ["C", "A", "B"]
