"""A ladder and a venue on a perfect road, at one moment unless a test moves it."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

from main.scale_t.intents import Cancel, Intent, Place
from main.scale_t.ladder import Ladder
from tests.unit.scale_t.fake_venue import FakeVenue
from tests.unit.scale_t.terms import terms

ENTRY, PROFIT = "bot:AAPL:entry:", "bot:AAPL:profit:"


class Trade:
    """`Trade(max_position, start, …)`: further words are the terms'. `start` None: no price yet."""

    def __init__(self, max_position: int = 30, start: str | None = "100", **words: Any) -> None:
        self.venue, self.now, self._read = FakeVenue(), 0.0, 0
        self.ladder = Ladder(terms(max_position, **words))
        if start is not None:
            self.ladder.see_price(Decimal(start))

    def price(self, price: str) -> list[Intent]:
        self.ladder.see_price(Decimal(price))
        return self.run()

    def wants(self) -> list[Intent]:
        return self.ladder.decide(self.now, 100)

    def run(self) -> list[Intent]:
        """Send what is wanted and tell all that happens, until nothing more is wanted."""
        sent: list[Intent] = []
        while True:
            self.hear()
            wanted = self.wants()
            if not wanted:
                return sent
            for intent in wanted:
                sent.append(intent)
                if isinstance(intent, Place):
                    assert self.venue.take(intent) is not None
                elif isinstance(intent, Cancel):
                    self.venue.end(intent.client_order_id)

    def hear(self) -> None:
        for message in self.venue.messages[self._read :]:
            self.ladder.see_order(message, self.now)
        self._read = len(self.venue.messages)

    def fill(self, name: str, qty: int = 10, price: str | None = None) -> list[Intent]:
        self.venue.fill(name, Decimal(qty), None if price is None else Decimal(price))
        return self.run()

    def working(self) -> dict[str, tuple[int, Decimal | None]]:
        return {
            name.removeprefix("bot:AAPL:"): (int(order.open), order.place.limit_price)
            for name, order in self.venue.orders.items()
            if order.open
        }

    def exits(self) -> list[tuple[int, str]]:
        """Quantity and price of the working profit orders, the first slice first."""
        return [
            (qty, str(price)) for name, (qty, price) in self.working().items() if "profit" in name
        ]

    def entries(self) -> list[tuple[int, str]]:
        return [
            (qty, str(price)) for name, (qty, price) in self.working().items() if "entry" in name
        ]
