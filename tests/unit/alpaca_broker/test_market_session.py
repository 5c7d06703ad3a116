"""The market-data conversation, as bytes and control messages."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from main.alpaca_broker.market_session import (
    MAX_SYMBOLS_PER_REQUEST,
    Acknowledged,
    Broken,
    ChangeRejected,
    MarketSession,
    Outcome,
    Phase,
    Refused,
    SignedIn,
    SlotTaken,
)

TRADES = frozenset({"trades"})
CONNECTED = {"T": "success", "msg": "connected"}
AUTHENTICATED = {"T": "success", "msg": "authenticated"}


def sent(session: MarketSession) -> list[dict[str, Any]]:
    """What it has to say, as its owner would send it."""
    outbox, session.outbox = session.outbox, []
    return [msgspec.msgpack.decode(message) for message in outbox]


def signed_in() -> MarketSession:
    session = MarketSession("key", "secret")
    session.receive(CONNECTED)
    session.receive(AUTHENTICATED)
    sent(session)
    return session


def subscribe(session: MarketSession, *symbols: str, tag: object = None) -> int:
    return session.request("subscribe", dict.fromkeys(symbols, TRADES), tag)


def acknowledge(session: MarketSession, *symbols: str, **channels: list[str]) -> list[Outcome]:
    return session.receive({"T": "subscription", "trades": list(symbols), **channels})


def error(code: int, message: str = "") -> dict[str, Any]:
    return {"T": "error", "code": code, "msg": message}


class Alpaca:
    """The other side: refuses a whole request over the limit or with a symbol it dislikes."""

    def __init__(self, limit: int = 0, malformed: frozenset[str] = frozenset()) -> None:
        self.limit, self.malformed = limit, malformed
        self.followed: dict[str, list[str]] = {}
        self.requests: list[dict[str, Any]] = []

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        self.requests.append(request)
        asked = request.get("trades", [])
        if self.malformed & set(asked):
            return error(400, "invalid syntax")
        followed = self.followed.setdefault("trades", [])
        if request["action"] == "unsubscribe":
            self.followed["trades"] = [s for s in followed if s not in asked]
        elif self.limit and len({*followed, *asked}) > self.limit:
            return error(405, "symbol limit exceeded")
        else:
            followed += [s for s in asked if s not in followed]
        return {"T": "subscription", "trades": list(self.followed["trades"])}


def converse(session: MarketSession, alpaca: Alpaca) -> list[Outcome]:
    outcomes: list[Outcome] = []
    while requests := sent(session):
        assert len(requests) == 1, "one request in flight at a time"
        outcomes += session.receive(alpaca.answer(requests[0]))
    return outcomes


# -- sign-in


def test_it_signs_in_when_greeted_and_not_before() -> None:
    session = MarketSession("the-key", "the-secret")
    assert sent(session) == []
    session.receive(CONNECTED)
    assert sent(session) == [{"action": "auth", "key": "the-key", "secret": "the-secret"}]
    assert session.receive(AUTHENTICATED) == [SignedIn()]
    assert session.phase is Phase.READY


def test_the_secret_never_shows_in_its_repr() -> None:
    assert "the-secret" not in repr(MarketSession("the-key", "the-secret"))


def test_406_leaves_it_signing_in_so_that_it_may_ask_again_on_the_same_socket() -> None:
    session = MarketSession("key", "secret")
    session.receive(CONNECTED)
    sent(session)
    assert session.receive(error(406, "connection limit exceeded")) == [SlotTaken()]
    assert session.phase is Phase.SIGNING_IN
    assert sent(session) == [], "its owner waits before it asks again"
    session.sign_in()
    assert [message["action"] for message in sent(session)] == ["auth"]
    assert session.receive(AUTHENTICATED) == [SignedIn()]


def test_406_after_the_sign_in_breaks_the_conversation() -> None:
    """In READY nobody would ever sign in again."""
    assert signed_in().receive(error(406, "limit")) == [Broken(code=406, message="limit")]


@pytest.mark.parametrize("code", [401, 402, 409, 411, 412])
def test_an_error_that_never_heals_refuses(code: int) -> None:
    session = MarketSession("key", "secret")
    session.receive(CONNECTED)
    assert session.receive(error(code, "no")) == [Refused(code=code, message="no")]
    assert session.phase is Phase.REFUSED


@pytest.mark.parametrize("code", [404, 407, 500, 999])
def test_an_error_that_may_heal_breaks_the_conversation(code: int) -> None:
    session = signed_in()
    assert session.receive(error(code, "later")) == [Broken(code=code, message="later")]


def test_already_authenticated_is_harmless() -> None:
    session = signed_in()
    assert session.receive(error(403)) == []
    assert session.phase is Phase.READY


@pytest.mark.parametrize("control", [{"T": "error"}, {"T": "error", "code": "405", "msg": None}])
def test_an_error_without_a_readable_code_breaks_the_conversation(control) -> None:
    assert isinstance(signed_in().receive(control)[0], Broken)


@pytest.mark.parametrize("code", [400, 405, 410, 413])
def test_a_rejection_with_nothing_in_flight_means_that_we_are_out_of_step(code: int) -> None:
    assert isinstance(signed_in().receive(error(code))[0], Broken)


# -- subscribing


def test_a_change_before_the_sign_in_waits_for_it() -> None:
    session = MarketSession("key", "secret")
    assert subscribe(session, "AAPL") == 1
    assert sent(session) == []
    assert not session.settled
    session.receive(CONNECTED)
    sent(session)
    session.receive(AUTHENTICATED)
    assert sent(session) == [{"action": "subscribe", "trades": ["AAPL"]}]


def test_the_next_request_waits_for_the_answer_to_the_last() -> None:
    session = signed_in()
    subscribe(session, "AAPL")
    session.request("unsubscribe", {"MSFT": TRADES})
    assert [m["action"] for m in sent(session)] == ["subscribe"]
    acknowledge(session, "AAPL", "MSFT")
    assert [m["action"] for m in sent(session)] == ["unsubscribe"]
    assert not session.settled
    acknowledge(session, "AAPL")
    assert session.settled


def test_symbols_with_the_same_channels_share_a_request() -> None:
    session = signed_in()
    both = frozenset({"trades", "quotes"})
    session.request("subscribe", {"A": TRADES, "B": both, "C": TRADES, "D": frozenset()})
    assert sent(session) == [{"action": "subscribe", "trades": ["A", "C"]}]
    acknowledge(session, "A", "C")
    assert sent(session) == [{"action": "subscribe", "quotes": ["B"], "trades": ["B"]}]


def test_a_large_change_goes_in_chunks_of_100_in_its_order() -> None:
    session, alpaca = signed_in(), Alpaca()
    symbols = [f"S{number}" for number in range(250)]
    assert subscribe(session, *symbols) == 250
    converse(session, alpaca)
    assert [len(r["trades"]) for r in alpaca.requests] == [100, 100, 50]
    assert alpaca.followed["trades"] == symbols
    assert MAX_SYMBOLS_PER_REQUEST == 100


def test_symbols_that_the_acknowledgement_lacks_are_told() -> None:
    session = signed_in()
    subscribe(session, "AAPL", "MSFT", tag="who")
    (outcome,) = acknowledge(session, "AAPL")
    assert isinstance(outcome, Acknowledged)
    assert (outcome.missing, outcome.change.tag) == (frozenset({"MSFT"}), "who")


def test_a_symbol_is_missing_when_any_wanted_channel_lacks_it() -> None:
    session = signed_in()
    session.request("subscribe", {"AAPL": frozenset({"trades", "quotes"})})
    (outcome,) = acknowledge(session, "AAPL", quotes=[])
    assert isinstance(outcome, Acknowledged)
    assert outcome.missing == {"AAPL"}


def test_a_feed_without_statuses_is_followed_all_the_same() -> None:
    """The test stream acknowledges trades, quotes and bars only."""
    session = signed_in()
    session.request("subscribe", {"FAKEPACA": frozenset({"trades", "statuses"})})
    (outcome,) = acknowledge(session, "FAKEPACA")
    assert isinstance(outcome, Acknowledged)
    assert outcome.missing == frozenset()


def test_nothing_is_missing_from_an_unsubscribe() -> None:
    session = signed_in()
    session.request("unsubscribe", {"AAPL": TRADES})
    (outcome,) = acknowledge(session)
    assert isinstance(outcome, Acknowledged)
    assert outcome.missing == frozenset()


def test_an_acknowledgement_that_nobody_asked_for_changes_no_request() -> None:
    session = signed_in()
    assert acknowledge(session, "AAPL") == []
    assert session.acknowledged["trades"] == {"AAPL"}


# -- halving


def test_the_one_bad_symbol_is_found_and_the_others_are_followed() -> None:
    symbols = [f"S{number}" for number in range(100)]
    session, alpaca = signed_in(), Alpaca(malformed=frozenset({"S37"}))
    subscribe(session, *symbols, tag="who")
    outcomes = converse(session, alpaca)
    rejected = [o for o in outcomes if isinstance(o, ChangeRejected)]
    assert [(o.change.symbols, o.code, o.change.tag) for o in rejected] == [(("S37",), 400, "who")]
    assert sorted(alpaca.followed["trades"]) == sorted(set(symbols) - {"S37"})
    assert session.settled
    assert len(alpaca.requests) <= 2 * 7 + 2, "halved, not asked one by one"


def test_the_symbol_limit_admits_the_first_and_rejects_the_rest() -> None:
    symbols = [f"S{number}" for number in range(50)]
    session, alpaca = signed_in(), Alpaca(limit=30)
    subscribe(session, *symbols)
    outcomes = converse(session, alpaca)
    assert alpaca.followed["trades"] == symbols[:30]
    rejected = [o.change.symbols[0] for o in outcomes if isinstance(o, ChangeRejected)]
    assert rejected == symbols[30:]


@given(
    st.lists(st.integers(0, 60), min_size=1, max_size=60, unique=True),
    st.sets(st.integers(0, 60), max_size=8),
    st.integers(0, 40),
)
def test_every_symbol_gets_exactly_one_answer(asked, malformed, limit) -> None:
    """Whatever Alpaca dislikes: followed or rejected, and in the order in which they were asked."""
    symbols = [f"S{number}" for number in asked]
    bad = frozenset(f"S{number}" for number in malformed)
    session, alpaca = signed_in(), Alpaca(limit=limit, malformed=bad)
    subscribe(session, *symbols)
    done: list[str] = []
    for outcome in converse(session, alpaca):
        assert isinstance(outcome, Acknowledged | ChangeRejected)
        done += outcome.change.symbols
    assert done == symbols
    good = [s for s in symbols if s not in bad]
    assert alpaca.followed.get("trades", []) == (good[:limit] if limit else good)


@given(
    st.dictionaries(
        st.sampled_from(["T", "msg", "code", "trades"]),
        st.one_of(st.none(), st.integers(), st.text(max_size=4), st.lists(st.text(max_size=2))),
    ).map(lambda fields: {"T": "subscription"} | fields)
)
def test_no_control_message_makes_it_raise(control) -> None:
    session = signed_in()
    subscribe(session, "AAPL")
    session.receive(control)
