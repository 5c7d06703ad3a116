"""The trade-updates conversation."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from main.alpaca_broker.market_session import Broken, Phase, Refused, SignedIn
from main.alpaca_broker.trading_session import TradingSession


def sent(session: TradingSession) -> list[dict[str, Any]]:
    outbox, session.outbox = session.outbox, []
    return [msgspec.json.decode(message) for message in outbox]


def signing_in() -> TradingSession:
    session = TradingSession("key", "secret")
    session.sign_in()
    sent(session)
    return session


def frame(stream: str, fields: object) -> bytes:
    return msgspec.json.encode({"stream": stream, "data": fields})


AUTHORIZED = frame("authorization", {"status": "authorized", "action": "authenticate"})


def listening() -> TradingSession:
    session = signing_in()
    session.receive(AUTHORIZED)
    session.receive(frame("listening", {"streams": ["trade_updates"]}))
    sent(session)
    return session


def test_it_speaks_first() -> None:
    session = TradingSession("the-key", "the-secret")
    session.sign_in()
    assert sent(session) == [{"action": "auth", "key": "the-key", "secret": "the-secret"}]


def test_authorized_it_listens_and_is_ready_once_that_is_acknowledged() -> None:
    session = signing_in()
    assert session.receive(AUTHORIZED) == ([], None)
    assert sent(session) == [{"action": "listen", "data": {"streams": ["trade_updates"]}}]
    assert session.phase is not Phase.READY
    outcomes, _ = session.receive(frame("listening", {"streams": ["trade_updates"]}))
    assert outcomes == [SignedIn()]
    assert session.phase is Phase.READY


@pytest.mark.parametrize("action", ["authenticate", "listen"])
def test_unauthorized_refuses(action: str) -> None:
    session = signing_in()
    body = {"status": "unauthorized", "action": action, "message": "access key verification failed"}
    outcomes, _ = session.receive(frame("authorization", body))
    assert outcomes == [Refused(code=402, message="access key verification failed")]
    assert session.phase is Phase.REFUSED


@pytest.mark.parametrize("streams", [[], ["account_updates"], None, "trade_updates"])
def test_a_listen_that_was_silently_left_out_breaks_the_conversation(streams) -> None:
    session = signing_in()
    session.receive(AUTHORIZED)
    outcomes, _ = session.receive(frame("listening", {"streams": streams}))
    assert isinstance(outcomes[0], Broken)
    assert session.phase is not Phase.READY


@pytest.mark.parametrize("as_text", [False, True])
def test_an_update_comes_out_verbatim_from_binary_and_text_frames(as_text: bool) -> None:
    update = {
        "event": "fill",
        "price": "100.10",
        "order": {"id": "1", "notional": None, "qty": "1.50"},
    }
    raw = frame("trade_updates", update)
    outcomes, found = listening().receive(raw.decode() if as_text else raw)
    assert (outcomes, found) == ([], update)


def test_data_null_means_nothing_and_is_not_malformed() -> None:
    session = listening()
    assert session.receive(frame("trade_updates", None)) == ([], None)
    assert session.malformed == 0


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"7",
        b'{"stream":"trade_updates"}',
        b'{"stream":"trade_updates","data":[1]}',
        b'{"stream":"authorization","data":null}',
        b'{"stream":"listening","data":7}',
        b'{"stream":["trade_updates"],"data":{}}',
        b"[" * 50_000,
        "[" * 50_000,
    ],
)
def test_what_cannot_be_read_is_counted_and_changes_nothing(raw: bytes | str) -> None:
    session = listening()
    assert session.receive(raw) == ([], None)
    assert (session.malformed, session.phase, session.outbox) == (1, Phase.READY, [])


@given(st.one_of(st.binary(max_size=100), st.text(max_size=100)))
def test_no_frame_makes_it_raise(raw: bytes | str) -> None:
    listening().receive(raw)


def test_the_secret_never_shows_in_its_repr() -> None:
    assert "the-secret" not in repr(TradingSession("the-key", "the-secret"))
