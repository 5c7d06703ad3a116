"""Names: what a ticker may be called, and what never reaches a channel's name."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from main.utils.redis.constants import (
    CHANNELS,
    UNROUTED,
    BusNames,
    get_ticker_channel,
    normalize_ticker,
    route_order_symbol,
)
from main.utils.redis.errors import InvalidTicker


@pytest.mark.parametrize(
    ("given_as", "ticker"),
    [("aapl", "AAPL"), (" brk.b ", "BRK.B"), ("btc/usd", "BTC/USD"), ("A", "A")],
)
def test_a_ticker_is_trimmed_and_upper_cased(given_as: str, ticker: str) -> None:
    assert normalize_ticker(given_as) == ticker
    assert get_ticker_channel(given_as) == f"TICKER_UPDATES_{ticker}"


@pytest.mark.parametrize("bad", ["", " ", "1ABC", "A B", "AAPL\n*", "A" * 11, "A..B", "A/", "ÄÖ"])
def test_what_is_no_ticker_is_told(bad: str) -> None:
    with pytest.raises(InvalidTicker):
        normalize_ticker(bad)


def test_a_dash_gets_a_suggestion() -> None:
    with pytest.raises(InvalidTicker, match=r"did you mean BRK\.B") as told:
        normalize_ticker("BRK-B")
    assert told.value.suggestion == "BRK.B"


@given(st.text() | st.none() | st.integers())
def test_whatever_an_order_is_for_it_can_be_routed(symbol: object) -> None:
    routed = route_order_symbol(symbol)
    channel = CHANNELS.get_ticker_channel(routed)
    assert channel == f"TICKER_UPDATES_{routed}"
    assert channel.isascii()
    assert channel.isprintable()
    assert not set(channel) & set(" *?[]")


def test_an_options_symbol_keeps_its_name_and_nonsense_goes_to_unrouted() -> None:
    assert route_order_symbol("AAPL261218C00200000") == "AAPL261218C00200000"
    for nonsense in ("aapl", "A\nB", "", None, 7, "X" * 33):
        assert route_order_symbol(nonsense) == UNROUTED
    assert CHANNELS.get_ticker_channel(UNROUTED) == "TICKER_UPDATES__UNROUTED"


@given(st.text(min_size=1))
def test_no_text_makes_a_name_with_a_control_character(ticker: str) -> None:
    try:
        names = (CHANNELS.get_ticker_channel(ticker), CHANNELS.ticker_log(ticker))
    except InvalidTicker:
        return
    assert all(name.isprintable() and name.isascii() for name in names)


def test_a_prefix_stands_before_every_name() -> None:
    plain, paper = BusNames(), BusNames("PAPER_")
    properties = [name for name in dir(BusNames) if name.isupper()]
    assert len(properties) >= 9
    for name in properties:
        assert getattr(paper, name) == "PAPER_" + getattr(plain, name)
    for method in ("get_ticker_channel", "get_quotes_channel", "get_bars_channel"):
        assert getattr(paper, method)("AAPL") == "PAPER_" + getattr(plain, method)("AAPL")
    assert paper.ticker_log("AAPL") == "PAPER_TICKER_LOG_AAPL"
    assert paper.order_log("AAPL") == "PAPER_ORDER_LOG_AAPL"
    assert paper.get_client_registration_channel("me") == "PAPER_BROKER_REGISTRATION.me"


def test_the_names_are_those_of_the_contract() -> None:
    assert CHANNELS.BROKER_REGISTRATION == "BROKER_REGISTRATION"
    assert CHANNELS.BROKER_REGISTRATION_REPLIES == "BROKER_REGISTRATION_REPLIES"
    assert CHANNELS.BROKER_STATUS == "BROKER_STATUS"
    assert CHANNELS.get_quotes_channel("AAPL") == "TICKER_QUOTES_AAPL"
    assert CHANNELS.get_bars_channel("BTC/USD") == "TICKER_BARS_BTC/USD"
    assert CHANNELS.ticker_log("AAPL") == "TICKER_LOG_AAPL"
