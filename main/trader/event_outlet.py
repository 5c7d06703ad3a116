"""The thread between the executor and the event bus: trading never waits for it, nor fails with it.

Whatever the bus does (away, slow, refusing, closed), the queue in front of this thread takes what
happened; when it is full the newest is dropped, counted and logged. Events are built here and not
where orders are sent, because a position that an earlier run opened is asked of the bus first.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final, Protocol, TypeAlias

from ..order_events import Holding, OrderEvents
from ..trade_events import TradeEvent, TradeEventType, event_id_of
from ..utils.decimals import decimal_or_none
from ..utils.redis.messages import OrderMessage
from ..utils.tracebacks import plain_traceback
from .log import ExecutorLog

SOURCE: Final = "trader"
PREPARE_S: Final = 2.0
_RETRY_S: Final = 0.5
KEEP_ENDED: Final = 5_000  # orders of each symbol
_LOG_EVERY_S: Final = 10.0


class EventBus(Protocol):
    """What the executor needs of the bus. `get_active_positions` may be missing."""

    def publish(self, event: TradeEvent) -> Any: ...


@dataclass(frozen=True, kw_only=True)
class NotPlaced:
    """An order that never came to be: refused, or lost for good. Alpaca has no id for it."""

    symbol: str
    client_order_id: str
    reason: str
    refused: bool
    timestamp: str
    account_id: str | None


@dataclass(frozen=True, kw_only=True)
class _Prepare:
    """Ask the bus for our position in a symbol, before an order of ours may change it."""

    symbol: str
    done: threading.Event


Happening: TypeAlias = OrderMessage | NotPlaced


class EventOutlet:
    """`tell` may be called by any thread; the rest is this thread's."""

    name = "trade-events"

    def __init__(self, bus: EventBus, client_id: str, log: ExecutorLog, capacity: int) -> None:
        self.counters: Counter[str] = Counter()
        self._bus, self._client_id, self._log = bus, client_id, log
        self._queue: queue.Queue[Happening | _Prepare | None] = queue.Queue(maxsize=capacity)
        self._makers: dict[str, OrderEvents] = {}
        self._closing = threading.Event()
        self._answers = True  # the bus, when it was asked last
        self._logged_at = float("-inf")
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def tell(self, happenings: Sequence[Happening]) -> None:
        """Never blocks, never raises."""
        for happening in happenings:
            try:
                self._queue.put_nowait(happening)
            except queue.Full:
                self.counters["happenings_dropped"] += 1
                self._complain("executor.events_dropped", reason="the queue is full")

    def prepare(self, symbol: str) -> None:
        """Before the first order in a symbol: what we hold there from an earlier run, as the bus
        remembers it. Asked later, it might count that order already, by the bridge's word. Waits
        for an answer for no more than a moment, and a bus that gave none is not waited for again.
        """
        if symbol in self._makers:
            return
        asked = _Prepare(symbol=symbol, done=threading.Event())
        with contextlib.suppress(queue.Full):
            self._queue.put_nowait(asked)
        if not asked.done.wait(PREPARE_S if self._answers else 0):
            self._answers = False
            self.counters["positions_asked_late"] += 1
            self._complain("executor.positions_asked_late", symbol=symbol)

    def close(self, timeout_s: float) -> bool:
        """Publish what waits, as long as there is time; False if something is left."""
        if self._thread.ident is None or self._closing.is_set():
            return not self._thread.is_alive()
        deadline = time.monotonic() + timeout_s
        while not self._queue.empty() and time.monotonic() < deadline and self._thread.is_alive():
            time.sleep(0.01)
        self._closing.set()
        with contextlib.suppress(queue.Full):  # the flag ends it then
            self._queue.put_nowait(None)
        self._thread.join(max(0.1, deadline - time.monotonic()))
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not (self._closing.is_set() and self._queue.empty()):
            happening = self._queue.get()
            if happening is None:
                continue
            try:
                self._publish_all(happening)
            except Exception:  # the supervisor: an event is not worth the thread
                self.counters["events_failed"] += 1
                self._log.error("executor.event_failed", traceback=plain_traceback())

    def _publish_all(self, happening: Happening | _Prepare) -> None:
        if isinstance(happening, _Prepare):
            self._answers = self._maker(happening.symbol) is not None
            happening.done.set()
            return
        if isinstance(happening, NotPlaced):
            events = list(_not_placed(happening))
        else:
            maker = self._maker(happening.symbol)
            events = [] if maker is None else maker.take(happening)
            if maker is not None:
                maker.take_changed()  # nobody saves it here: the bridge does
                maker.memory.forget_ended(KEEP_ENDED)
        for event in events:
            self._publish(event)

    def _publish(self, event: TradeEvent) -> None:
        try:
            self._bus.publish(event)
            self.counters["events_published"] += 1
        except Exception as error:  # whatever a bus may raise: trading goes on
            self.counters["events_failed"] += 1
            self._complain("executor.event_not_published", reason=repr(error)[:200])

    def _maker(self, symbol: str) -> OrderEvents | None:
        """The symbol's; its own position is asked of the bus before its first event."""
        maker = self._makers.get(symbol)
        while maker is None:
            held = self._ask(symbol)
            if held is not None:
                maker = self._makers[symbol] = OrderEvents(symbol, SOURCE)
                maker.memory.holdings.update(_own(held, self._client_id))
            elif self._closing.wait(_RETRY_S):
                self.counters["events_failed"] += 1
                return None
        return maker

    def _ask(self, symbol: str) -> list[dict[str, Any]] | None:
        ask: Callable[[str], Any] | None = getattr(self._bus, "get_active_positions", None)
        if ask is None:
            return []
        try:
            held = ask(symbol)
        except Exception as error:  # away: the events wait here, and trading does not
            self._complain("executor.positions_not_read", reason=repr(error)[:200])
            return None
        return held if isinstance(held, list) else []

    def _complain(self, event: str, **fields: object) -> None:
        """One line for a while of trouble, not one for each event."""
        now = time.monotonic()
        if now - self._logged_at >= _LOG_EVERY_S:
            self._logged_at = now
            self._log.warning(event, **fields, **dict(self.counters))


def _own(positions: list[dict[str, Any]], client_id: str) -> dict[str, Holding]:
    """Our position, as the bus remembers it from an earlier run."""
    for position in positions:
        volume = decimal_or_none(position.get("volume"))
        entry_price = decimal_or_none(position.get("entry_price"))
        if position.get("owner") != client_id or not volume or entry_price is None:
            continue
        sign = Decimal(-1 if position.get("direction") == "SHORT" else 1)
        held = Holding(
            position_id=str(position.get("position_id")),
            qty=sign * volume,
            cost=volume * entry_price,
        )
        return {client_id: held}
    return {}


def _not_placed(happening: NotPlaced) -> list[TradeEvent]:
    """An order that Alpaca has no id for is known by ours."""
    name, account = happening.client_order_id, happening.account_id
    common: dict[str, Any] = {
        "symbol": happening.symbol,
        "timestamp": happening.timestamp,
        "account": account,
        "source": SOURCE,
        "correlation_id": name,
    }
    failed = TradeEventType.TRADE_FAILED
    events = []
    if happening.refused:
        data = {"order_id": name, "client_order_id": name, "reason": happening.reason}
        events.append(TradeEvent(event_type=TradeEventType.ORDER_REJECTED, data=data, **common))
    data = {"trade_id": name, "order_id": name, "reason": happening.reason}
    event_id = event_id_of(account, name, failed, symbol=happening.symbol)
    events.append(TradeEvent(event_type=failed, data=data, event_id=event_id, **common))
    return events
