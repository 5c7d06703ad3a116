"""One order's way to Alpaca: answers and times in, steps out; the clock is a number."""

from __future__ import annotations

import itertools
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from main.utils.answers import Accepted, Answer, Found, Lost, Refused
from main.utils.refusals import Holds
from main.utils.submission import (
    FATES,
    Done,
    IllegalMove,
    LookUp,
    Send,
    Stage,
    Submission,
    SubmissionPolicy,
    Wait,
)

ORDER = {"id": "o-1", "client_order_id": "bot:1", "symbol": "AAPL"}
FOUND = Found(order_data=ORDER)
TIMEOUT = Lost(reason="ReadTimeout")
ABSENT = Refused(status=404, message="order not found for bot:1")
BUSY = Refused(status=429, message="rate limit exceeded")
WASH = Refused(status=403, message="wash trade", facts={"existing_order_id": "o-9"})
TAKEN = Refused(status=422, message="client_order_id must be unique")


def submission(**options: Any) -> Submission:
    return Submission("bot:1", 0.0, **options)


def sent(answer: Answer, now: float = 0.0, **options: Any) -> Submission:
    """One that was sent at 0 and answered."""
    order = submission(**options)
    assert order.step(0.0) == Send()
    order.asked(Send(), 0.0)
    assert order.step(0.0) == Wait(until=math.inf), "nothing while an answer is awaited"
    order.see_answer(answer, now)
    return order


def look(order: Submission, answer: Answer, now: float) -> None:
    order.asked(LookUp(), now)
    order.see_look_up(answer, now)


def play(order: Submission, looks: Answer, until: float) -> list[tuple[str, float]]:
    """Do what it asks for, and answer each look alike; (step, time) of what was asked."""
    now, asked = 0.0, []
    while now < until and not isinstance(step := order.step(now), Done):
        if isinstance(step, Wait):
            now = min(until, step.until)
            continue
        asked.append((type(step).__name__, now))
        order.asked(step, now)
        if isinstance(step, LookUp):
            order.see_look_up(looks, now)
        else:
            order.see_answer(looks, now)
    return asked


def test_an_order_that_alpaca_showed_is_done() -> None:
    """The usual way, in one request."""
    order = sent(FOUND)
    assert order.step(0.0) == Done(stage=Stage.SEEN)
    assert order.order_data == ORDER
    assert not order.counts, "from here on the tracker counts it"


def test_a_timeout_is_unresolved_and_counts_as_if_it_existed() -> None:
    """Neither sent again nor forgotten: looked up, after a moment."""
    order = sent(TIMEOUT, now=3.0)
    assert order.stage is Stage.UNRESOLVED
    assert order.counts
    assert order.step(3.4) == Wait(until=3.5)
    assert order.step(3.5) == LookUp()


@pytest.mark.parametrize("answer", [Lost(reason="HTTP 504"), Accepted(), TIMEOUT])
def test_an_answer_that_shows_no_order_is_no_answer(answer: Answer) -> None:
    """A gateway's 504 says nothing of the order behind it."""
    assert sent(answer).stage is Stage.UNRESOLVED


def test_a_404_is_no_proof_before_the_deadline() -> None:
    """Alpaca may still be working on it: looks at 0.5, 1.5, 3.5, 7.5, 15.5, 23.5 and 31.5 s."""
    order = sent(TIMEOUT)
    asked = play(order, ABSENT, until=100)
    assert [now for _, now in asked] == [0.5, 1.5, 3.5, 7.5, 15.5, 23.5, 31.5]
    assert order.stage is Stage.ABSENT
    assert not order.counts


def test_an_order_that_appears_at_the_third_look_is_there() -> None:
    """Two 404s before it were not the truth."""
    order = sent(TIMEOUT)
    for now, answer in ((0.5, ABSENT), (1.5, ABSENT), (3.5, FOUND)):
        assert order.step(now) == LookUp()
        look(order, answer, now)
    assert order.stage is Stage.SEEN


def test_looks_without_an_answer_prove_nothing() -> None:
    """After two minutes it is UNKNOWN, and goes on to count as risk; never assumed absent."""
    order = sent(TIMEOUT)
    play(order, TIMEOUT, until=200)
    assert order.step(200.0) == Done(stage=Stage.UNKNOWN)
    assert order.counts


def test_a_404_long_after_resolves_an_unknown_one() -> None:
    """Alpaca answers again, and does not know it: now it is sure."""
    order = sent(TIMEOUT)
    play(order, TIMEOUT, until=200)
    order.step(200.0)
    look(order, ABSENT, 3_600.0)
    assert order.stage is Stage.ABSENT


@pytest.mark.parametrize("stage", [Stage.ABSENT, Stage.UNKNOWN, Stage.REFUSED, Stage.UNRESOLVED])
def test_a_late_order_message_proves_that_it_exists_after_all(stage: Stage) -> None:
    """Whatever we concluded before."""
    order = sent(TIMEOUT)
    order.stage = stage
    order.see_order(ORDER)
    assert order.step(0.0) == Done(stage=Stage.SEEN)
    look(order, ABSENT, 100.0)
    assert order.stage is Stage.SEEN, "no later silence makes it doubtful again"


def test_an_order_message_that_overtakes_the_answer_settles_it() -> None:
    """The stream was quicker than the REST call, which then timed out."""
    order = submission()
    order.asked(Send(), 0.0)
    order.see_order(ORDER)
    order.see_answer(TIMEOUT, 3.0)
    assert order.stage is Stage.SEEN


def test_a_429_waits_as_long_as_alpaca_says_and_makes_the_others_wait_too() -> None:
    """One account, one budget."""
    holds = Holds()
    order = sent(Refused(status=429, message="rate limit", retry_after_s=20.0), holds=holds)
    other = Submission("bot:2", 0.0, holds=holds)
    assert order.step(0.0) == other.step(0.0) == Wait(until=20.0)
    assert order.step(20.0) == other.step(20.0) == Send()


def test_a_429_of_a_look_makes_the_next_look_wait() -> None:
    """A look is a request like any other."""
    order = sent(TIMEOUT)
    look(order, BUSY, 0.5)
    assert order.step(1.6) == Wait(until=2.5)


def test_a_wash_trade_is_sent_again_after_its_wait_by_the_same_id() -> None:
    """Never at once: one hot retry is one too many."""
    order = sent(WASH)
    assert order.stage is Stage.WAITING
    assert order.step(0.0) == Wait(until=5.0)
    assert play(order, WASH, until=300) == [("Send", 5.0), ("Send", 15.0), ("Send", 35.0)]
    assert order.stage is Stage.REFUSED, "the next wait would outlast its patience"
    assert order.refused == WASH


def test_the_end_of_the_blocking_order_ends_the_wait() -> None:
    """Whoever hears of it says so."""
    order = sent(WASH)
    order.see_unblocked()
    assert order.step(1.0) == Send()


def test_what_never_left_is_sent_again_after_a_wait() -> None:
    """A refused connection is no doubt: there was nobody to take the order."""
    order = sent(Lost(reason="ConnectionError", sent=False))
    assert order.step(0.0) == Wait(until=1.0)
    assert not order.counts


def test_a_stop_is_the_end() -> None:
    """No buying power: the same order will not fare better."""
    order = sent(Refused(status=403, message="insufficient buying power"))
    assert order.step(0.0) == Done(stage=Stage.REFUSED)
    assert order.rule is not None
    assert order.rule.cause == "buying_power"


def test_the_same_id_may_be_sent_again_after_a_stop() -> None:
    """Somebody asks for it anew: there may be more buying power now. Nothing is kept of it."""
    holds = Holds()
    poor = Refused(status=403, message="insufficient buying power")
    for now in (0.0, 1.0):
        order = Submission("bot:1", now, holds=holds)
        assert order.step(now) == Send()
        order.asked(Send(), now)
        order.see_answer(poor, now)
        assert order.step(now) == Done(stage=Stage.REFUSED)
    assert holds._held == {}


@pytest.mark.parametrize("answer", [WASH, BUSY])
def test_an_order_that_waits_for_longer_than_its_patience_says_why(answer: Refused) -> None:
    """It is not sent at all: what an earlier one was told is the reason of this one, too."""
    holds, policy = Holds(), SubmissionPolicy(patience_s=1)
    assert sent(answer, holds=holds, policy=policy).step(0.0) == Done(stage=Stage.REFUSED)
    again = Submission("bot:1", 0.0, policy, holds)
    assert again.step(0.0) == Done(stage=Stage.REFUSED)
    assert (again.sent_count, again.refused) == (0, answer)


def test_what_never_left_is_why_the_next_does_not_leave() -> None:
    """Nobody listened; the next one is told so."""
    holds, policy = Holds(), SubmissionPolicy(patience_s=0.5)
    sent(Lost(reason="refused", sent=False), holds=holds, policy=policy).step(0.0)
    again = Submission("bot:1", 0.0, policy, holds)
    assert again.step(0.0) == Done(stage=Stage.REFUSED)
    assert again.lost == "refused"


def test_a_duplicate_id_that_is_our_own_order_is_found() -> None:
    """An earlier run sent it, and died before the answer came."""
    order = sent(TAKEN)
    assert order.step(0.0) == LookUp(), "at once: Alpaca says that it exists"
    look(order, FOUND, 0.0)
    assert order.stage is Stage.SEEN


def test_a_duplicate_id_of_another_order_is_a_refusal() -> None:
    """The id was used for something else: that order must not pass for ours."""
    order = sent(TAKEN, fits=lambda _: False)
    look(order, FOUND, 0.0)
    assert order.stage is Stage.REFUSED
    assert order.order_data is None


def test_a_duplicate_id_that_nobody_finds_is_a_refusal_in_the_end() -> None:
    """A contradiction; what is sure is that Alpaca did not take it."""
    order = sent(TAKEN)
    play(order, ABSENT, until=100)
    assert order.stage is Stage.REFUSED


def test_an_illegal_move_raises_and_changes_nothing() -> None:
    """Sent twice without an answer: a fault of ours."""
    order = submission()
    order.asked(Send(), 0.0)
    with pytest.raises(IllegalMove, match="bot:1: SENDING cannot become SENDING"):
        order.asked(Send(), 0.0)
    assert order.stage is Stage.SENDING


ANSWERS = st.sampled_from(
    [FOUND, TIMEOUT, ABSENT, BUSY, WASH, TAKEN, Lost(reason="no route", sent=False), Accepted()]
)


@settings(deadline=None)
@given(st.lists(ANSWERS, max_size=60), st.booleans())
def test_whatever_alpaca_answers_there_is_a_fate_and_never_a_hot_retry(
    answers: list[Answer], tells_truth: bool
) -> None:
    """Its fate is known in bounded time, no two sends are closer than a second, and an order is
    never sent while one of the same id may exist."""
    order, now, sends = submission(policy=SubmissionPolicy()), 0.0, list[float]()
    script = iter(answers)
    for _ in range(500):
        step = order.step(now)
        if isinstance(step, Done):
            break
        if isinstance(step, Wait):
            now = step.until
            continue
        assert not (isinstance(step, Send) and order.counts)
        order.asked(step, now)
        answer = next(script, ABSENT if tells_truth else TIMEOUT)
        if isinstance(step, Send):
            sends.append(now)
            order.see_answer(answer, now)
        else:
            order.see_look_up(answer, now)
    assert order.stage in FATES
    assert all(after - before >= 1.0 for before, after in itertools.pairwise(sends))
    assert now <= 300
