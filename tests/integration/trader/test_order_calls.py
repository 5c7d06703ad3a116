"""OrderCalls and Submitter over alpaca-py, against the local Alpaca and roads that fail."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from decimal import Decimal

import pytest
from alpaca.trading.client import TradingClient

from main.alpaca_sim import LocalAlpaca
from main.utils import order_calls
from main.utils.answers import Accepted, Found, Lost, Refused
from main.utils.order_calls import CallFailed, OrderCalls
from main.utils.order_terms import OrderTerms, ReplaceTerms
from main.utils.refusals import rule_for
from main.utils.submission import Stage, SubmissionPolicy
from main.utils.submitter import Submitter
from tests.integration.trader.road import Road

pytestmark = pytest.mark.integration

BUY = OrderTerms(
    symbol="AAPL", side="buy", qty=Decimal(10), type="limit", limit_price=Decimal("99.95")
)
QUICK = SubmissionPolicy(
    look_up_first_s=0.05, look_up_cap_s=0.2, absent_after_s=0.5, give_up_after_s=1.5, patience_s=2
)


@pytest.fixture
def calls(client: TradingClient) -> Iterator[OrderCalls]:
    calls = OrderCalls(client, timeout_s=0.5)
    yield calls
    calls.close()


@pytest.fixture
def submitter(calls: OrderCalls) -> Submitter:
    return Submitter(calls, QUICK)


def test_the_callers_client_stays_as_it_is(client: TradingClient, calls: OrderCalls) -> None:
    """Ours is a copy: raw answers, no sleeping repeats, a timeout."""
    assert isinstance(calls.submit(BUY, "bot:1"), Found)
    assert client._use_raw_data is False
    assert client._retry == 3
    assert client.get_order_by_client_id("bot:1").client_order_id == "bot:1"


def test_what_alpaca_says_comes_as_a_value(calls: OrderCalls) -> None:
    """Found, accepted, refused with its row; ids that are none are not even asked."""
    placed = calls.submit(BUY, "bot:1")
    assert isinstance(placed, Found)
    assert placed.order_data["limit_price"] == "99.95"
    order_id = placed.order_data["id"]
    assert isinstance(calls.look_up("bot:1"), Found)
    again = calls.submit(BUY, "bot:1")
    assert isinstance(again, Refused)
    assert rule_for(again).cause == "duplicate_client_order_id"
    wash = calls.submit(OrderTerms(symbol="AAPL", side="sell", qty=Decimal(1)), "bot:2")
    assert isinstance(wash, Refused)
    assert rule_for(wash).cause == "wash_trade"
    assert wash.facts["existing_order_id"] == order_id
    assert calls.cancel(order_id) == Accepted()
    missing = calls.look_up("bot:none")
    assert isinstance(missing, Refused)
    assert missing.status == 404
    assert calls.get("no-uuid") == Refused(status=404, message="order not found for no-uuid")


def test_shares_that_other_orders_hold_are_told_from_shares_not_owned(
    alpaca: LocalAlpaca, calls: OrderCalls
) -> None:
    """The first is a wait, the second a stop."""
    assert isinstance(
        calls.submit(OrderTerms(symbol="AAPL", side="buy", qty=Decimal(10)), "b:1"), Found
    )
    deadline = time.monotonic() + 5
    while calls.position("AAPL") is None:
        assert time.monotonic() < deadline
    offer = OrderTerms(
        symbol="AAPL", side="sell", qty=Decimal(10), type="limit", limit_price=Decimal(110)
    )
    assert isinstance(calls.submit(offer, "b:2"), Found)
    held = calls.submit(offer, "b:3")
    assert isinstance(held, Refused)
    assert rule_for(held).cause == "held_for_orders"


def test_a_rate_limit_says_until_when(road: Road, calls: OrderCalls) -> None:
    """And alpaca-py's own repeats are off: one request, one answer."""
    road.answers = [(429, b'{"code": 42910000, "message": "rate limit exceeded"}')]
    answer = calls.submit(BUY, "bot:1")
    assert isinstance(answer, Refused)
    assert (answer.status, answer.code) == (429, 42910000)
    assert road.counts == {"answered": 1}


def test_a_long_history_is_read_on_after_a_rate_limit(
    alpaca: LocalAlpaca, road: Road, calls: OrderCalls, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From the page where it was refused; who lists what is open is told of it instead."""
    monkeypatch.setattr(order_calls, "PAGE", 2)
    for number in range(5):
        assert isinstance(calls.submit(BUY, f"bot:{number}"), Found)
    pauses: list[float] = []
    busy = (429, b'{"code": 42910000, "message": "rate limit exceeded"}')

    def pause(wait_s: float) -> None:
        pauses.append(wait_s)
        road.look_answers.clear()

    road.look_answers = [None, busy]
    found = calls.all_orders("AAPL", pause=pause)
    assert len(found) == 5
    assert pauses == [2.0]
    assert len(calls.open_orders()) == 5
    road.look_answers = [None, busy]
    with pytest.raises(CallFailed) as refused:
        calls.open_orders("AAPL")
    assert refused.value.rate_limited


def test_nobody_there_was_surely_not_sent() -> None:
    """Unlike a timeout, which may hide an order."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        calls = OrderCalls.connect(url, "local", "local-secret", timeout_s=0.3)
        answer = calls.submit(BUY, "bot:1")
        assert isinstance(answer, Lost)
        assert not answer.sent
        with pytest.raises(CallFailed, match="the account"):
            calls.account()
        calls.close()


def test_a_lost_answer_is_found_by_looking(
    road: Road, calls: OrderCalls, submitter: Submitter
) -> None:
    """The order arrived; only its answer did not. Sent once, found, and not doubled."""
    road.lose_answers = 1
    submission = submitter.submit(BUY, "bot:1")
    assert submission.stage is Stage.SEEN
    assert submission.sent_count == 1
    assert [order["client_order_id"] for order in calls.all_orders("AAPL")] == ["bot:1"]


def test_a_lost_request_is_absent_only_after_the_deadline(road: Road, submitter: Submitter) -> None:
    """Several looks, then the conclusion."""
    road.lose_requests = 1
    began = time.monotonic()
    submission = submitter.submit(BUY, "bot:1")
    assert submission.stage is Stage.ABSENT
    assert time.monotonic() - began >= QUICK.absent_after_s
    assert road.counts["GET"] >= 3


def test_a_request_that_arrives_after_it_was_given_up_is_still_one_order(
    road: Road, calls: OrderCalls, submitter: Submitter
) -> None:
    """Sent again by the same id, so that at most one of the two is taken."""
    road.delay = 1
    assert submitter.submit(BUY, "bot:1").stage is Stage.ABSENT
    road.arrive()
    again = submitter.submit(BUY, "bot:1")
    assert again.stage is Stage.SEEN, "the duplicate was looked up, and is ours"
    assert len(calls.all_orders("AAPL")) == 1


def test_an_id_that_names_another_order_is_refused(calls: OrderCalls, submitter: Submitter) -> None:
    """What was sold must not pass for what we wanted to buy."""
    calls.submit(OrderTerms(symbol="MSFT", side="buy", qty=Decimal(3)), "bot:1")
    submission = submitter.submit(BUY, "bot:1")
    assert submission.stage is Stage.REFUSED
    assert submission.refused is not None
    assert submission.refused.status == 422


def test_an_order_whose_look_ups_are_lost_stays_unknown_and_can_be_resolved(
    road: Road, submitter: Submitter
) -> None:
    """Nothing is assumed; when the road is there again, one look tells."""
    road.lose_answers, road.lose_looks = 1, 1_000
    submission = submitter.submit(BUY, "bot:1")
    assert submission.stage is Stage.UNKNOWN
    assert submission.counts
    road.lose_looks = 0
    assert submitter.resolve(submission).stage is Stage.SEEN


def test_a_wash_trade_is_sent_again_only_after_its_wait(road: Road, submitter: Submitter) -> None:
    """Its first wait is longer than this patience, so there is no second request at all."""
    body = json.dumps({"code": 40310000, "message": "potential wash trade detected"}).encode()
    road.answers = [(403, body)] * 3
    submission = submitter.submit(BUY, "bot:1")
    assert submission.stage is Stage.REFUSED
    assert road.counts == {"answered": 1}


def test_a_replacement_whose_answer_is_lost_is_found_by_its_new_id(
    road: Road, calls: OrderCalls, submitter: Submitter
) -> None:
    """A PATCH makes a new order, so a lost answer is as unresolved as that of a POST."""
    placed = submitter.submit(BUY, "bot:1").order_data
    assert placed is not None
    deadline = time.monotonic() + 5
    while (found := calls.get(placed["id"])) and found.order_data["status"] != "new":  # type: ignore[union-attr]
        assert time.monotonic() < deadline
    road.lose_answers = 1
    submission = submitter.replace(placed["id"], ReplaceTerms(limit_price=Decimal(98)), "bot:2")
    assert submission.stage is Stage.SEEN
    assert submission.order_data is not None
    assert submission.order_data["replaces"] == placed["id"]


def test_closing_ends_a_wait_at_once(road: Road, calls: OrderCalls) -> None:
    """A program that ends must not sit out a minute."""
    patient = Submitter(calls, SubmissionPolicy(look_up_first_s=30))
    road.lose_requests = 1
    patient.close()
    began = time.monotonic()
    assert patient.submit(BUY, "bot:1").stage is Stage.READY
    assert time.monotonic() - began < 1
