"""One thread's work: feed the ladder with what happened, and send what it then wants.

Messages come from the bus, answers from the order desk, requests from a person, through one
bounded inbox. Orders wait for room in it and are never dropped. Of prices only the newest matters,
so prices never enter it.
"""

from __future__ import annotations

import queue
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, Final

import structlog

from ..utils.redis.broker_watch import BrokerView
from ..utils.redis.errors import RegistrationRejected
from ..utils.redis.messages import (
    GapMessage,
    OrderMessage,
    PriceMessage,
    StatusMessage,
    now_rfc3339,
)
from ..utils.waits import RequestBudget
from .asking import Asking
from .control import ControlRequest
from .desk import Job, ListOpen, OrderDesk, Told
from .ladder import Gate, Ladder
from .modes import Mode
from .obey import Obey
from .prices import NewestPrice
from .readiness import Readiness
from .replies import Replies
from .saved import StateFile
from .session import Session
from .state import plain
from .venue import Venue

log: Final = structlog.get_logger("tickerbus.scale_t")

TICK_S: Final = 0.1
INBOX: Final = 10_000
FIRST_HEARTBEAT_S: Final = 2.0
SAVE_S: Final = 60.0
NEVER_GRANTED: Final = frozenset(
    {"invalid_ticker", "unknown_ticker", "unsupported_asset_class", "insufficient_subscription"}
)


@dataclass(frozen=True, kw_only=True)
class EngineParts:
    """What an engine works with. `broker` says what the heartbeats say."""

    ladder: Ladder
    readiness: Readiness
    venue: Venue
    session: Session
    file: StateFile
    budget: RequestBudget
    broker: Callable[[], BrokerView]
    max_price_age_s: float = 60.0
    account: str = ""  # PAPER or LIVE, and the account's last four characters


class Engine:
    """`on_…` and `stop` may be called by any thread; the rest is one thread's."""

    def __init__(self, parts: EngineParts) -> None:
        self.parts = parts
        self.ladder, self.session = parts.ladder, parts.session
        self.counters: Counter[str] = Counter()
        self.failure: str | None = None
        self.superseded: str | None = None  # another process trades the ticker in this name now
        self.prices = NewestPrice(parts.max_price_age_s)
        self.obstacle: str | None = ""  # why no new entry is sent
        self.asked_updates: dict[str, ControlRequest] = {}
        self._inbox: queue.Queue[Any] = queue.Queue(maxsize=INBOX)
        self._desk = OrderDesk(parts.venue, self.ladder.terms.ticker, self._on_answer)
        self._obey = Obey(self)
        # Plain attributes, set whole: a signal handler must take no lock.
        self._stop_asked = self._closed = False
        self._started_at = self._save_at = 0.0
        self.asking, self._replies = Asking(self), Replies(self)

    # -- any thread

    def stop(self) -> None:
        """Let `run` return. Safe in a signal handler."""
        self._stop_asked = True

    @property
    def is_stopping(self) -> bool:
        return self._stop_asked

    def on_message(self, message: object) -> None:
        """What came on the ticker's channel."""
        if isinstance(message, PriceMessage):
            self.prices.see(message)
            self.parts.readiness.see_price(message)
        elif isinstance(message, OrderMessage | GapMessage | StatusMessage):
            self._put(message)

    def on_rejected(self, rejection: RegistrationRejected) -> None:
        self._put(rejection)

    def supersede(self, holder: str) -> None:
        """Another process took the lease over: what works is its own by now, so end at once."""
        self.superseded = f"another scale-t took it over ({holder})"
        self._stop_asked = True

    def on_request(self, request: ControlRequest) -> None:
        self._put(request)

    def answer_with(
        self, answer: Callable[[ControlRequest, bool, str, dict[str, Any]], object]
    ) -> None:
        """Where answers to requests go."""
        self._obey.answer = answer

    def _on_answer(self, job: Job, answer: Told) -> None:
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
        """Trade until `stop`, until it is flat, or until there is a `failure`."""
        self._desk.start()
        self._started_at = time.monotonic()
        self._save_at = self._started_at + SAVE_S
        self.asking.begin(self._started_at)
        while not self._stop_asked and self.failure is None and not self._is_over():
            self._take_in(TICK_S)
            self._act(time.monotonic())

    def _is_over(self) -> bool:
        """A stop that was no signal: the loss limit's, or a flatten that is done."""
        if self.ladder.mode is Mode.FLATTENING:
            return self.ladder.is_flat and self._desk.idle and self._inbox.empty()
        return self.ladder.mode is Mode.STOPPING

    def wind_up(self, cancel_entries: bool, timeout_s: float) -> bool:
        """Cancel the working entries, and see them end. False if one may still work.

        Stopping is not held back by the request budget.
        """
        deadline = time.monotonic() + timeout_s
        self._stop_asked = True
        self._desk.drop_questions()
        self.ladder.stop(cancel_entries)
        while not self._settled(cancel_entries) and time.monotonic() < deadline:
            self._send_all(time.monotonic(), self._desk.room)
            self._take_in(TICK_S / 2)
        self.save()
        return self._settled(cancel_entries)

    def close(self, timeout_s: float) -> None:
        self._closed = True
        if not self._desk.stop(timeout_s):
            log.warning("scale_t.request_hangs")

    def save(self, account_qty: Decimal | None = None) -> None:
        """Remember the ladder for the next run. Not while it is in doubt what is owned."""
        if self.session.verdict is None:
            self.parts.file.write(self.session.snapshot(self.ladder, now_rfc3339(), account_qty))

    def update(self, now: float, asked_by: str | None = None) -> None:
        """Compare the open orders with Alpaca's list, soon."""
        self.submit(ListOpen(expected=self.ladder.working_ids(), asked_by=asked_by), now)

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

    # -- what happens

    def _see(self, event: Any, now: float) -> None:
        match event:
            case OrderMessage():
                self._see_order(event, now)
            case GapMessage():
                log.warning("scale_t.gap", cause=event.cause, backfilled=event.backfilled)
                self.asking.refresh_soon(now)
            case StatusMessage():
                self.parts.readiness.see_trading_status(event)
            case RegistrationRejected():
                self._see_rejected(event)
            case ControlRequest():
                self._obey.see(event, now)
            case (job, answer):
                self._replies.see(job, answer, now)

    def _see_order(self, message: OrderMessage, now: float) -> None:
        order = self.ladder.see_order(message, now)
        if order is not None:
            log.info(
                "scale_t.order_event",
                order=order.client_order_id,
                order_event=message.event,
                filled=plain(order.filled),
                position=plain(self.ladder.position),
            )

    def _see_rejected(self, rejection: RegistrationRejected) -> None:
        self.parts.readiness.rejected = rejection.reason or "no reason"
        idle = self.ladder.position == 0 and not self.ladder.working_ids()
        if idle and rejection.reason in NEVER_GRANTED:
            self.failure = str(rejection)

    def tell_updated(self, asked_by: str | None, answer: Told) -> None:
        """Alpaca listed the open orders, or did not: whoever asked by hand is told."""
        asked = self.asked_updates.pop(asked_by or "", None)
        if asked is not None:
            self._obey.tell_updated(asked, answer)

    def hold(self, reason: str) -> None:
        """Send nothing more until a person says `resume --confirm`."""
        self.ladder.become(Mode.HELD, reason)
        log.error(
            "scale_t.held",
            ticker=self.ladder.terms.ticker,
            reason=reason,
            then="scale-t resume --confirm",
        )

    # -- what follows

    def _act(self, now: float) -> None:
        self.asking.follow_session(now)
        self._take_price()
        self._judge_readiness(now)
        self.asking.ask(now)
        if now >= self._save_at:
            self._save_at = now + SAVE_S
            self.save()
        if self.ladder.holds.account.over(now):
            self._send_all(now, self._desk.room, self.room(now))

    def _take_price(self) -> None:
        price = self.prices.take()
        started, ended = bool(self.ladder.rungs), self.ladder.loss_reached
        if price is not None and (started or not self.prices.is_stale(time.time())):
            self.ladder.see_price(price)
            if not started:
                log.info("scale_t.starting_price", price=str(price))
        self.ladder.judge_loss()  # also of a price from before the session's check had passed
        if self.ladder.loss_reached and not ended:
            log.error("scale_t.loss_limit", reason=self.ladder.reason)
            self.save()  # killed in the middle of a flatten, it goes on with that

    def _judge_readiness(self, now: float) -> None:
        broker = self.parts.broker()
        obstacle = self.parts.readiness.obstacle(broker)
        if broker.status is None and now < self._started_at + FIRST_HEARTBEAT_S:
            self.ladder.entry_gate = Gate.NO_NEW
            return  # too early to call it away
        in_hours = self.session.in_hours(datetime.now(UTC))
        if obstacle != self.obstacle:
            if obstacle is not None:
                log.warning("scale_t.entries_held", reason=obstacle)
            else:
                log.info("scale_t.entries_allowed")
            self.obstacle = obstacle
        gate = Gate.OPEN if obstacle is None else Gate.NO_NEW
        self.ladder.entry_gate = gate if in_hours else Gate.TAKE_BACK

    def may_ask(self, now: float) -> bool:
        """Whether a question that cannot wait for the budget may be asked: not after a 429."""
        return self._desk.room > 0 and self.ladder.holds.account.over(now)

    def room(self, now: float) -> int:
        """For entries and questions: the budget's. Cancels and exits always work."""
        if not self.ladder.holds.account.over(now):
            return 0  # Alpaca said 429
        return min(self._desk.room, self.parts.budget.room(now))

    def _send_all(self, now: float, room: int, entry_room: int | None = None) -> None:
        for intent in self.ladder.decide(now, room, entry_room):
            log.info("scale_t.request", kind=type(intent).__name__, order=intent.client_order_id)
            self.submit(intent, now)

    def submit(self, job: Job, now: float, requests: int = 1) -> None:
        for _ in range(requests):
            self.parts.budget.spend(now)
        self.counters["requests"] += requests
        self._desk.submit(job)
