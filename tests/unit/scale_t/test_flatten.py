"""What flatten by REST alone leaves for the next run to know, and what it says of bad names."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from main.commands import scale_t_control
from main.commands.common import Mistake
from main.scale_t import account, flatten
from main.scale_t.intents import Place
from main.scale_t.rebuilt import rebuilt_ladder
from main.scale_t.saved import Saved, StateFile
from main.scale_t.venue import UnknownTicker
from main.settings import load_settings
from main.utils.answers import Accepted, Answer, Found, Refused
from main.utils.redis.messages import now_rfc3339
from tests.unit.scale_t.fake_venue import FakeVenue

SETTINGS = load_settings(env_file=None)


class RestVenue:
    """The same orders by REST. Market orders fill at once; somebody else sold `missing`."""

    def __init__(self, missing: str = "0") -> None:
        self.market, self._missing = FakeVenue(), Decimal(missing)

    def account(self) -> dict[str, Any]:
        return {"id": "1", "account_number": "PA1"}

    def all_orders(self, _ticker: str) -> list[dict[str, Any]]:
        return [
            each.to_data() | {"submitted_at": "2026-11-20T15:00:00Z"}
            for each in self.market.orders.values()
        ]

    def asset(self, ticker: str) -> dict[str, Any]:
        raise UnknownTicker(f"Alpaca does not know the ticker {ticker}")

    def position(self, _ticker: str) -> Decimal:
        return self.market.position - self._missing

    def place(self, place: Place) -> Answer:
        self.market.take(place)
        self.market.fill(place.client_order_id, place.qty)
        return self.look_up(place.client_order_id)

    def look_up(self, client_order_id: str) -> Answer:
        found = self.market.find(client_order_id)
        return Found(order_data=found) if found else Refused(status=404)

    def close(self) -> None:
        """Nothing is open."""


def bought(venue: RestVenue, qty: str) -> None:
    venue.place(
        Place(
            client_order_id="scale-t:AAPL:entry:0:1",
            kind="entry",
            ticker="AAPL",
            side="buy",
            qty=Decimal(qty),
            limit_price=Decimal(100),
            time_in_force="day",
        )
    )


@pytest.mark.parametrize("is_known", [True, False])
def test_what_somebody_else_had_sold_is_not_owned_in_the_next_run_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_known: bool
) -> None:
    """Ten were bought, four of them sold by hand: six are closed, and nothing is left."""
    monkeypatch.setattr(flatten, "STEP_S", 0.0)
    file = StateFile(tmp_path, "PA1", "scale-t", "AAPL")
    if is_known:
        file.write(Saved(saved_at=now_rfc3339(), own_qty=Decimal(10), account_qty=Decimal(10)))
    venue: Any = RestVenue(missing="4")
    bought(venue, "10")
    said: list[object] = []
    assert flatten.flatten_alone(SETTINGS, venue, "scale-t", "AAPL", tmp_path, said.append, 5)
    assert said == ["sell 6 AAPL at the market"]
    assert rebuilt_ladder(venue, "scale-t", "AAPL", file.read()).book.rungs[0].held == 0
    saved = file.read()
    assert saved is not None
    assert (saved.adopted, saved.flattening) == ({"0": Decimal(-4)}, False)


def test_what_its_own_exit_sells_while_it_looks_is_no_sale_by_somebody_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four fill between the list of orders and the position: six are left to close, and nothing is
    taken for missing."""
    monkeypatch.setattr(flatten, "STEP_S", 0.0)
    exit_name = "scale-t:AAPL:profit:0:1"

    class Moving(RestVenue):
        looks = 0

        def position(self, ticker: str) -> Decimal:
            self.looks += 1
            if self.looks == 1:
                self.market.fill(exit_name, Decimal(4))
            return super().position(ticker)

        def cancel(self, order_id: str) -> Answer:
            for name, order in self.market.orders.items():
                if order.order_id == order_id:
                    self.market.end(name)
            return Accepted()

    venue: Any = Moving()
    bought(venue, "10")
    venue.market.take(
        Place(
            client_order_id=exit_name,
            kind="profit",
            ticker="AAPL",
            side="sell",
            qty=Decimal(10),
            limit_price=Decimal(101),
            time_in_force="day",
        )
    )
    said: list[object] = []
    assert flatten.flatten_alone(SETTINGS, venue, "scale-t", "AAPL", tmp_path, said.append, 5)
    assert venue.market.position == 0
    saved = StateFile(tmp_path, "PA1", "scale-t", "AAPL").read()
    assert saved is not None
    assert saved.adopted == {}


def test_flattening_a_pair_that_alpaca_does_not_know_is_a_mistake_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(account, "open_venue", lambda _: RestVenue())
    with pytest.raises(Mistake, match="does not know the ticker NO/USD"):
        scale_t_control._flatten_alone(SETTINGS, "scale-t", "NO/USD", tmp_path)
