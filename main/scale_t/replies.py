"""What follows when Alpaca answers an order, a cancel, a look-up or a question, or does not."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import structlog

from ..utils.answers import Accepted, Found, Refused
from .desk import (
    AskClock,
    AskFacts,
    AskFees,
    AskPrice,
    Job,
    Listed,
    ListOpen,
    NoAnswer,
    Question,
    Told,
)
from .intents import Cancel, LookUp, Place
from .session_check import Clock, LatestTrade

if TYPE_CHECKING:
    from .engine import Engine

log: Final = structlog.get_logger("tickerbus.scale_t")


class Replies:
    """The engine's own; in its thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ladder = engine.ladder

    def see(self, job: Job, answer: Told, now: float) -> None:
        """A job that the order desk has done."""
        if isinstance(answer, NoAnswer):
            self._see_limit(answer.refused, now)
        if isinstance(job, Question):
            self._see_told(job, answer, now)
        elif isinstance(answer, Found):
            self._see_order(job, answer, now)
        elif isinstance(job, Place):
            self._see_not_placed(job, answer, now)
        elif isinstance(answer, Refused) and answer.status == 429:
            self._see_limit(answer, now)
        elif isinstance(job, Cancel):
            # Refused: it has ended already. While stopping nobody may be there to tell its end.
            if self._engine.is_stopping or not isinstance(answer, Accepted):
                self._ladder.look_up(job.client_order_id)
        elif isinstance(answer, Refused) and answer.status == 404:
            self._ladder.see_absent(job.client_order_id, now)

    # -- questions

    def _see_told(self, job: Question, answer: Told, now: float) -> None:
        match job, answer:
            case ListOpen(), _:
                self._see_listed(job, answer, now)
            case AskClock(), Clock():
                self._engine.session.see_clock(answer)
            case AskFacts(), _:
                self._engine.asking.see_facts(answer, now)
            case AskFees(), _:
                self._engine.asking.see_fees(job, answer, now)
            case AskPrice(), LatestTrade():
                self._engine.prices.replace(answer)

    def _see_limit(self, refused: Refused | None, now: float) -> None:
        """A 429 holds whatever comes next, whoever heard it."""
        if refused is not None and refused.status == 429:
            self._ladder.holds.pause(now, refused.retry_after_s)

    def _see_listed(self, job: ListOpen, answer: Told, now: float) -> None:
        if isinstance(answer, Listed):
            self._ladder.see_open_orders(answer.orders, job.expected, now)
        self._engine.tell_updated(job.asked_by, answer)

    # -- orders

    def _see_order(self, job: Job, found: Found, now: float) -> None:
        self._ladder.see_order_data(found.order_data, now)
        if isinstance(job, LookUp):
            told = {key: found.order_data.get(key) for key in ("status", "filled_qty")}
            log.info("scale_t.looked_up", order=job.client_order_id, **told)

    def _see_not_placed(self, place: Place, answer: Told, now: float) -> None:
        if isinstance(answer, Refused):
            self._see_place_refused(place, answer, now)
            return
        log.warning("scale_t.order_unresolved", order=place.client_order_id, answer=answer)
        self._ladder.see_unresolved(place.client_order_id, now)

    def _see_place_refused(self, place: Place, refused: Refused, now: float) -> None:
        mode = self._ladder.mode
        wait_s = self._ladder.see_refused(place.client_order_id, refused, now)
        self._engine.counters["refused"] += 1
        log.warning(
            "scale_t.order_refused",
            order=place.client_order_id,
            reason=refused.reason,
            wait_s=wait_s,
        )
        if self._ladder.mode is not mode:
            log.error("scale_t.mode", mode=self._ladder.mode.name, reason=self._ladder.reason)
        if refused.status == 403 and place.kind == "profit":
            self._engine.session.doubt()  # the account may have less than it owns
