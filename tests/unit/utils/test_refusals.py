"""What each of Alpaca's refusals means; the bodies are those of its protocol page, section 3."""

from __future__ import annotations

import math
from typing import Any

import pytest

from main.utils.answers import Refused
from main.utils.refusals import (
    HELD_FOR_ORDERS,
    PRICE_AWAY,
    RATE_LIMITED,
    WASH_TRADE,
    Holds,
    Remedy,
    blocking_orders,
    rule_for,
)

LACKING = "insufficient qty available for order (requested: 10, available: 0)"


def refused(status: int, message: str, **facts: Any) -> Refused:
    return Refused(status=status, message=message, facts=facts)


@pytest.mark.parametrize(
    ("refusal", "cause", "remedy"),
    [
        (refused(429, "rate limit exceeded"), "rate_limited", Remedy.SEND_AGAIN),
        (
            refused(403, "potential wash trade detected. use complex orders"),
            "wash_trade",
            Remedy.SEND_AGAIN,
        ),
        (refused(403, "Other words", existing_order_id="o-1"), "wash_trade", Remedy.SEND_AGAIN),
        (refused(403, LACKING, held_for_orders="10"), "held_for_orders", Remedy.SEND_AGAIN),
        (refused(403, LACKING, held_for_orders="0"), "insufficient_qty", Remedy.STOP),
        (refused(403, LACKING, held_for_orders="junk"), "insufficient_qty", Remedy.STOP),
        (refused(422, "limit price is too far from the NBBO"), "price_away", Remedy.SEND_AGAIN),
        (refused(403, "Price Band violation"), "price_away", Remedy.SEND_AGAIN),
        (
            refused(422, "invalid limit_price 290.123. sub-penny increment does not fulfill …"),
            "price_increment",
            Remedy.STOP,
        ),
        (
            refused(422, "unable to replace order, order isn't sent to exchange yet"),
            "not_sent_to_exchange_yet",
            Remedy.SEND_AGAIN,
        ),
        (refused(422, "unable to replace order, order is not open"), "not_open", Remedy.STOP),
        (refused(422, 'order is already in "filled" state'), "not_open", Remedy.STOP),
        (
            refused(422, "client_order_id must be unique"),
            "duplicate_client_order_id",
            Remedy.LOOK_UP,
        ),
        (refused(403, "insufficient buying power"), "buying_power", Remedy.STOP),
        (refused(401, "unauthorized."), "keys_refused", Remedy.STOP_ALL),
        (refused(403, "words of tomorrow"), "forbidden", Remedy.STOP),
        (refused(418, "a teapot"), "refused", Remedy.STOP),
    ],
)
def test_every_refusal_has_its_row(refusal: Refused, cause: str, remedy: Remedy) -> None:
    """A defined wait or a stop; what nobody has seen before is a stop."""
    rule = rule_for(refusal)
    assert (rule.cause, rule.remedy) == (cause, remedy)


def test_the_orders_in_the_way_are_named() -> None:
    """So that a wait can end when they do."""
    assert blocking_orders(refused(403, "wash trade", existing_order_id="a")) == ("a",)
    assert blocking_orders(refused(403, LACKING, related_orders=["b", 7, "c"])) == ("b", "c")
    assert blocking_orders(refused(403, LACKING, related_orders="b")) == ()


def waits_until_stop(rule: Any) -> list[float]:
    holds, now, waits = Holds(), 0.0, []
    while (wait_s := holds.refuse("key", rule, now)) != math.inf:
        waits.append(wait_s)
        now += wait_s
        assert len(waits) < 100
    return waits


@pytest.mark.parametrize(
    ("rule", "waits"),
    [
        (WASH_TRADE, [5, 10, 20, 40, 60]),
        (HELD_FOR_ORDERS, [1, 2, 4, 8, 16, 30, 30, 30]),
        (PRICE_AWAY, [30, 60, 120]),
    ],
)
def test_each_wait_grows_and_ends_in_a_stop(rule: Any, waits: list[float]) -> None:
    """Never a hot retry, and never for ever."""
    assert waits_until_stop(rule) == waits


def test_a_stopped_key_stays_stopped_until_it_is_cleared() -> None:
    """And tells which rule stopped it; other keys go on."""
    holds = Holds()
    holds.refuse("a", rule_for(refused(403, "insufficient buying power")), 0.0)
    assert not holds.open("a", 1e9)
    assert holds.open("b", 0.0)
    stopped = holds.stopped("a")
    assert stopped is not None
    assert stopped.cause == "buying_power"
    holds.clear("a")
    assert holds.open("a", 0.0)


def test_a_rate_limit_holds_the_whole_account_until_alpaca_says() -> None:
    """The budget is the account's, so no other order is sent either."""
    holds = Holds()
    assert holds.refuse("a", RATE_LIMITED, 0.0, told_s=17.0) == 17.0
    assert not holds.open("b", 16.9)
    assert holds.open("b", 17.0)
    assert holds.refuse("a", RATE_LIMITED, 17.0) == 4.0, "where Alpaca tells none, it grows"


def test_a_key_that_was_quiet_for_long_begins_anew() -> None:
    """Three refusals of last week do not stop the order of today."""
    holds = Holds()
    for now in (0.0, 30.0, 90.0):
        holds.refuse("a", PRICE_AWAY, now)
    assert holds.refuse("a", PRICE_AWAY, 90.0 + 120.0 + 601.0) == 30.0


def test_keys_whose_wait_is_long_over_are_forgotten() -> None:
    """One of a program's many orders is refused now and then; it runs for months."""
    holds = Holds()
    for number in range(1_000):
        holds.refuse(f"bot:{number}", WASH_TRADE, 100.0 * number)
    assert len(holds._held) == 1
