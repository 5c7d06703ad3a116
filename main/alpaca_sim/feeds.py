"""The market-data endpoints: their paths, their channels, and what may be asked of them."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from .assets import CRYPTO_SYMBOL, STOCK_SYMBOL

MarketName = Literal["stocks", "crypto", "test", "options"]

AUTOMATIC = ("corrections", "cancelErrors")  # follow `trades`, may not be asked for
_BARS = ("bars", "updatedBars", "dailyBars")
_STOCK_CHANNELS = ("trades", "quotes", *_BARS, "statuses", "lulds", *AUTOMATIC)
_OPTION_SYMBOL = re.compile(r"[A-Z]{1,6}\d{6}[CP]\d{8}")


@dataclass(frozen=True, kw_only=True)
class Feed:
    """One endpoint. `acknowledged` is what every ack lists, in this order."""

    name: str
    path: str
    market: MarketName
    acknowledged: tuple[str, ...]
    # Channels that exist here but are listed in the ack only when in use.
    optional: tuple[str, ...] = ()
    symbol: re.Pattern[str]
    delay_s: float = 0.0

    @property
    def requestable(self) -> frozenset[str]:
        """The channels that a client may name in a request."""
        return frozenset(self.acknowledged + self.optional) - frozenset(AUTOMATIC)


def _stock_feed(name: str, delay_s: float = 0.0) -> Feed:
    return Feed(
        name=name,
        path=f"/v2/{name}",
        market="stocks",
        acknowledged=_STOCK_CHANNELS,
        optional=("imbalances",),
        symbol=STOCK_SYMBOL,
        delay_s=delay_s,
    )


def _option_feed(name: str) -> Feed:
    return Feed(
        name=name,
        path=f"/v1beta1/{name}",
        market="options",
        acknowledged=("trades", "quotes"),
        symbol=_OPTION_SYMBOL,
    )


FEEDS: tuple[Feed, ...] = (
    _stock_feed("iex"),
    _stock_feed("sip"),
    _stock_feed("delayed_sip", delay_s=900.0),
    Feed(
        name="test",
        path="/v2/test",
        market="test",
        acknowledged=("trades", "quotes", "bars"),
        symbol=STOCK_SYMBOL,
    ),
    Feed(
        name="crypto",
        path="/v1beta3/crypto/us",
        market="crypto",
        acknowledged=("trades", "quotes", "orderbooks", *_BARS),
        symbol=CRYPTO_SYMBOL,
    ),
    _option_feed("indicative"),
    _option_feed("opra"),
)

FEED_BY_PATH = {feed.path: feed for feed in FEEDS}
FEED_BY_NAME = {feed.name: feed for feed in FEEDS}
EVERY_CHANNEL = frozenset().union(*(f.acknowledged + f.optional for f in FEEDS))
