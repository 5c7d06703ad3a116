"""Who may look, and whose form counts."""

from __future__ import annotations

import pytest

from main.dashboard.config import DashboardConfig, DashboardRefused
from main.dashboard.guard import WRONG_TRIES, Guard
from main.utils.redis.config import RedisConfig

TOKEN = "a-token-of-good-length"


class Clock:
    def __init__(self) -> None:
        self.now_s = 1_000.0

    def __call__(self) -> float:
        return self.now_s


@pytest.mark.parametrize("host", ["localhost:8787", "127.0.0.1", "[::1]:80", "LOCALHOST"])
def test_this_machines_names_are_known(host: str) -> None:
    assert Guard().knows_host(host)


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "", None, "[bad", "10.0.0.1"]
)
def test_a_page_whose_name_was_bent_to_us_is_not(host: str | None) -> None:
    assert not Guard().knows_host(host)
    assert Guard(token=TOKEN).knows_host(host), "there the session is the guard"


def test_on_loopback_everybody_may_look_and_with_a_token_only_who_knows_it() -> None:
    assert Guard().may_look(None)
    guard = Guard(token=TOKEN)
    assert not guard.may_look(None)
    assert not guard.may_look(guard.new_session())
    assert not guard.may_look(None, f"Basic {TOKEN}")
    assert not guard.may_look(None, "Bearer wrong")
    assert guard.may_look(None, f"Bearer {TOKEN}")
    session = guard.sign_in(TOKEN)
    assert session is not None
    assert guard.may_look(session)


def test_a_session_cannot_be_made_up_nor_raised() -> None:
    guard = Guard(token=TOKEN)
    visitor = guard.new_session()
    raised = visitor.replace(".0.", ".1.")
    assert not guard.may_look(raised)
    for made_up in ("", "x", "a.1.b", "..", raised, Guard(token=TOKEN).sign_in(TOKEN)):
        assert not guard.is_session(made_up)


def test_after_five_wrong_tokens_nobody_may_try_for_a_minute() -> None:
    clock = Clock()
    guard = Guard(token=TOKEN, clock_s=clock)
    for _ in range(WRONG_TRIES):
        assert guard.sign_in("wrong") is None
    assert guard.is_barred()
    assert guard.sign_in(TOKEN) is None
    clock.now_s += 61
    assert guard.sign_in(TOKEN) is not None


def test_a_form_counts_only_from_its_own_page() -> None:
    guard = Guard()
    mine, other = guard.new_session(), guard.new_session()
    secret = guard.form_secret(mine)
    here = {"host": "127.0.0.1:8787", "origin": "http://127.0.0.1:8787"}
    assert guard.is_own_form(mine, secret, here)
    assert guard.is_own_form(mine, secret, {"host": "127.0.0.1:8787"}), "older browsers"
    assert not guard.is_own_form(mine, "", here)
    assert not guard.is_own_form(mine, guard.form_secret(other), here)
    assert not guard.is_own_form(None, guard.form_secret(""), here)
    assert not guard.is_own_form(mine, secret, here | {"origin": "http://evil.example"})
    assert not guard.is_own_form(mine, secret, here | {"origin": "null"})
    assert not guard.is_own_form(mine, secret, here | {"sec-fetch-site": "cross-site"})


def config(**given: object) -> DashboardConfig:
    return DashboardConfig(redis=RedisConfig(), client_id="page@here", **given)  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["0.0.0.0", "10.0.0.7", "::", "dash.example"])
def test_elsewhere_than_on_loopback_a_token_is_needed(host: str) -> None:
    with pytest.raises(DashboardRefused, match="DASHBOARD_TOKEN"):
        config(host=host)
    assert TOKEN not in repr(config(host=host, token=TOKEN))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "127.0.0.9"])
def test_on_loopback_it_is_not(host: str) -> None:
    assert config(host=host).token is None


def test_a_short_token_is_none() -> None:
    with pytest.raises(DashboardRefused, match="16 characters"):
        config(token="secret")


def test_the_address_is_one_that_a_browser_opens() -> None:
    assert config(host="0.0.0.0", token=TOKEN).url == "http://127.0.0.1:8787"
    assert config(host="::1", port=9).url == "http://[::1]:9"
