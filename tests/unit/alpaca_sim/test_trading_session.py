"""The trading stream's conversation: signing in, listening, encodings, nonsense."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from main.alpaca_sim.config import Credentials
from main.alpaca_sim.trading_session import TradingSession

OLD_FORM = {"action": "authenticate", "data": {"key_id": "local", "secret_key": "local-secret"}}
NEW_FORM = {"action": "auth", "key": "local", "secret": "local-secret"}
LISTEN = {"action": "listen", "data": {"streams": ["trade_updates"]}}


def say(session: TradingSession, message: object) -> Any:
    (answer,) = session.receive(json.dumps(message))
    return json.loads(answer)


@pytest.fixture
def session() -> TradingSession:
    return TradingSession(Credentials(), encoding="json")


@pytest.mark.parametrize("form", [OLD_FORM, NEW_FORM])
def test_both_forms_of_signing_in(session: TradingSession, form: object) -> None:
    assert say(session, form) == {
        "stream": "authorization",
        "data": {"status": "authorized", "action": "authenticate"},
    }
    assert session.authenticated
    assert not session.close_after_send


@pytest.mark.parametrize(
    "form",
    [
        {"action": "auth", "key": "local", "secret": "wrong"},
        {"action": "authenticate", "data": {"key_id": "local"}},
        {"action": "auth"},
        {"action": "authenticate", "data": None},
        {"action": "auth", "key": None, "secret": None},
        {"action": "auth", "key": ["local"], "secret": {"a": 1}},
    ],
)
def test_wrong_credentials_are_unauthorized(session: TradingSession, form: object) -> None:
    assert say(session, form) == {
        "stream": "authorization",
        "data": {"status": "unauthorized", "action": "authenticate"},
    }
    assert not session.authenticated
    assert session.close_after_send


def test_listening_before_signing_in_is_unauthorized(session: TradingSession) -> None:
    assert say(session, LISTEN) == {
        "stream": "authorization",
        "data": {"status": "unauthorized", "action": "listen"},
    }
    assert session.offer({"event": "new"}) is None


def test_listen_replaces_and_an_empty_list_stops(session: TradingSession) -> None:
    say(session, NEW_FORM)
    assert session.offer({"event": "new"}) is None
    assert say(session, LISTEN) == {
        "stream": "listening",
        "data": {"streams": ["trade_updates"]},
    }
    frame = session.offer({"event": "new"})
    assert frame is not None
    assert json.loads(frame) == {"stream": "trade_updates", "data": {"event": "new"}}
    stop = {"action": "listen", "data": {"streams": []}}
    assert say(session, stop)["data"] == {"streams": []}
    assert session.offer({"event": "new"}) is None


def test_streams_that_do_not_exist_are_left_out_of_the_acknowledgement(
    session: TradingSession,
) -> None:
    say(session, NEW_FORM)
    wanted = {"streams": ["account_updates", "trade_updates", "trade_updates", 7]}
    answer = say(session, {"action": "listen", "data": wanted})
    assert answer["data"] == {"streams": ["trade_updates"]}


def test_a_header_signs_in_without_an_answer(session: TradingSession) -> None:
    session.sign_in_by_header("local", "wrong")
    assert not session.authenticated
    session.sign_in_by_header("local", "local-secret")
    assert session.authenticated


def test_an_event_can_be_null(session: TradingSession) -> None:
    say(session, NEW_FORM)
    say(session, LISTEN)
    assert session.offer(None) == b'{"stream":"trade_updates","data":null}'


def test_messagepack_is_spoken_when_asked_for() -> None:
    session = TradingSession(Credentials(), encoding="msgpack")
    (answer,) = session.receive(msgspec.msgpack.encode(NEW_FORM))
    assert msgspec.msgpack.decode(answer)["data"]["status"] == "authorized"
    (answer,) = session.receive(json.dumps(LISTEN))
    assert msgspec.msgpack.decode(answer)["stream"] == "listening"
    frame = session.offer({"event": "fill", "price": "1.5"})
    assert frame is not None
    assert msgspec.msgpack.decode(frame)["data"] == {"event": "fill", "price": "1.5"}


@pytest.mark.parametrize(
    "frame",
    [
        b"",
        "",
        "{",
        "[]",
        "null",
        b"\xff\xfe",
        "[" * 100_000,
        '{"action": 7}',
        '{"action": "subscribe"}',
        "x" * 70_000,
    ],
)
def test_nonsense_gets_an_error_and_changes_nothing(
    session: TradingSession, frame: bytes | str
) -> None:
    (answer,) = session.receive(frame)
    assert json.loads(answer)["stream"] == "error"
    assert not session.authenticated
    assert not session.close_after_send


def test_listening_to_nonsense_keeps_what_was_listened_to(session: TradingSession) -> None:
    say(session, NEW_FORM)
    say(session, LISTEN)
    for data in (None, {}, {"streams": "trade_updates"}, {"streams": None}):
        assert say(session, {"action": "listen", "data": data})["stream"] == "error"
    assert session.listens == ("trade_updates",)


def test_an_unknown_encoding_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="encoding"):
        TradingSession(Credentials(), encoding="xml")
