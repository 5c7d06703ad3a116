"""The assets that the local Alpaca knows. Pure, apart from reading its own data file."""

from __future__ import annotations

import csv
import re
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Literal
from uuid import NAMESPACE_DNS, uuid5

AssetClass = Literal["us_equity", "crypto"]

STOCK_SYMBOL = re.compile(r"[A-Z][A-Z0-9]{0,9}([.][A-Z0-9]{1,9})?")
CRYPTO_SYMBOL = re.compile(r"[A-Z0-9]{2,10}/[A-Z]{3,5}")
_NAMESPACE = uuid5(NAMESPACE_DNS, "local.alpaca")
_PRIMARY_TAPE = {"NYSE": "A", "NASDAQ": "C"}


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One asset, with Alpaca's words. `start_price` is where a simulated price begins."""

    id: str
    asset_class: AssetClass
    exchange: str
    symbol: str
    name: str
    status: Literal["active", "inactive"] = "active"
    tradable: bool = True
    marginable: bool = True
    shortable: bool = True
    easy_to_borrow: bool = True
    fractionable: bool = True
    start_price: float = 100.0
    min_order_size: str | None = None
    min_trade_increment: str | None = None
    price_increment: str | None = None

    @property
    def tape(self) -> str:
        """The tape that reports this stock: A for NYSE, C for NASDAQ, else B."""
        return _PRIMARY_TAPE.get(self.exchange, "B")

    def to_wire(self) -> dict[str, object]:
        """The object of GET /v2/assets."""
        wire: dict[str, object] = {
            "id": self.id,
            "class": self.asset_class,
            "exchange": self.exchange,
            "symbol": self.symbol,
            "name": self.name,
            "status": self.status,
            "tradable": self.tradable,
            "marginable": self.marginable,
            "shortable": self.shortable,
            "easy_to_borrow": self.easy_to_borrow,
            "fractionable": self.fractionable,
        }
        return wire | (self._crypto_wire() if self.asset_class == "crypto" else self._stock_wire())

    def _stock_wire(self) -> dict[str, object]:
        borrow = "easy_to_borrow" if self.easy_to_borrow else "hard_to_borrow"
        return {
            "borrow_status": borrow,
            "maintenance_margin_requirement": 30,
            "margin_requirement_long": "30",
            "margin_requirement_short": "100",
            "attributes": ["fractional_eh_enabled"] if self.fractionable else [],
        }

    def _crypto_wire(self) -> dict[str, object]:
        return {
            "maintenance_margin_requirement": 100,
            "margin_requirement_long": "100",
            "margin_requirement_short": "100",
            "min_order_size": self.min_order_size,
            "min_trade_increment": self.min_trade_increment,
            "price_increment": self.price_increment,
            "attributes": [],
        }


class AssetBook:
    """Finds assets by symbol or id. Symbols of crypto pairs work with and without the slash."""

    def __init__(self, assets: Iterable[Asset], *, any_ticker: bool = False) -> None:
        self._any_ticker = any_ticker
        self._by_key: dict[str, Asset] = {}
        self._by_symbol: dict[str, Asset] = {}
        for asset in assets:
            self.add(asset)

    @classmethod
    def built_in(cls, extra: Iterable[str] = (), *, any_ticker: bool = False) -> AssetBook:
        """The built-in list, plus `extra` tickers, plus every well-formed one if asked."""
        book = cls(load_assets(), any_ticker=any_ticker)
        for symbol in extra:
            if book.find(symbol) is None:
                book.add(invent_asset(symbol))
        return book

    def add(self, asset: Asset) -> None:
        """Make an asset known; one with the same symbol is replaced."""
        self._by_symbol[asset.symbol] = asset
        for key in (asset.symbol, asset.id, asset.symbol.replace("/", "")):
            self._by_key[key] = asset

    def find(self, symbol_or_id: str) -> Asset | None:
        """The asset, or None if it is not known."""
        asset = self._by_key.get(symbol_or_id)
        if asset is None and self._any_ticker and is_well_formed(symbol_or_id):
            asset = invent_asset(symbol_or_id)
            self.add(asset)
        return asset

    def all(self) -> list[Asset]:
        """Every known asset, sorted as Alpaca does: by class, exchange and symbol."""
        return sorted(self._by_symbol.values(), key=lambda a: (a.asset_class, a.exchange, a.symbol))

    def __iter__(self) -> Iterator[Asset]:
        return iter(self._by_symbol.values())

    def __len__(self) -> int:
        return len(self._by_symbol)


def is_well_formed(symbol: str) -> bool:
    """Whether this could be a ticker of a US stock, or a crypto pair."""
    return bool(STOCK_SYMBOL.fullmatch(symbol) or CRYPTO_SYMBOL.fullmatch(symbol))


def asset_id(symbol: str) -> str:
    """The same id for the same symbol, in every run."""
    return str(uuid5(_NAMESPACE, symbol))


def invent_asset(symbol: str) -> Asset:
    """A tradable asset for a ticker that the built-in list lacks.

    Raises ValueError if the ticker is not well-formed.
    """
    if not is_well_formed(symbol):
        raise ValueError(f"not a well-formed ticker: {symbol!r}")
    price = 10 + zlib.crc32(symbol.encode()) % 39_000 / 100
    if "/" in symbol:
        return _crypto_asset(symbol, symbol.replace("/", " / "), price)
    return _stock_asset(symbol, f"{symbol} Common Stock", "NASDAQ", price)


@lru_cache(maxsize=1)
def load_assets() -> tuple[Asset, ...]:
    """The assets of the data file."""
    text = resources.files(__package__).joinpath("assets.csv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines())
    return tuple(_asset_of_row(row) for row in rows)


def _asset_of_row(row: dict[str, str]) -> Asset:
    symbol, name, price = row["symbol"], row["name"], float(row["price"])
    if row["exchange"] == "CRYPTO":
        return _crypto_asset(symbol, name, price)
    return _stock_asset(symbol, name, row["exchange"], price)


def _stock_asset(symbol: str, name: str, exchange: str, price: float) -> Asset:
    return Asset(
        id=asset_id(symbol),
        asset_class="us_equity",
        exchange=exchange,
        symbol=symbol,
        name=name,
        start_price=price,
    )


def _crypto_asset(symbol: str, name: str, price: float) -> Asset:
    return Asset(
        id=asset_id(symbol),
        asset_class="crypto",
        exchange="CRYPTO",
        symbol=symbol,
        name=name,
        marginable=False,
        shortable=False,
        easy_to_borrow=False,
        start_price=price,
        min_order_size="0.000000001",
        min_trade_increment="0.000000001",
        price_increment="0.01" if price >= 1 else "0.000000001",
    )
