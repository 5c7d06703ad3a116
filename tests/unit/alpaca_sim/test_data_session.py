"""The market-data conversation."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from main.alpaca_sim.config import Credentials, StreamRules
from main.alpaca_sim.data_session import DataSession, SessionState, keys_of_headers
from main.alpaca_sim.encoding import JSON
from main.alpaca_sim.feeds import FEED_BY_NAME


def session(refusals: list[int] | None = None, **rules: Any) -> DataSession:
    waiting = list(refusals or [])
    return DataSession(
        FEED_BY_NAME["iex"],
        JSON,
        Credentials("key", "secret"),
        StreamRules(**rules),
        lambda: waiting.pop(0) if waiting else None,
    )


def say(it: DataSession, **message: Any) -> dict[str, Any]:
    return it.receive(json.dumps(message)).messages[0]


AUTH = {"action": "auth", "key": "key", "secret": "secret"}


def test_a_refused_sign_in_may_be_tried_again_on_the_same_socket() -> None:
    it = session([406, 406])
    it.open({})
    assert [say(it, **AUTH)["T"] for _ in range(3)] == ["error", "error", "success"]
    assert say(it, **AUTH)["code"] == 403


def test_every_attempt_to_sign_in_is_marked_so_that_its_deadline_starts_anew() -> None:
    it = session([406])
    assert it.receive(json.dumps(AUTH)).sign_in
    assert not it.receive("garbage").sign_in


def test_a_timeout_ends_only_who_has_not_signed_in() -> None:
    it = session()
    turn = it.time_out()
    assert (turn.messages[0]["code"], turn.close) == (404, True)
    assert it.state is SessionState.ENDED
    signed_in = session()
    say(signed_in, **AUTH)
    assert signed_in.time_out().messages == []


def test_wrong_keys_can_be_set_to_close_the_connection() -> None:
    wrong = AUTH | {"secret": "x"}
    assert not session().receive(json.dumps(wrong)).close
    assert session(close_after_auth_failure=True).receive(json.dumps(wrong)).close


@pytest.mark.parametrize("frame", ["[]", "17", "null", '"auth"', "{}", b"\xff\xfe", ""])
def test_what_is_no_request_is_400_and_changes_nothing(frame: bytes | str) -> None:
    it = session()
    assert it.receive(frame).messages[0]["code"] == 400
    assert it.state is SessionState.CONNECTED


def test_keys_come_from_alpacas_headers_or_from_basic() -> None:
    basic = base64.b64encode(b"key:secret").decode()
    own = {"APCA-API-KEY-ID": "key", "APCA-API-SECRET-KEY": "secret"}
    assert keys_of_headers(own) == ("key", "secret")
    assert keys_of_headers({"Authorization": f"Basic {basic}"}) == ("key", "secret")
    assert keys_of_headers({"Authorization": "Bearer tok"}) == ("access_token", "tok")
    assert keys_of_headers({"Authorization": "Basic %%%"}) == ("", "")
    assert keys_of_headers({}) is None


def test_a_secret_never_shows_in_a_repr() -> None:
    assert "hush" not in repr(Credentials("key", "hush"))
