"""What a connection may subscribe to."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from main.alpaca_sim.feeds import FEED_BY_NAME
from main.alpaca_sim.subscriptions import SubscriptionError, Subscriptions, read_request

IEX, TEST, CRYPTO = (FEED_BY_NAME[name] for name in ("iex", "test", "crypto"))
SYMBOLS = st.sampled_from(["AAPL", "MSFT", "TSLA", "NVDA", "F"])
WANTED = st.dictionaries(
    st.sampled_from(["trades", "quotes", "bars", "statuses"]), st.lists(SYMBOLS, max_size=4)
)


def test_subscribe_adds_and_unsubscribe_takes_away() -> None:
    mine = Subscriptions(IEX)
    mine.subscribe({"trades": ["AAPL"]})
    mine.subscribe({"trades": ["MSFT"], "quotes": ["AAPL"]})
    mine.unsubscribe({"trades": ["AAPL", "NEVER"]})
    ack = mine.acknowledgement()
    assert (ack["trades"], ack["quotes"], ack["corrections"]) == (["MSFT"], ["AAPL"], ["MSFT"])


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), WANTED), max_size=8), st.integers(1, 4))
def test_a_refused_request_changes_nothing_and_the_limit_always_holds(
    requests: list[tuple[bool, dict[str, list[str]]]], limit: int
) -> None:
    mine = Subscriptions(IEX, limit=limit)
    for adds, wanted in requests:
        before = mine.acknowledgement()
        try:
            (mine.subscribe if adds else mine.unsubscribe)(wanted)
        except SubscriptionError:
            assert mine.acknowledgement() == before
        ack = mine.acknowledgement()
        assert len({symbol for _, symbol in mine.entries()}) <= limit
        assert ack["corrections"] == ack["cancelErrors"] == ack["trades"]


def test_a_limit_may_count_entries_instead_of_symbols() -> None:
    mine = Subscriptions(IEX, limit=2, counts="entries")
    mine.subscribe({"trades": ["AAPL"], "quotes": ["AAPL"], "bars": ["AAPL", "MSFT"]})
    with pytest.raises(SubscriptionError):
        mine.subscribe({"trades": ["MSFT"]})


def test_a_star_on_trades_passes_any_limit_but_not_on_bars() -> None:
    mine = Subscriptions(IEX, limit=30)
    mine.subscribe({"bars": ["*"], "statuses": ["*"]})
    with pytest.raises(SubscriptionError) as refused:
        mine.subscribe({"trades": ["*"]})
    assert refused.value.code == 405
    Subscriptions(IEX, limit=0).subscribe({"trades": ["*"]})


def test_imbalances_are_listed_only_when_in_use() -> None:
    mine = Subscriptions(IEX)
    assert "imbalances" not in mine.acknowledgement()
    mine.subscribe({"imbalances": ["AAPL"]})
    assert mine.acknowledgement()["imbalances"] == ["AAPL"]


def test_empty_lists_are_legal_for_every_channel() -> None:
    request = {"action": "subscribe", "trades": [], "corrections": [], "news": None}
    assert read_request(IEX, request) == {}


@pytest.mark.parametrize(
    ("feed", "request_", "code"),
    [
        (IEX, {"trades": ["aapl"]}, 400),
        (IEX, {"trades": [7]}, 400),
        (IEX, {"cancelErrors": ["AAPL"]}, 400),
        (IEX, {"orderbooks": ["AAPL"]}, 410),
        (TEST, {"statuses": ["FAKEPACA"]}, 410),
        (CRYPTO, {"statuses": ["BTC/USD"]}, 410),
        (CRYPTO, {"trades": ["BTCUSD"]}, 400),
        (FEED_BY_NAME["opra"], {"quotes": ["*"]}, 413),
    ],
)
def test_what_a_feed_does_not_have_is_refused(feed, request_, code) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(SubscriptionError) as refused:
        read_request(feed, request_)
    assert refused.value.code == code
