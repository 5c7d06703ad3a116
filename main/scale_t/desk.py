"""The thread that asks Alpaca: REST is slow, and whoever reads the bus must never wait for it."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import structlog

from ..utils.answers import Answer, Lost, OrderData, Refused
from ..utils.tracebacks import plain_traceback
from .intents import Cancel, Intent, Place
from .session_check import Clock, Facts, LatestTrade
from .venue import Venue, VenueFailed

log: Final = structlog.get_logger("tickerbus.scale_t")

CAPACITY: Final = 4  # what finds no room stays a wish of the ladder, and is wanted again


@dataclass(frozen=True, kw_only=True)
class ListOpen:
    """Ask which orders work; `expected` are those that should, when asked. `asked_by`: a request
    that waits for it."""

    expected: frozenset[str]
    asked_by: str | None = None


@dataclass(frozen=True, kw_only=True)
class AskClock:
    """Is the market open?"""


@dataclass(frozen=True, kw_only=True)
class AskPrice:
    """The latest trade: the bus has been silent for too long."""


@dataclass(frozen=True, kw_only=True)
class AskFacts:
    """What the check before a session compares."""

    since: str | None


@dataclass(frozen=True, kw_only=True)
class AskFees:
    """What the executions of pairs cost, since a moment."""

    since: str
    page_token: str | None = None


@dataclass(frozen=True, kw_only=True)
class Charges:
    """Activities of the types FILL and CFEE."""

    activities: list[Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True)
class Listed:
    """Alpaca's open orders."""

    orders: list[OrderData]


@dataclass(frozen=True, kw_only=True)
class NoAnswer:
    """A question that got none; it is asked again. `refused`: Alpaca's word, if it spoke."""

    reason: str
    refused: Refused | None = None


Question: TypeAlias = ListOpen | AskClock | AskPrice | AskFacts | AskFees
Job: TypeAlias = Intent | Question
Told: TypeAlias = Answer | Listed | Clock | LatestTrade | Facts | Charges | NoAnswer
OnAnswer: TypeAlias = Callable[[Job, Told], object]


class OrderDesk:
    """Does one job after the other on its own thread, and reports each outcome."""

    def __init__(self, venue: Venue, ticker: str, on_answer: OnAnswer) -> None:
        self._venue, self._ticker, self._on_answer = venue, ticker, on_answer
        self._jobs: queue.Queue[Job | None] = queue.Queue(maxsize=CAPACITY + 1)
        self._undone = 0
        self._lock = threading.Lock()
        self._only_orders = threading.Event()
        self._thread = threading.Thread(target=self._work, name="order-desk", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @property
    def room(self) -> int:
        """How many more jobs it takes now."""
        return CAPACITY - self._undone

    @property
    def idle(self) -> bool:
        return self._undone == 0

    def submit(self, job: Job) -> None:
        """Only as long as there is `room`."""
        with self._lock:
            self._undone += 1
        self._jobs.put_nowait(job)

    def drop_questions(self) -> None:
        """From here on only orders, cancels and look-ups are sent: a stop waits for those alone."""
        self._only_orders.set()

    def stop(self, timeout_s: float) -> bool:
        """False if a request still hangs; its thread does not keep the program from ending."""
        try:
            self._jobs.put_nowait(None)
        except queue.Full:
            return False
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            try:
                answer = self._do(job)
            except Exception as error:  # a supervisor: no fault here may end the desk in silence
                log.error("scale_t.request_failed", job=job, traceback=plain_traceback())
                answer = Lost(reason=repr(error))
            self._on_answer(job, answer)
            with self._lock:
                self._undone -= 1

    def _do(self, job: Job) -> Told:
        if isinstance(job, Place):
            return self._venue.place(job)
        if isinstance(job, Cancel):
            return self._venue.cancel(job.order_id)
        if isinstance(job, Question):
            return self._ask(job)
        return self._venue.look_up(job.client_order_id)

    def _ask(self, job: Question) -> Told:
        venue, ticker = self._venue, self._ticker
        if self._only_orders.is_set():
            return NoAnswer(reason="it is stopping")
        try:
            match job:
                case ListOpen():
                    return Listed(orders=venue.open_orders(ticker))
                case AskClock():
                    return venue.clock(ticker)
                case AskPrice():
                    return venue.latest_trade(ticker) or NoAnswer(reason="it never traded")
                case AskFacts(since=since):
                    return venue.facts(ticker, since, given_up=self._only_orders.is_set)
                case AskFees(since=after, page_token=token):
                    return Charges(activities=venue.charges(after, token))
        except VenueFailed as error:
            log.warning("scale_t.question_unanswered", question=type(job).__name__, why=str(error))
            fault = error.fault
            refused = fault if isinstance(fault, Refused) else None
            return NoAnswer(reason=str(error), refused=refused)
