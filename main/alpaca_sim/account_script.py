"""What a test or the control API makes happen to the account (U18, U20, U21, U22).

Runs on the simulator's thread.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING

from .order_desk import RaceOutcome

if TYPE_CHECKING:
    from .server import SimServer


class AccountScript:
    """Orders by hand, races that are lost, corporate actions."""

    def __init__(self, server: SimServer) -> None:
        self._server = server
        self._sim = server.sim
        self._venue = server.sim.desk.venue

    def order_by_hand(self, fields: Mapping[str, object]) -> str:
        """An order from Alpaca's app (U21), as POST /v2/orders. Its id. Raises Refusal."""
        now_ns = self._server.now_ns()
        self._sim.show_quote(str(fields.get("symbol")), now_ns)
        order_id = self._venue.order_by_hand(fields, now_ns)
        self._sim.desk.deliver()
        return order_id

    def inject_order_event(self, order_id: str, event: str) -> None:
        """Let an event happen to an order. Raises UnknownOrder, IllegalTransition."""
        self._venue.inject_event(order_id, event, self._server.now_ns())
        self._sim.desk.deliver()

    def lose_race(self, outcome: RaceOutcome, order_id: str | None = None) -> None:
        """How the next cancel or replace goes wrong (U22).

        fill, partial_fill, refuse or late_fill.
        """
        self._venue.lose_next_race(outcome, order_id)

    def split(self, symbol: str, new_per_old: float) -> None:
        """A split overnight (U20): 4 makes four shares of one, 0.1 one of ten."""
        now_ns = self._server.now_ns()
        self._sim.market.split(symbol, new_per_old)
        self._venue.split(symbol, Decimal(str(new_per_old)), now_ns)
        self._sim.requote(symbol, now_ns)

    def rename(self, symbol: str, new_symbol: str) -> None:
        """A ticker's new name (U20): the old one falls silent; followers must ask anew."""
        now_ns = self._server.now_ns()
        self._venue.rename(symbol, new_symbol, now_ns)
        self._sim.market.rename(symbol, new_symbol, now_ns)
        self._sim.requote(new_symbol, now_ns)
