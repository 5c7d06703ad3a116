"""Pure: the same core as in a real trade, over recorded prices, as fast as it goes.

No clock, no chance: the same recording and the same terms give the same result every time.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal

from ..utils.redis.messages import OrderMessage
from .config import ScaleTConfig
from .intents import Cancel, Place
from .ladder import Gate, Ladder
from .modes import Mode
from .paper import PaperOrder, PaperVenue
from .profit import total_profit
from .recording import Tick
from .session import NEW_YORK, Session

_ROOM = 1_000
_SESSION_REST_S = 61.0  # an order that expired with its session is not armed again before


@dataclass(frozen=True, kw_only=True)
class SimulatedFill:
    """One fill. `profit`: realised and open, right after it."""

    at_ns: int
    kind: str
    component: int
    side: str
    qty: Decimal
    price: Decimal
    position: Decimal
    profit: Decimal


@dataclass(frozen=True, kw_only=True)
class SimulationResult:
    """Dollars and shares. `curve`: moment, price and total profit at each trade of the tape."""

    ladder: Ladder
    fills: Sequence[SimulatedFill]
    orders: Sequence[PaperOrder]
    curve: Sequence[tuple[int, Decimal, Decimal]]
    max_position: Decimal
    max_drawdown: Decimal
    max_capital: Decimal
    ended: str  # why it ended before the recording did, or empty


@dataclass
class _Run:
    config: ScaleTConfig
    ladder: Ladder
    venue: PaperVenue = field(default_factory=PaperVenue)
    fills: list[SimulatedFill] = field(default_factory=list)
    curve: list[tuple[int, Decimal, Decimal]] = field(default_factory=list)
    max_position: Decimal = Decimal(0)
    max_capital: Decimal = Decimal(0)
    peak: Decimal = Decimal(0)
    max_drawdown: Decimal = Decimal(0)
    day: str = ""
    dirty: bool = True


def simulate(config: ScaleTConfig, ticks: Sequence[Tick]) -> SimulationResult:
    """Trade the recording from its first tick to its last."""
    ladder = Ladder(config.terms)
    if config.start_price is not None:
        ladder.start_at(config.start_price)
    run = _Run(config=config, ladder=ladder)
    session = Session(None, config.hours)
    for tick in ticks:
        _step(run, session, tick)
        if ladder.mode is Mode.STOPPING and not ladder.book.active("entry"):
            break
        if ladder.mode is Mode.FLATTENING and ladder.is_flat:
            break
    return SimulationResult(
        ladder=ladder,
        fills=run.fills,
        orders=run.venue.orders,
        curve=run.curve,
        max_position=run.max_position,
        max_drawdown=run.max_drawdown,
        max_capital=run.max_capital,
        ended=ladder.reason if ladder.loss_reached else "",
    )


def _step(run: _Run, session: Session, tick: Tick) -> None:
    ladder, now = run.ladder, tick.at_ns / 1e9
    moment = datetime.fromtimestamp(now, UTC)
    zone = UTC if ladder.terms.is_crypto else NEW_YORK
    day = moment.astimezone(zone).date().isoformat()
    if day != run.day:
        _begin_session(run, day, tick.at_ns)
    gate = Gate.OPEN if session.in_hours(moment) else Gate.TAKE_BACK
    run.dirty |= gate is not ladder.entry_gate
    ladder.entry_gate = gate
    _hear(run, run.venue.see(tick), tick.at_ns)
    if tick.price is not None:
        _see_price(run, tick, tick.price)
    if run.dirty or run.ladder.terms.re_anchor is not None:
        _send(run, tick.at_ns)


def _begin_session(run: _Run, day: str, at_ns: int) -> None:
    if run.day and not run.config.terms.is_crypto:
        # They ended when that session did, so nothing has to wait for it now.
        then = at_ns - int(_SESSION_REST_S * 1e9)
        _hear(run, run.venue.close_session(then), then)
    run.day = day
    run.ladder.session_entered = run.ladder.book.entered


def _see_price(run: _Run, tick: Tick, price: Decimal) -> None:
    ladder = run.ladder
    before = (ladder.mode, ladder.range_obstacle(), len(ladder.rungs))
    ladder.see_price(price)
    run.dirty |= before != (ladder.mode, ladder.range_obstacle(), len(ladder.rungs))
    profit = total_profit(ladder.book, ladder.terms.side, price)
    run.curve.append((tick.at_ns, price, profit))
    run.peak = max(run.peak, profit)
    run.max_drawdown = max(run.max_drawdown, run.peak - profit)


def _send(run: _Run, at_ns: int) -> None:
    """Until nothing more is wanted; cancels and orders take no time."""
    now = at_ns / 1e9
    while intents := run.ladder.decide(now, _ROOM):
        for intent in intents:
            if isinstance(intent, Place):
                _hear(run, run.venue.take(intent, at_ns), at_ns)
            elif isinstance(intent, Cancel):
                _hear(run, run.venue.cancel(intent.client_order_id, at_ns), at_ns)
    run.dirty = False


def _hear(run: _Run, messages: Iterable[OrderMessage], at_ns: int) -> None:
    ladder = run.ladder
    for message in messages:
        order = ladder.see_order(message, at_ns / 1e9)
        run.dirty = True
        if order is None or message.event != "fill":
            continue
        qty, price = Decimal(message.update["qty"]), Decimal(message.update["price"])
        run.fills.append(
            SimulatedFill(
                at_ns=at_ns,
                kind=order.name.kind,
                component=order.name.component,
                side=message.order_data["side"],
                qty=qty,
                price=price,
                position=ladder.position,
                profit=total_profit(ladder.book, ladder.terms.side, price),
            )
        )
        run.max_position = max(run.max_position, ladder.position)
        run.max_capital = max(run.max_capital, ladder.profit().cost)
