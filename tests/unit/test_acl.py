"""The printed rules, as far as no server is needed."""

from __future__ import annotations

import hashlib
import re
import sys
from pathlib import Path

import pytest

from main.__main__ import main
from main.acl import HASH_PLACEHOLDER, ROLES, AclError, AclRequest, acl_rule
from main.utils.redis.constants import CHANNELS
from main.utils.redis.errors import InvalidTicker


def strategy(**request: object) -> str:
    return acl_rule(AclRequest(role="strategy", user="s1", **request))  # type: ignore[arg-type]


def test_a_strategy_publishes_on_its_own_channels_only() -> None:
    assert strategy().endswith("(+publish resetchannels &BROKER_REGISTRATION.s1)")
    two = strategy(client_ids=("a", "b"), prefix="P_")
    assert two.endswith("&P_BROKER_REGISTRATION.a &P_BROKER_REGISTRATION.b)")
    assert strategy(secured=False).endswith("(+publish resetchannels &BROKER_REGISTRATION)")


def test_a_strategy_takes_commands_and_answers_them_in_its_own_name_only() -> None:
    heard, *_, said, _ = strategy(client_ids=("a",)).split("(")[1:]
    for name in (CHANNELS.get_control_channel("a"), CHANNELS.get_control_replies_channel("a")):
        assert f"&{name}" in heard.rstrip(" )").split()
        assert f"&{name}" in said.rstrip(" )").split()


def test_a_strategy_with_tickers_hears_no_others() -> None:
    rule = strategy(tickers=("aapl", "BRK.B", "AAPL"))
    assert "*" not in rule
    assert rule.count("&TICKER_UPDATES_AAPL") == 1
    assert "%R~ORDER_LOG_BRK.B" in rule


def test_the_dashboard_looks_as_an_observer_and_registers_as_itself() -> None:
    rule = acl_rule(AclRequest(role="dashboard", user="d", client_ids=("page@here",)))
    assert rule.endswith("(+publish resetchannels &BROKER_REGISTRATION.page@here)")
    assert "+client|list" in rule
    observer = acl_rule(AclRequest(role="observer", user="o"))
    for selector in observer.split("(")[1:]:
        assert selector.rstrip(" )") in rule


def test_no_right_to_publish_is_also_one_to_hear() -> None:
    """A selector with both would let a strategy publish what it may hear."""
    for selector in strategy().split("(")[1:]:
        assert not ("+publish" in selector and "+subscribe" in selector)


@pytest.mark.parametrize(
    "request_",
    [
        {"user": "two words"},
        {"user": "x >secret"},
        {"client_ids": ("a*",)},
        {"client_ids": ("a b",)},
        {"prefix": "*"},
        {"prefix": "a b"},
        {"password_hash": "short"},
        {"password_hash": "A" * 64},
        {"role": "observer", "tickers": ("AAPL",)},
        {"role": "broker", "client_ids": ("a",)},
        {"role": "dashboard", "tickers": ("AAPL",)},
    ],
)
def test_what_would_widen_or_break_a_rule_is_refused(request_: dict[str, object]) -> None:
    request = {"role": "strategy", "user": "s1"} | request_
    with pytest.raises(AclError):
        acl_rule(AclRequest(**request))  # type: ignore[arg-type]


def test_a_ticker_cannot_be_a_pattern() -> None:
    with pytest.raises(InvalidTicker):
        strategy(tickers=("A*",))


@pytest.fixture
def types(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> object:
    monkeypatch.chdir(tmp_path)

    def type_(line: str) -> tuple[int, list[str], str]:
        monkeypatch.setattr(sys, "argv", ["tickerbus", "acl", *line.split()])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = capsys.readouterr()
        return code, said.out.splitlines(), said.err

    return type_


def test_without_a_role_all_are_printed_with_a_placeholder(types, monkeypatch) -> None:
    monkeypatch.setenv("BUS_PREFIX", "PAPER_")
    code, lines, hint = types("--secured")
    assert code == 0
    assert [line.split()[:3] for line in lines] == [["ACL", "SETUSER", role] for role in ROLES]
    assert all(f"#{HASH_PLACEHOLDER}" in line for line in lines)
    assert all("&PAPER_BROKER_STATUS" in line for line in lines)
    assert "turn it off" in hint


def test_the_settings_say_whether_registration_is_secured(types, monkeypatch) -> None:
    assert "&BROKER_REGISTRATION)" in types("strategy")[1][0]
    monkeypatch.setenv("REGISTRATION_SECURED", "true")
    assert "&BROKER_REGISTRATION.strategy)" in types("strategy")[1][0]
    assert "&BROKER_REGISTRATION)" in types("strategy --open")[1][0]


def test_the_dashboards_rule_has_the_name_by_which_the_page_registers(types) -> None:
    (line,) = types("dashboard --secured")[1]
    assert re.search(r"&BROKER_REGISTRATION\.page@[^ )]+\)$", line)
    (line,) = types("dashboard --secured --client-id desk")[1]
    assert line.endswith("&BROKER_REGISTRATION.desk)")


def test_an_aclfile_holds_users(types) -> None:
    hashed = hashlib.sha256(b"secret").hexdigest()
    options = f"--user s1 --tickers aapl --password-hash {hashed} --aclfile"
    code, (line,), _ = types(f"strategy {options}")
    assert code == 0
    assert line.startswith(f"user s1 reset resetchannels on #{hashed} ")
    assert "&TICKER_UPDATES_AAPL" in line


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("--user me", "say which role"),
        ("strategy --client-id a*", "is not a client id"),
        ("strategy --tickers A*", "is not a ticker"),
        ("broker --password-hash secret", "64 lower-case hexadecimal digits"),
        ("observer --tickers AAPL", "for the role strategy"),
    ],
)
def test_a_mistake_is_one_message(types, line: str, complaint: str) -> None:
    code, _, said = types(line)
    assert code == 2
    assert complaint in said
