"""What Alpaca knows of a ticker, asked within the time that a reply has."""

from __future__ import annotations

from typing import cast

import pytest

from main.alpaca_broker.assets import AssetList
from main.alpaca_broker.rest import Asset, RestUnavailable, TradingRest

NAMES = ("AAPL", "MSFT", "NVDA", "TSLA", "AMZN", "GOOG")


class FakeRest:
    """Knows `NAMES`; its list takes `list_takes_s`, and each look-up `look_up_takes_s`."""

    def __init__(self) -> None:
        self.list_takes_s = self.look_up_takes_s = 0.0
        self.asked: list[tuple[str, float]] = []

    def asset(self, symbol: str, timeout_s: float) -> Asset | None:
        self.asked.append((symbol, timeout_s))
        if self.look_up_takes_s > timeout_s:
            raise RestUnavailable("timed out")
        return _asset(symbol) if symbol in NAMES else None

    def assets(self, asset_class: str, timeout_s: float) -> list[Asset]:
        self.asked.append((asset_class, timeout_s))
        if self.list_takes_s > timeout_s:
            raise RestUnavailable("timed out")
        return [_asset(symbol) for symbol in NAMES]


def _asset(symbol: str) -> Asset:
    return Asset(symbol=symbol, asset_class="us_equity", status="active")


@pytest.fixture
def rest() -> FakeRest:
    return FakeRest()


@pytest.fixture
def assets(rest: FakeRest) -> AssetList:
    return AssetList(cast(TradingRest, rest))


def test_a_few_are_looked_up_one_by_one_and_many_in_the_list(
    assets: AssetList, rest: FakeRest
) -> None:
    assert assets.judge(["AAPL", "NOSUCH"]) == {"NOSUCH": "unknown_ticker"}
    assert [what for what, _ in rest.asked] == ["AAPL", "NOSUCH"]
    assert assets.judge([*NAMES, "NOSUCH", "OTHER"]) == dict.fromkeys(
        ("NOSUCH", "OTHER"), "unknown_ticker"
    )
    assert [what for what, _ in rest.asked[2:]] == ["us_equity"]
    assets.judge(NAMES)
    assert len(rest.asked) == 3, "what is known is not asked again"


def test_all_look_ups_of_a_round_share_one_deadline(assets: AssetList, rest: FakeRest) -> None:
    assets.judge(NAMES[:5], within_s=2.0)
    left_s = [timeout_s for _, timeout_s in rest.asked]
    assert left_s == sorted(left_s, reverse=True)
    assert left_s[0] <= 2.0
    with pytest.raises(RestUnavailable):
        assets.judge(["GOOG"], within_s=0.0)


def test_a_list_that_takes_too_long_for_a_reply_is_had_in_its_own_time(
    assets: AssetList, rest: FakeRest
) -> None:
    rest.list_takes_s = 10.0
    with pytest.raises(RestUnavailable):
        assets.judge(NAMES, within_s=2.5)
    assets.load_lists()
    asked = len(rest.asked)
    assert assets.judge(NAMES, within_s=2.5) == {}
    assets.load_lists()
    assert len(rest.asked) == asked, "it is there, and nobody asks again"
