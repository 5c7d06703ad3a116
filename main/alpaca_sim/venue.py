"""The trading venue of the local Alpaca: one paper account, its orders, and the market they meet.

Pure: no socket, thread, clock or environment. Requests, quotes and times come in; replies and
stream events come out. The same seed and the same calls give the same answers, ids included.
Not safe for threads: one caller at a time.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal

from . import order_sessions, order_trading, venue_hooks
from .account_wire import Yesterday, account_to_wire, position_to_wire
from .activities import ActivityLog
from .admission import Admission
from .assets import AssetBook
from .config import SessionPhase
from .ledger import Ledger, Position
from .margin import Margin, held_qty
from .matching import Quote
from .new_york_day import new_york
from .order_desk import OrderDesk, RaceOutcome
from .order_intake import OrderIntake
from .orders import OrderStore
from .portfolio import EquityHistory, EquitySample, parse_history_query
from .trade_updates import TradeUpdates
from .trading_rest import TradingRest
from .venue_config import SECOND, Reply, VenueConfig
from .venue_ids import VenueIds

__all__ = ["Reply", "TradingVenue", "VenueConfig"]


class TradingVenue:
    """The account at its venue. Every method takes the time as nanoseconds since 1970."""

    def __init__(self, config: VenueConfig, assets: AssetBook) -> None:
        self.config = config
        self.assets = assets
        ids = VenueIds(config.seed)
        self.store = OrderStore(config.keep_closed_orders)
        self.ledger = Ledger(config.starting_cash, mark=config.mark)
        self.updates = TradeUpdates(ids, nests_legs=config.stream_nests_legs)
        self.activities = ActivityLog(ids, config.keep_activities)
        self.desk = OrderDesk(config, self.store, self.ledger, self.updates, self.activities, ids)
        self.admission = Admission(config, assets, self.ledger, self.store)
        self.intake = OrderIntake(self.desk, self.admission, ids)
        self._rest = TradingRest(self)
        self._history = EquityHistory(config.keep_equity_minutes)
        self._created_ns: int | None = None
        self._latest_ns = 0
        self._last_close = (config.starting_cash, Decimal(0))
        self._yesterday: Yesterday | None = None

    # ---- what comes in -------------------------------------------------------------------

    def request(
        self, method: str, path: str, query: Mapping[str, str], body: bytes, now_ns: int
    ) -> Reply:
        """Answer one trading REST request. What is not known answers with Alpaca's 404."""
        self._begin(now_ns)
        reply = self._rest.reply(method, path, query, body, now_ns)
        self.desk.schedule.run_due(now_ns)
        return reply

    def on_quote(
        self,
        symbol: str,
        bid: Decimal,
        ask: Decimal,
        bid_size: Decimal,
        ask_size: Decimal,
        now_ns: int,
    ) -> None:
        """A new best bid and offer; fills and triggers what it reaches."""
        self._begin(now_ns)
        order_trading.on_quote(
            self.desk, symbol, Quote(bid, ask, bid_size, ask_size, now_ns), now_ns
        )
        self.desk.schedule.run_due(now_ns)

    def advance(self, now_ns: int) -> None:
        """Do what has become due."""
        self._begin(now_ns)

    def set_session(self, phase: SessionPhase, now_ns: int) -> None:
        """The market's phase: closed, pre, regular or post."""
        self._begin(now_ns)
        before = self.desk.phase
        order_sessions.change_phase(self.desk, phase, now_ns)
        if before == "regular" and phase != "regular":
            margin = self.margin()
            self._last_close = (margin.equity, margin.maintenance_margin)
        if before == "closed" and phase != "closed":
            self._roll_day(now_ns)
        self.desk.schedule.run_due(now_ns)

    # ---- what nobody asks for by the trading API: see venue_hooks -------------------------

    def inject_event(self, order_id: str, event: str, now_ns: int) -> None:
        """Let a stream event happen to an order. Raises UnknownOrder, IllegalTransition."""
        self._begin(now_ns)
        venue_hooks.inject_event(self, order_id, event, now_ns)
        self.desk.schedule.run_due(now_ns)

    def lose_next_race(self, outcome: RaceOutcome, order_id: str | None = None) -> None:
        """Decide how the next cancel or replace goes wrong. Raises UnknownOrder."""
        venue_hooks.lose_next_race(self, outcome, order_id)

    def order_by_hand(self, fields: Mapping[str, object], now_ns: int) -> str:
        """An order from Alpaca's app; gives its id. Raises Refusal."""
        self._begin(now_ns)
        order = venue_hooks.order_by_hand(self, fields, now_ns)
        self.desk.schedule.run_due(now_ns)
        return order.id

    def split(self, symbol: str, new_per_old: Decimal, now_ns: int) -> None:
        """A split of a stock: 4 makes four shares of one, 0.1 one of ten."""
        self._begin(now_ns)
        venue_hooks.split(self, symbol, new_per_old, now_ns)
        self.desk.schedule.run_due(now_ns)

    def rename(self, symbol: str, new_symbol: str, now_ns: int) -> None:
        """A ticker's new name. Raises ValueError if the old one is unknown."""
        self._begin(now_ns)
        venue_hooks.rename(self, symbol, new_symbol, now_ns)

    def set_halted(self, symbol: str, halted: bool, now_ns: int) -> None:
        """Halt a symbol's trading, or let it go on."""
        self._begin(now_ns)
        venue_hooks.set_halted(self, symbol, halted, now_ns)
        self.desk.schedule.run_due(now_ns)

    # ---- what goes out -------------------------------------------------------------------

    def take_events(self) -> list[dict[str, object]]:
        """The `data` objects of trade_updates since the last call, in order, JSON-ready."""
        return self.updates.take()

    def next_due_ns(self) -> int | None:
        """When `advance` has something to do, or None."""
        return self.desk.schedule.next_due_ns()

    # ---- reading -------------------------------------------------------------------------

    def margin(self) -> Margin:
        """The account's figures now."""
        return self.admission.margin(self.desk.reserved)

    def account(self, now_ns: int) -> dict[str, object]:
        """The object of GET /v2/account."""
        return account_to_wire(
            self.config,
            self.intake.settings,
            self.margin(),
            self._close_before(now_ns),
            self.ledger.fees_paid,
            self._created_ns if self._created_ns is not None else now_ns,
        )

    def position_wire(self, position: Position) -> dict[str, object]:
        """The object of GET /v2/positions."""
        held = held_qty(self.store.open_orders(position.asset.symbol))
        return position_to_wire(self.config, self.ledger, position, held)

    def portfolio_history(self, query: Mapping[str, str], now_ns: int) -> dict[str, object]:
        """The object of GET /v2/account/portfolio/history. Raises Refusal."""
        parsed = parse_history_query(query, now_ns)
        now = EquitySample(now_ns, self.ledger.equity(), self.desk.phase)
        close = self._close_before(now_ns)
        return self._history.to_wire(parsed, now, close.equity, close.asof)

    # ---- time ----------------------------------------------------------------------------

    def _begin(self, now_ns: int) -> None:
        if self._created_ns is None:
            self._created_ns = self._latest_ns = now_ns
        if now_ns < self._latest_ns - SECOND:
            self.desk.schedule.shift(now_ns - self._latest_ns)
        self._latest_ns = now_ns
        self.desk.schedule.run_due(now_ns)
        self._history.see(now_ns, self.desk.phase, self.ledger.equity)

    def _roll_day(self, now_ns: int) -> None:
        self.ledger.roll_day()
        equity, maintenance = self._last_close
        asof = new_york(now_ns).date().isoformat()
        self._yesterday = Yesterday(equity=equity, maintenance_margin=maintenance, asof=asof)

    def _close_before(self, now_ns: int) -> Yesterday:
        if self._yesterday is not None:
            return self._yesterday
        asof = new_york(now_ns).date().isoformat()
        return Yesterday(equity=self.config.starting_cash, maintenance_margin=Decimal(0), asof=asof)
