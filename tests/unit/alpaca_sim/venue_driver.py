"""Drives a TradingVenue as its shell does, with a clock that only moves when told."""

from __future__ import annotations

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from main.alpaca_sim.assets import Asset, AssetBook
from main.alpaca_sim.config import SessionPhase
from main.alpaca_sim.venue import Reply, TradingVenue, VenueConfig

# Tuesday 2026-06-09, 11:00 in New York.
TUESDAY_11_00 = 1_781_017_200_000_000_000
SECOND = 1_000_000_000
HOUR = 3_600 * SECOND


def stock(symbol: str, **changes: Any) -> Asset:
    return Asset(
        id=f"00000000-0000-4000-8000-{abs(hash_of(symbol)):012d}",
        asset_class="us_equity",
        exchange="NASDAQ",
        symbol=symbol,
        name=symbol,
        **changes,
    )


def hash_of(symbol: str) -> int:
    return int.from_bytes(symbol.encode()[:4].ljust(4, b"\0"), "big")


def crypto(symbol: str) -> Asset:
    return Asset(
        id=f"00000000-0000-4000-9000-{hash_of(symbol):012d}",
        asset_class="crypto",
        exchange="CRYPTO",
        symbol=symbol,
        name=symbol,
        marginable=False,
        shortable=False,
        easy_to_borrow=False,
    )


def asset_book() -> AssetBook:
    return AssetBook(
        [
            stock("AAPL"),
            stock("MSFT"),
            stock("BRK.A", fractionable=False),
            stock("HARD", easy_to_borrow=False),
            stock("GONE", tradable=False),
            stock("PENNY"),
            crypto("BTC/USD"),
        ]
    )


class VenueDriver:
    """A venue, its clock, and what it said."""

    def __init__(self, **settings: Any) -> None:
        settings = {"partial_fill_rate": 0.0, **settings}
        self.venue = TradingVenue(VenueConfig(**settings), asset_book())
        self.now_ns = TUESDAY_11_00
        self.events: list[dict[str, Any]] = []

    # ---- REST ----

    def call(
        self, method: str, path: str, query: Mapping[str, str] | None = None, **fields: Any
    ) -> Reply:
        """One request; what it makes due at once is done, what needs time waits."""
        body = json.dumps(fields).encode() if fields else b""
        reply = self.venue.request(method, path, query or {}, body, self.now_ns)
        self.events += self.venue.take_events()
        json.dumps(reply.body)  # every body is JSON-ready
        return reply

    def get(self, path: str, **query: str) -> Any:
        reply = self.call("GET", path, query)
        assert reply.status == 200, reply
        return reply.body

    def submit(self, symbol: str = "AAPL", **fields: Any) -> dict[str, Any]:
        reply = self.try_submit(symbol, **fields)
        assert reply.status == 200, reply
        assert isinstance(reply.body, dict)
        return reply.body

    def try_submit(self, symbol: str = "AAPL", **fields: Any) -> Reply:
        defaults = {"side": "buy", "type": "market", "time_in_force": "day"}
        return self.call("POST", "/v2/orders", None, symbol=symbol, **{**defaults, **fields})

    def order(self, order_id: str) -> dict[str, Any]:
        found = self.get(f"/v2/orders/{order_id}")
        assert isinstance(found, dict)
        return found

    def cancel(self, order_id: str) -> Reply:
        return self.call("DELETE", f"/v2/orders/{order_id}")

    def account(self, name: str) -> Decimal:
        return Decimal(self.get("/v2/account")[name])

    def position_qty(self, symbol: str = "AAPL") -> Decimal:
        reply = self.call("GET", f"/v2/positions/{symbol}")
        return Decimal(reply.body["qty"]) if reply.status == 200 else Decimal(0)  # type: ignore[index]

    # ---- market and time ----

    def quote(self, symbol: str, bid: object, ask: object) -> None:
        hundred = Decimal(100)
        self.venue.on_quote(
            symbol, Decimal(str(bid)), Decimal(str(ask)), hundred, hundred, self.now_ns
        )
        self.events += self.venue.take_events()

    def settle(self) -> None:
        """Let everything happen that is due sooner or later."""
        while (due := self.venue.next_due_ns()) is not None:
            self.now_ns = max(self.now_ns, due)
            self.venue.advance(self.now_ns)
        self.events += self.venue.take_events()

    def step(self) -> None:
        """Let happen what is due next."""
        due = self.venue.next_due_ns()
        assert due is not None
        self.now_ns = max(self.now_ns, due)
        self.venue.advance(self.now_ns)
        self.events += self.venue.take_events()

    def phase(self, phase: SessionPhase, after_ns: int = SECOND) -> None:
        self.now_ns += after_ns
        self.venue.set_session(phase, self.now_ns)
        self.events += self.venue.take_events()

    def own(self, qty: object, symbol: str = "AAPL") -> None:
        """Buy at the market and wait for it; the quote must be there."""
        self.submit(symbol, qty=str(qty))
        self.settle()

    # ---- what was said ----

    def told(self, order_id: str | None = None) -> list[str]:
        """The events of one order, or of all."""
        return [
            event["event"]
            for event in self.events
            if order_id is None or event["order"]["id"] == order_id
        ]
