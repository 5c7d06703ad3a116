"""Sends an order and stays with it until its fate is known: the shell around `Submission`.

It blocks the thread that calls: as long as Alpaca needs in the usual case (one request), and as
long as the policy says where an answer is lost or a refusal is waited out. `close` ends every wait.
"""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable
from typing import Final, TypeVar

import structlog

from .answers import Answer, Lost, Refused
from .order_calls import CallFailed, OrderCalls
from .order_terms import OrderTerms, ReplaceTerms, check_client_order_id
from .refusals import UNANSWERED, Holds, rule_for
from .submission import Done, LookUp, Send, Stage, Submission, SubmissionPolicy, Wait
from .waits import RequestBudget

log: Final = structlog.get_logger("tickerbus.orders")
T = TypeVar("T")
_ROOM_STEP_S: Final = 0.05
_TOLD: Final = {Stage.WAITING: "order.waits_to_be_sent_again", Stage.UNRESOLVED: "order.unresolved"}


class Submitter:
    """One account's orders, one request at a time. Any thread may call; nobody waits for a wait.

    `budget` holds requests back beyond its number a minute; the account's 200 are shared.
    """

    def __init__(
        self,
        calls: OrderCalls,
        policy: SubmissionPolicy | None = None,
        budget: RequestBudget | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.calls = calls
        self.policy = policy or SubmissionPolicy()
        self.holds = Holds()
        self._budget, self._clock = budget, clock
        self._lock = threading.Lock()
        self._closing = threading.Event()

    def close(self) -> None:
        """End every wait; what is unresolved then stays so, and its caller is told."""
        self._closing.set()

    def submit(self, terms: OrderTerms, client_order_id: str) -> Submission:
        """Send a new order. The outcome is its `stage`; UNRESOLVED only when closed meanwhile.

        Raises:
            InvalidTerms: the id; nothing was sent.
        """
        check_client_order_id(client_order_id)
        submission = self._begin(client_order_id, terms)
        return self._drive(submission, lambda: self.calls.submit(terms, client_order_id))

    def replace(self, order_id: str, terms: ReplaceTerms, client_order_id: str) -> Submission:
        """Ask for a replacement, which is a new order of that id. The old one may fill first.

        Raises:
            InvalidTerms: the id; nothing was sent.
        """
        check_client_order_id(client_order_id)
        submission = self._begin(client_order_id, None, replaces=order_id)
        return self._drive(submission, lambda: self.calls.replace(order_id, terms, client_order_id))

    def resolve(self, submission: Submission) -> Submission:
        """Go on with one whose fate is not known, from where it was left. Sends nothing."""
        if submission.stage is Stage.UNKNOWN:
            with self._lock:
                answer = self._ask(lambda: self.calls.look_up(submission.client_order_id))
                submission.see_look_up(answer, self._clock())
            return submission
        return self._drive(submission, None)

    def cancel(self, order_id: str) -> Answer:
        """Ask the venue to cancel; a lost answer is asked again, for to cancel twice is harmless.
        No budget holds a cancel back.

        The answer is `Accepted`, `Refused` (it ended already, most often), or still `Lost`.
        """
        return self._persist(order_id, lambda: self.calls.cancel(order_id), held_back=False)

    def ask(self, question: Callable[[OrderCalls], T]) -> T:
        """A question that needs its answer, in its turn. The account's limit is waited out, as long
        as the policy has patience.

        Raises:
            CallFailed: no answer.
        """
        deadline = self._clock() + self.policy.patience_s
        while True:
            self._wait_for_budget()
            self._wait_for_limit(deadline)
            with self._lock:
                self._spend()
                try:
                    return question(self.calls)
                except CallFailed as error:
                    if not self._may_ask_again(error, deadline):
                        raise

    def see_limit(self, retry_after_s: float | None) -> None:
        """Somebody else of this account's was refused by its limit (429): nothing goes out here
        either before that is over. Any thread."""
        with self._lock:
            self.holds.pause(self._clock(), retry_after_s)

    @property
    def is_limited(self) -> bool:
        """Whether Alpaca's limit was reached (429), and its wait is not over."""
        return not self.holds.account.over(self._clock())

    def get(self, order_id: str) -> Answer:
        """Alpaca's truth about an order, asked again while the answer is lost."""
        return self._persist(order_id, lambda: self.calls.get(order_id))

    # -- private

    def _begin(
        self, client_order_id: str, terms: OrderTerms | None, replaces: str = ""
    ) -> Submission:
        def fits(order_data: object) -> bool:
            assert isinstance(order_data, dict)
            if terms is not None:
                return terms.fit(order_data)
            return str(order_data.get("replaces") or replaces) == replaces

        return Submission(client_order_id, self._clock(), self.policy, self.holds, fits)

    def _drive(self, submission: Submission, send: Callable[[], Answer] | None) -> Submission:
        while not self._closing.is_set():
            with self._lock:  # never while waiting: one order's wait must not hold up a cancel
                step = submission.step(self._clock())
                if isinstance(step, Done) or (isinstance(step, Send) and send is None):
                    break
                if isinstance(step, Wait):
                    until = step.until
                elif self._has_room():
                    self._do(submission, step, send)
                    continue
                else:
                    until = self._clock() + _ROOM_STEP_S
            self._pause_until(until)
        return submission

    def _do(
        self, submission: Submission, step: Send | LookUp, send: Callable[[], Answer] | None
    ) -> None:
        submission.asked(step, self._clock())
        if isinstance(step, Send):
            assert send is not None
            answer = self._ask(send)
            submission.see_answer(answer, self._clock())
        else:
            answer = self._ask(lambda: self.calls.look_up(submission.client_order_id))
            submission.see_look_up(answer, self._clock())
        if submission.stage in _TOLD:
            log.warning(
                _TOLD[submission.stage],
                order=submission.client_order_id,
                reason=getattr(answer, "reason", type(answer).__name__),
            )

    def _persist(self, key: str, call: Callable[[], Answer], *, held_back: bool = True) -> Answer:
        """Ask until there is an answer, or the policy's patience is over."""
        deadline = self._clock() + self.policy.patience_s
        while True:
            if held_back:
                self._wait_for_budget()
                self._wait_for_limit(deadline)
            with self._lock:
                answer, now = self._ask(call), self._clock()
                until = self._again_at(key, answer, now)
                if until > deadline or self._closing.is_set():
                    self.holds.clear(key)
                    return answer
            self._pause_until(until)

    def _again_at(self, key: str, answer: Answer, now: float) -> float:
        match answer:
            case Refused():
                rule, told_s = rule_for(answer), answer.retry_after_s
            case Lost():
                rule, told_s = UNANSWERED, None
            case _:
                return math.inf
        return now + self.holds.refuse(key, rule, now, told_s)

    def _ask(self, call: Callable[[], Answer]) -> Answer:
        self._spend()
        return call()

    def _spend(self) -> None:
        if self._budget is not None:
            self._budget.spend(self._clock())

    def _wait_for_budget(self) -> None:
        while not self._has_room():
            if self._closing.wait(_ROOM_STEP_S):
                return

    def _wait_for_limit(self, deadline: float) -> None:
        while self.is_limited and self._clock() < deadline and not self._closing.is_set():
            self._pause_until(min(self.holds.account.until, deadline))

    def _may_ask_again(self, error: CallFailed, deadline: float) -> bool:
        if not error.rate_limited:
            return False
        now = self._clock()
        until = now + self.holds.pause(now, error.retry_after_s)
        return until <= deadline and not self._closing.is_set()

    def _has_room(self) -> bool:
        return self._budget is None or self._budget.room(self._clock()) > 0

    def _pause_until(self, until: float) -> None:
        self._closing.wait(max(0.0, min(until - self._clock(), 3_600.0)))
