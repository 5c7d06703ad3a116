"""One thread's work: feed the ladder with what happened, and send what it then wants.

Order messages come from the bus and answers from the order desk, through one bounded inbox. Orders
wait for room in it and are never dropped. Of prices only the first eligible one matters, so prices
never enter it.
"""

from __future__ import annotations

import queue
import time
from collections import Counter
from decimal import Decimal
from typing import Any, Final

import structlog

from ..utils.answers import Accepted, Answer, Found, Refused
from ..utils.redis.messages import (
    BrokerStatus,
    GapMessage,
    OrderMessage,
    PriceMessage,
    RegistrationReply,
)
from ..utils.waits import GrowingWait, RequestBudget
from .desk import Job, Listed, ListOpen, OrderDesk
from .intents import Cancel, LookUp, Place
from .ladder import Gate, Ladder
from .readiness import Readiness
from .venue import Venue

log: Final = structlog.get_logger("tickerbus.scale_t")

TICK_S: Final = 0.1
INBOX: Final = 10_000
REFRESH_S: Final = 60.0  # how often the open orders are compared, beside the bus
REFRESH_UNREADY_S: Final = 10.0
FIRST_HEARTBEAT_S: Final = 2.0
NEVER_GRANTED: Final = frozenset(
    {"invalid_ticker", "unknown_ticker", "unsupported_asset_class", "insufficient_subscription"}
)


class Engine:
    """`on_…` and `stop` may be called by any thread; the rest is one thread's."""

    def __init__(
        self, ladder: Ladder, readiness: Readiness, venue: Venue, requests_per_minute: int
    ) -> None:
        self.ladder = ladder
        self.counters: Counter[str] = Counter()
        self.failure: str | None = None
        self._readiness = readiness
        self._budget = RequestBudget(requests_per_minute)
        self._pause = GrowingWait(2.0, 60.0)  # Alpaca said 429
        self._inbox: queue.Queue[Any] = queue.Queue(maxsize=INBOX)
        self._desk = OrderDesk(venue, ladder.terms.ticker, self._on_answer)
        # Plain attributes, set whole: a signal handler must take no lock.
        self._stop_asked = self._closed = False
        self._first_price: Decimal | None = None
        self._priced_at = self._rejected_at = float("-inf")
        self._started_at = self._refresh_at = 0.0
        self._obstacle: str | None = ""

    # -- any thread

    def stop(self) -> None:
        """Let `run` return. Safe in a signal handler."""
        self._stop_asked = True

    def on_ticker_message(self, message: object) -> None:
        """A handler for the ticker's channel."""
        if isinstance(message, PriceMessage):
            self._priced_at = time.monotonic()
            if message.last_eligible and self._first_price is None:
                self._first_price = Decimal(repr(message.price))
        elif isinstance(message, OrderMessage | GapMessage):
            self._put(message)

    def on_status(self, status: object) -> None:
        """A handler for the broker's heartbeat."""
        if isinstance(status, BrokerStatus):
            self._put(status)

    def on_rejected(self, reply: RegistrationReply) -> None:
        self._put(reply)

    def _on_answer(self, job: Job, answer: Answer | Listed) -> None:
        self._put((job, answer))

    def _put(self, event: object) -> None:
        while not self._closed:
            try:
                self._inbox.put(event, timeout=0.2)
                return
            except queue.Full:
                self.counters["inbox_full"] += 1

    # -- one thread

    def run(self) -> None:
        """Trade until `stop`, or until there is a `failure`."""
        self._desk.start()
        self._started_at = time.monotonic()
        self._refresh_at = self._started_at + REFRESH_S
        while not self._stop_asked and self.failure is None:
            self._take_in(TICK_S)
            self._act(time.monotonic())

    def wind_up(self, cancel_entries: bool, timeout_s: float) -> bool:
        """Cancel the working entries, and see them end. False if one may still work.

        Stopping is not held back by the request budget.
        """
        deadline = time.monotonic() + timeout_s
        self._stop_asked = True
        self.ladder.stop(cancel_entries)
        while not self._settled(cancel_entries) and time.monotonic() < deadline:
            self._send_all(time.monotonic(), self._desk.room)
            self._take_in(TICK_S / 2)
        return self._settled(cancel_entries)

    def close(self, timeout_s: float) -> None:
        self._closed = True
        if not self._desk.stop(timeout_s):
            log.warning("scale_t.request_hangs")

    def _settled(self, cancel_entries: bool) -> bool:
        works = cancel_entries and self.ladder.book.active("entry")
        return self._desk.idle and self._inbox.empty() and not works

    def _take_in(self, timeout_s: float) -> None:
        """All that waits in the inbox; blocks for the first."""
        try:
            self._see(self._inbox.get(timeout=timeout_s), time.monotonic())
            while True:
                self._see(self._inbox.get_nowait(), time.monotonic())
        except queue.Empty:
            return

    def _see(self, event: Any, now: float) -> None:
        match event:
            case OrderMessage():
                self._see_order(event, now)
            case BrokerStatus():
                self._readiness.see_status(event, now)
            case GapMessage():
                log.warning("scale_t.gap", cause=event.cause, backfilled=event.backfilled)
                self._refresh_at = now
            case RegistrationReply():
                self._see_rejected(event, now)
            case (job, answer):
                self._see_answer(job, answer, now)

    def _see_order(self, message: OrderMessage, now: float) -> None:
        order = self.ladder.see_order(message, now)
        if order is not None:
            log.info(
                "scale_t.order_event",
                order=order.client_order_id,
                order_event=message.event,
                filled=str(order.filled),
                position=str(self.ladder.position),
            )

    def _see_rejected(self, reply: RegistrationReply, now: float) -> None:
        self._readiness.rejected, self._rejected_at = reply.reason or "no reason", now
        idle = self.ladder.position == 0 and not self.ladder.working_ids()
        if idle and reply.reason in NEVER_GRANTED:
            self.failure = f"{reply.ticker}: {reply.reason}: {reply.detail}"

    def _see_answer(self, job: Job, answer: Answer | Listed, now: float) -> None:
        if isinstance(answer, Refused) and answer.status == 429:
            self._pause.grow(now)
        match job, answer:
            case _, Found(order_data=order_data):
                self.ladder.see_order_data(order_data, now)
                if isinstance(job, LookUp):
                    told = {key: order_data.get(key) for key in ("status", "filled_qty")}
                    log.info("scale_t.looked_up", order=job.client_order_id, **told)
            case Place(), Refused():
                self._see_place_refused(job, answer, now)
            case Place(), _:
                log.warning("scale_t.order_unresolved", order=job.client_order_id, answer=answer)
                self.ladder.see_unresolved(job.client_order_id, now)
            case LookUp(), Refused(status=404):
                self.ladder.see_absent(job.client_order_id, now)
            case Cancel(), _:
                # Refused: it has ended already. While stopping nobody may be there to tell its end.
                if self._stop_asked or not isinstance(answer, Accepted):
                    self.ladder.look_up(job.client_order_id)
            case ListOpen(), Listed(orders=list() as orders):
                self.ladder.see_open_orders(orders, job.expected, now)

    def _see_place_refused(self, place: Place, refused: Refused, now: float) -> None:
        wait_s = self.ladder.see_refused(place.client_order_id, refused, now)
        self.counters["refused"] += 1
        log.warning(
            "scale_t.order_refused",
            order=place.client_order_id,
            reason=refused.reason,
            wait_s=wait_s,
        )

    def _act(self, now: float) -> None:
        self._start_ladder()
        self._ask_readiness(now)
        room = self._room(now)
        if room > 0 and now >= self._refresh_at and self.ladder.working_ids():
            self._refresh_at = now + (REFRESH_S if self._obstacle is None else REFRESH_UNREADY_S)
            self._submit(ListOpen(expected=self.ladder.working_ids()), now)
        self._send_all(now, self._room(now))

    def _start_ladder(self) -> None:
        if self._first_price is not None and not self.ladder.rungs:
            self.ladder.see_price(self._first_price)
            log.info("scale_t.starting_price", price=str(self._first_price))

    def _ask_readiness(self, now: float) -> None:
        if self._priced_at > self._rejected_at:
            self._readiness.rejected = None  # the ticker's prices flow, so it is followed
        obstacle = self._readiness.obstacle(now)
        too_early = self._readiness.status is None and now < self._started_at + FIRST_HEARTBEAT_S
        if obstacle != self._obstacle and not too_early:
            if obstacle is not None:
                log.warning("scale_t.entries_held", reason=obstacle)
            else:
                log.info("scale_t.entries_allowed")
            self._obstacle = obstacle
        self.ladder.entry_gate = Gate.OPEN if obstacle is None else Gate.NO_NEW

    def _room(self, now: float) -> int:
        return min(self._desk.room, self._budget.room(now)) if self._pause.over(now) else 0

    def _send_all(self, now: float, room: int) -> None:
        for intent in self.ladder.decide(now, room):
            log.info("scale_t.request", kind=type(intent).__name__, order=intent.client_order_id)
            self._submit(intent, now)

    def _submit(self, job: Job, now: float) -> None:
        self._budget.spend(now)
        self.counters["requests"] += 1
        self._desk.submit(job)
