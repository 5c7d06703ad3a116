"""What comes on the registration channel: a request, or the reason why it is none."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from main.alpaca_broker.registration_requests import Request, read_request
from main.utils.redis.constants import (
    MAX_REGISTRATION_BYTES,
    REGISTRATION_REPLY_SCHEMA,
    REJECTION_REASONS,
)
from main.utils.redis.messages import RegistrationReply, encode

reply_schema = Draft202012Validator(REGISTRATION_REPLY_SCHEMA)


def read(fields: object) -> Request | RegistrationReply:
    return read_request(json.dumps(fields).encode())


def reason_of(judged: Request | RegistrationReply) -> str | None:
    assert isinstance(judged, RegistrationReply), f"taken for a request: {judged}"
    check(judged)
    assert judged.status == "rejected"
    assert judged.detail
    return judged.reason


def check(judged: Request | RegistrationReply) -> None:
    """Every reply keeps to its schema, whatever was sent."""
    if isinstance(judged, RegistrationReply):
        reply_schema.validate(json.loads(encode(judged)))
        assert judged.reason in REJECTION_REASONS
    else:
        reply_schema.validate(json.loads(encode(judged.accepted(1))))


def test_the_shortest_request_is_anonymous_and_asks_for_trades() -> None:
    assert read({"action": "subscribe", "ticker": " aapl "}) == Request(
        action="subscribe", ticker="AAPL"
    )


def test_every_field_is_taken_over() -> None:
    fields = {
        "action": "unsubscribe",
        "ticker": "BTC/USD",
        "client_id": "desk-1@host.example",
        "lease_s": 86_400,
        "request_id": "r-1",
        "data": ["bars", "quotes"],
    }
    assert read(fields) == Request(
        action="unsubscribe",
        ticker="BTC/USD",
        client_id="desk-1@host.example",
        lease_s=86_400,
        request_id="r-1",
        data=frozenset({"bars", "quotes"}),
    )


def test_fields_that_it_does_not_know_are_ignored() -> None:
    assert read({"action": "subscribe", "ticker": "AAPL", "colour": "red"}) == Request(
        action="subscribe", ticker="AAPL"
    )


@pytest.mark.parametrize(
    "payload", [b"", b"AAPL", b"{", b"\xff\xfe", b"[" * 16_000, b'{"a":"\\ud8', b'{"a":"\xff"}']
)
def test_what_is_not_json_is_invalid_json(payload: bytes) -> None:
    assert reason_of(read_request(payload)) == "invalid_json"


SUBSCRIBE: dict[str, Any] = {"action": "subscribe", "ticker": "AAPL"}


@pytest.mark.parametrize(
    "fields",
    [
        None,
        7,
        "AAPL",
        [SUBSCRIBE],
        {},
        {"ticker": "AAPL"},
        {"action": "subscribe"},
        SUBSCRIBE | {"action": "follow"},
        SUBSCRIBE | {"action": ["subscribe"]},
        SUBSCRIBE | {"ticker": 7},
        SUBSCRIBE | {"ticker": None},
        SUBSCRIBE | {"ticker": "A" * 65},
        SUBSCRIBE | {"client_id": ""},
        SUBSCRIBE | {"client_id": "a b"},
        SUBSCRIBE | {"client_id": "a\n"},
        SUBSCRIBE | {"client_id": "a" * 65},
        SUBSCRIBE | {"client_id": None},
        SUBSCRIBE | {"lease_s": 60},
        SUBSCRIBE | {"client_id": "a", "lease_s": 0},
        SUBSCRIBE | {"client_id": "a", "lease_s": 86_401},
        SUBSCRIBE | {"client_id": "a", "lease_s": 1.5},
        SUBSCRIBE | {"client_id": "a", "lease_s": True},
        SUBSCRIBE | {"client_id": "a", "lease_s": "60"},
        SUBSCRIBE | {"request_id": 1.5},
        SUBSCRIBE | {"request_id": True},
        SUBSCRIBE | {"request_id": "r" * 129},
        SUBSCRIBE | {"data": []},
        SUBSCRIBE | {"data": "trades"},
        SUBSCRIBE | {"data": ["news"]},
        SUBSCRIBE | {"data": ["trades", "trades"]},
        SUBSCRIBE | {"data": [["trades"]]},
        {"data": {}, "sender": "a"},
        {"data": SUBSCRIBE | {"action": "follow"}},
    ],
)
def test_a_wrong_shape_is_an_invalid_request(fields: object) -> None:
    assert reason_of(read(fields)) == "invalid_request"


@pytest.mark.parametrize(
    "ticker",
    ["", " ", "A B", "AAPL;", "-", "7UP", "A.B.C", "AAPL\n\0", "TOOLONGTICKER", "ß", "ÄPL", "*"],
)
def test_what_cannot_name_a_channel_is_an_invalid_ticker(ticker: str) -> None:
    assert reason_of(read({"action": "subscribe", "ticker": ticker})) == "invalid_ticker"


def test_a_hyphen_is_answered_with_what_was_meant() -> None:
    judged = read({"action": "subscribe", "ticker": "brk-b"})
    assert isinstance(judged, RegistrationReply)
    assert "did you mean BRK.B" in str(judged.detail)


def test_a_request_of_1_mb_is_refused_without_being_read() -> None:
    payload = json.dumps(SUBSCRIBE | {"padding": "x" * 1_000_000}).encode()
    assert reason_of(read_request(payload)) == "invalid_request"


def test_the_longest_request_that_fits_is_read() -> None:
    fields = SUBSCRIBE | {"padding": ""}
    room = MAX_REGISTRATION_BYTES - len(json.dumps(fields))
    assert isinstance(read(fields | {"padding": "x" * room}), Request)
    assert reason_of(read(fields | {"padding": "x" * (room + 1)})) == "invalid_request"


@pytest.mark.parametrize(
    "field", ["data", "ticker", "request_id", "action", "client_id", "lease_s"]
)
@pytest.mark.parametrize("depth", [50, 200, 400, 600, 800, 900, 950, 1_000, 4_000])
def test_a_deep_request_gets_its_answer(field: str, depth: int) -> None:
    """At some depth the decoder still reads what the judge can no longer walk."""
    deep = b"[" * depth + b"]" * depth
    others = b"".join(
        b',"%s":%s' % (name.encode(), value)
        for name, value in (("action", b'"subscribe"'), ("ticker", b'"AAPL"'))
        if name != field
    )
    payload = b'{"%s":%s%s}' % (field.encode(), deep, others)
    assert reason_of(read_request(payload)) in ("invalid_request", "invalid_json")


def test_what_is_echoed_of_a_bad_request_is_bounded() -> None:
    judged = read({"action": "a" * 5_000, "ticker": "t" * 5_000, "request_id": "r" * 5_000})
    assert reason_of(judged) == "invalid_request"
    assert len(encode(judged)) < 1_000


# -- the envelope


def test_an_envelope_is_opened_and_its_sender_serves_as_client_id() -> None:
    envelope = {"data": SUBSCRIBE, "sender": "desk-1", "timestamp": "2026-11-21T14:30:05Z"}
    assert read(envelope) == Request(action="subscribe", ticker="AAPL", client_id="desk-1")


def test_a_client_id_inside_goes_before_the_sender() -> None:
    envelope = {"data": SUBSCRIBE | {"client_id": "inner", "lease_s": 5}, "sender": "outer"}
    judged = read(envelope)
    assert isinstance(judged, Request)
    assert (judged.client_id, judged.lease_s) == ("inner", 5)


def test_a_lease_in_an_envelope_belongs_to_its_sender() -> None:
    judged = read({"data": SUBSCRIBE | {"lease_s": 60}, "sender": "desk-1"})
    assert isinstance(judged, Request)
    assert (judged.client_id, judged.lease_s) == ("desk-1", 60)


@pytest.mark.parametrize("sender", [None, "no good name", ""])
def test_a_sender_that_is_no_client_id_leaves_the_request_anonymous(sender: str | None) -> None:
    judged = read({"data": SUBSCRIBE, "sender": sender})
    assert isinstance(judged, Request)
    assert judged.client_id == ""


# -- what it asks for


def test_the_anonymous_hold_has_no_end_and_the_named_one_has_a_lease() -> None:
    assert Request(action="subscribe", ticker="A").holding(1_000).until_ms is None
    assert Request(action="subscribe", ticker="A", client_id="a").holding(1_000).until_ms == 301_000
    short = Request(action="subscribe", ticker="A", client_id="a", lease_s=1)
    assert short.holding(1_000).until_ms == 2_000


def test_the_reply_says_who_asked_what() -> None:
    request = Request(action="subscribe", ticker="A", client_id="a", request_id=7)
    reply = request.rejected("symbol_limit", "full", holders=3)
    assert (reply.action, reply.ticker, reply.client_id) == ("subscribe", "A", "a")
    assert (reply.request_id, reply.reason, reply.holders) == (7, "symbol_limit", 3)
    check(request)


# -- hostile


@given(st.binary(max_size=300))
def test_no_bytes_make_it_raise(payload: bytes) -> None:
    check(read_request(payload))


anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=5,
)


@given(
    st.fixed_dictionaries(
        {},
        optional={
            "action": st.sampled_from(["subscribe", "unsubscribe"]) | anything,
            "ticker": st.sampled_from(["AAPL", "brk.b", "BTC/USD"]) | anything,
            "client_id": st.just("me") | anything,
            "lease_s": st.integers(1, 86_400) | anything,
            "request_id": st.integers() | anything,
            "data": st.just(["trades"]) | anything,
            "sender": anything,
        },
    )
)
def test_no_object_makes_it_raise(fields: dict[str, object]) -> None:
    check(read_request(json.dumps(fields).encode()))
    check(read_request(json.dumps({"data": fields, "sender": "me"}).encode()))
