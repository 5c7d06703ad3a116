"""The seeded random walk of one ticker: quotes, and trades that sit inside them. Pure."""

from __future__ import annotations

import random
import zlib

from .assets import Asset
from .messages import Quote, Timestamp, Trade

_STEP = 0.00008  # of the price, per trade
_SPREAD = 0.0002  # of the price, full width
_HOME_PULL = 0.0005  # keeps a long walk near where it began
_STEPPED_NS = 5_000_000_000
_QUOTE_CONDITIONS = ("R",)
_REGULAR = ("@",)
_ODD_LOT = ("@", "I")
_SWEEP = ("@", "F")


class Walk:
    """Makes the next quote and the next trade of one ticker. Deterministic for a seed."""

    def __init__(
        self,
        asset: Asset,
        seed: int,
        start_price: float | None = None,
        exchanges: tuple[str, ...] = ("V",),
    ) -> None:
        self.asset = asset
        self._exchanges = exchanges
        self.crypto = asset.asset_class == "crypto"
        self.random = random.Random(seed ^ zlib.crc32(asset.symbol.encode()))
        self.extended_hours = False
        self._last_ns = 0
        self._next_trade_id = self.random.randrange(1, 10_000) * 1_000_000 + 1
        self.anchor(start_price or asset.start_price)

    def anchor(self, price: float) -> None:
        """Go on from this price."""
        self._home = self._mid = price
        self._decimals = _decimals(price, self.crypto)
        self._tick = 10.0**-self._decimals
        self._place_quote()

    def set_quote(self, bid: float, ask: float) -> None:
        """Go on inside this quote."""
        self.anchor((bid + ask) / 2)
        self.bid, self.ask = bid, ask

    def scale(self, factor: float) -> None:
        """A split: every price from now on is `factor` times what it was."""
        self.anchor(self._mid * factor)

    def moment(self, at_ns: int) -> int:
        """This moment, or the next after the last event: times of a ticker never fall.

        Unless the clock was stepped back.
        """
        if self._last_ns - _STEPPED_NS < at_ns <= self._last_ns:
            at_ns = self._last_ns + 1
        self._last_ns = at_ns
        return at_ns

    def take_trade_id(self) -> int:
        """Trade ids rise by one, from a random start."""
        trade_id = self._next_trade_id
        self._next_trade_id += 1
        return trade_id

    def reserve_trade_ids(self, count: int) -> int:
        """The first of `count` ids in a row that nobody else gets."""
        first = self._next_trade_id
        self._next_trade_id += count
        return first

    def step(self) -> None:
        """Move the quote."""
        pull = (self._home - self._mid) * _HOME_PULL
        self._mid += pull + self.random.gauss(0.0, 1.0) * self._mid * _STEP
        self._mid = max(self._mid, self._tick * 2)
        self._place_quote()

    def quote(self, now_ns: int) -> Quote:
        """The present best bid and ask."""
        bid_size, ask_size = self._quote_size(), self._quote_size()
        if self.crypto:
            return Quote(
                symbol=self.asset.symbol,
                bid_price=self.bid,
                bid_size=bid_size,
                ask_price=self.ask,
                ask_size=ask_size,
                timestamp=Timestamp(now_ns),
            )
        return Quote(
            symbol=self.asset.symbol,
            bid_exchange="V",
            bid_price=self.bid,
            bid_size=bid_size,
            ask_exchange="V",
            ask_price=self.ask,
            ask_size=ask_size,
            conditions=_QUOTE_CONDITIONS,
            timestamp=Timestamp(now_ns),
            tape=self.asset.tape,
        )

    def trade(self, now_ns: int) -> Trade:
        """A trade at the bid, at the ask, or between them."""
        draw = self.random.random()
        price = self.bid if draw < 0.4 else self.ask if draw < 0.8 else self._inside()
        if self.crypto:
            return self.crypto_trade(now_ns, price, self._crypto_size(), "S" if draw < 0.5 else "B")
        size = self._stock_size()
        conditions = _ODD_LOT if size < 100 else _SWEEP if draw < 0.08 else _REGULAR
        if self.extended_hours:
            conditions = (*conditions, "T")
        exchange = self._exchanges[int(draw * 1e6) % len(self._exchanges)]
        return self.stock_trade(now_ns, price, size, conditions, exchange)

    def stock_trade(
        self,
        now_ns: int,
        price: float,
        size: float,
        conditions: tuple[str, ...],
        exchange: str = "V",
    ) -> Trade:
        """A stock trade with the next id."""
        return Trade(
            symbol=self.asset.symbol,
            trade_id=self.take_trade_id(),
            exchange=exchange,
            price=price,
            size=size,
            conditions=conditions,
            timestamp=Timestamp(now_ns),
            tape=self.asset.tape,
        )

    def last_print(self, now_ns: int) -> Trade:
        """The last trade before this moment, for a ticker that has not traded yet."""
        price, at_ns = self._inside(), now_ns - 1_000_000_000
        if self.crypto:
            return self.crypto_trade(at_ns, price, 0.01, "B")
        return self.stock_trade(at_ns, price, 100, _REGULAR)

    def crypto_trade(self, now_ns: int, price: float, size: float, taker_side: str) -> Trade:
        """A crypto trade with the next id."""
        return Trade(
            symbol=self.asset.symbol,
            trade_id=self.take_trade_id(),
            price=price,
            size=size,
            timestamp=Timestamp(now_ns),
            taker_side=taker_side,
        )

    def _place_quote(self) -> None:
        half = max(self._tick / 2, self._mid * _SPREAD / 2)
        self.bid = max(round(self._mid - half, self._decimals), self._tick)
        self.bid = round(self.bid, self._decimals)
        self.ask = round(max(self._mid + half, self.bid + self._tick), self._decimals)

    def _inside(self) -> float:
        middle = round((self.bid + self.ask) / 2, self._decimals)
        return min(max(middle, self.bid), self.ask)

    def _stock_size(self) -> int:
        draw = self.random.random()
        if draw < 0.35:
            return 1 + int(draw / 0.35 * 99)
        return 100 if draw < 0.8 else 100 * (2 + int((draw - 0.8) * 40))

    def _crypto_size(self) -> float:
        return round(0.0001 + self.random.random() * 50 / max(self._mid, 0.01), 9)

    def _quote_size(self) -> float:
        if self.crypto:
            return round(0.001 + self.random.random() * 500 / max(self._mid, 0.01), 9)
        return 100 * (1 + int(self.random.random() * 9))


def _decimals(price: float, crypto: bool) -> int:
    if crypto:
        return 2 if price >= 100 else 4 if price >= 1 else 9
    return 2 if price >= 1 else 4
