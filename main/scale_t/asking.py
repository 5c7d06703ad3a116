"""What an engine asks of Alpaca by itself, when, and what follows from the answers: the market's
clock, the check before a session, a price where the bus is silent, its open orders, a pair's fees.
"""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Final

import structlog

from ..utils.redis.messages import rfc3339
from ..utils.waits import GrowingWait
from .desk import AskClock, AskFacts, AskFees, AskPrice, Charges, Told
from .fees import listed_since_ns
from .modes import Mode
from .session_check import Facts
from .venue import ACTIVITIES_PAGE, FACTS_REQUESTS

if TYPE_CHECKING:
    from .engine import Engine

log: Final = structlog.get_logger("tickerbus.scale_t")

REFRESH_S: Final = 60.0  # how often the open orders are compared, beside the bus
REFRESH_UNREADY_S: Final = 5.0
CLOCK_S: Final = 30.0
CHECK_AGAIN_S: Final = 5.0
ASK_PRICE_S: Final = 5.0  # while none is known at all
FEES_FIRST_S: Final = 5.0  # after a fill
FEES_S: Final = 30.0  # and ever more seldom while the list brings nothing new
FEES_CAP_S: Final = 600.0
SHORT_CHECK_S: Final = 1.0
SHORT_CHECKS: Final = 2  # so often it is looked at again before a shortfall is believed


class Asking:
    """The engine's own; in its thread. Times are seconds of the monotonic clock."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._ladder, self._session = engine.ladder, engine.session
        self._refresh_at = self._clock_at = self._check_at = 0.0
        self._fees = GrowingWait(FEES_S, FEES_CAP_S)
        self._awaited = frozenset[str]()  # orders whose fees are not all listed
        self._asked_price_at = float("-inf")
        self._checking = self._heard_open = self._asking_fees = False
        self._short_checks = 0

    def begin(self, now: float) -> None:
        self._refresh_at = now + REFRESH_S

    # -- asking

    def ask(self, now: float) -> None:
        """Whatever is due."""
        self._follow_price(now)
        if self._engine.room(now) > 0 and now >= self._refresh_at and self._ladder.working_ids():
            ready = self._engine.obstacle is None
            self._refresh_at = now + (REFRESH_S if ready else REFRESH_UNREADY_S)
            self._engine.update(now)
        self._follow_fees(now)

    def refresh_soon(self, now: float) -> None:
        """Something may have been missed: compare the open orders at the next occasion."""
        self._refresh_at = now

    def follow_session(self, now: float) -> None:
        """Before anything else: a price means nothing before the session's check."""
        engine, session = self._engine, self._session
        market = getattr(engine.parts.broker().status, "market", None)
        heard_open = bool(getattr(market, "is_open", self._heard_open))
        if heard_open != self._heard_open:
            self._heard_open, self._clock_at = heard_open, now
        if now >= self._clock_at and engine.may_ask(now):
            self._clock_at = now + CLOCK_S
            engine.submit(AskClock(), now)
        due = now >= self._check_at and engine.may_ask(now)
        if session.wants_check and not self._checking and due:
            self._checking = True
            saved = session.saved
            since = None if saved is None else saved.saved_at
            engine.submit(AskFacts(since=since), now, requests=FACTS_REQUESTS)
        self._ladder.market_open = session.is_open

    def _follow_price(self, now: float) -> None:
        engine = self._engine
        unknown = self._ladder.last_price is None
        asks = self._session.is_open and (unknown or engine.prices.is_stale(time.time()))
        wait_s = ASK_PRICE_S if unknown else engine.parts.max_price_age_s
        if asks and now >= self._asked_price_at + wait_s and engine.room(now) > 0:
            self._asked_price_at = now
            engine.submit(AskPrice(), now)

    def _follow_fees(self, now: float) -> None:
        awaited = self._ladder.book.fees_awaited()
        if awaited - self._awaited:
            self._fees.reset()
            self._fees.until = now + FEES_FIRST_S
        self._awaited = awaited
        due = self._fees.over(now) and self._engine.room(now) > 0
        if not awaited or self._asking_fees or not due:
            return
        since_ns = self._ladder.book.fees.asked_since_ns(awaited)
        if since_ns is None:
            since_ns = listed_since_ns(time.time_ns())
        self._ask_fees(AskFees(since=rfc3339(since_ns)), now)

    def _ask_fees(self, job: AskFees, now: float) -> None:
        self._asking_fees = True
        self._engine.submit(job, now)

    # -- answers

    def see_fees(self, job: AskFees, answer: Told, now: float) -> None:
        """One page of them; the others follow as there is room."""
        self._asking_fees = False
        if isinstance(answer, Charges):
            if self._ladder.book.see_fees(answer.activities):
                self._fees.reset()
            if len(answer.activities) == ACTIVITIES_PAGE and self._engine.room(now) > 0:
                token = str(answer.activities[-1]["id"])
                self._ask_fees(dataclasses.replace(job, page_token=token), now)
                return
        self._fees.grow(now)

    def see_facts(self, answer: Told, now: float) -> None:
        """What the check before a session compares."""
        self._checking = False
        if not isinstance(answer, Facts):
            self._check_at = now + CHECK_AGAIN_S
            return
        facts = self._with_price(answer)
        sure = self._short_checks >= SHORT_CHECKS
        verdict = self._session.judge(self._ladder, facts, sure=sure)
        self._short_checks = self._short_checks + 1 if verdict.short_of and not sure else 0
        if self._short_checks:
            # Less than it owns: somebody else's trade, or an own fill that was not told yet.
            self._check_at = now + SHORT_CHECK_S
            self._engine.update(now)
        elif not verdict.problems:
            self._begin_session(facts)
        elif self._ladder.mode in (Mode.TRADING, Mode.PAUSED):
            self._engine.hold("; ".join(verdict.problems))

    def _with_price(self, facts: Facts) -> Facts:
        """Where the data API is silent, the bus may know what the ticker trades at now."""
        price = self._engine.prices.newest(time.time())
        if facts.latest_price is not None or price is None:
            return facts
        return dataclasses.replace(facts, latest_price=price)

    def _begin_session(self, facts: Facts) -> None:
        log.info("scale_t.session", session=facts.session, account_qty=str(facts.account_qty))
        ladder = self._ladder
        if ladder.rungs and ladder.last_price is None and facts.latest_price:
            ladder.see_price(facts.latest_price)  # until the bus brings one
        self._engine.save(facts.account_qty)
