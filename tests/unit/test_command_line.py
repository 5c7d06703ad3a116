"""What a person types, as far as it needs no server: help, and mistakes."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import pytest
import typer
import yaml

from main.__main__ import app, main, scale_t
from main.commands.common import program
from main.settings import Settings


class Ended(NamedTuple):
    code: int
    out: str
    err: str


class Typist:
    """Types commands into a folder without `.env`, with an environment without settings."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch, self._capsys = monkeypatch, capsys

    def types(self, line: str, **environment: str) -> Ended:
        for name, value in environment.items():
            self._monkeypatch.setenv(name, value)
        self._monkeypatch.setattr(sys, "argv", ["tickerbus", *line.split()])
        code = 0
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        said = self._capsys.readouterr()
        return Ended(code, said.out, said.err)


@pytest.fixture
def person(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> Typist:
    monkeypatch.chdir(tmp_path)
    for name in Settings.model_fields:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("REDIS_HOST", "127.0.0.1")
    monkeypatch.setenv("REDIS_PORT", "1")  # where nobody listens
    return Typist(monkeypatch, capsys)


def _commands(group: typer.Typer) -> list[str]:
    return [str(command.name) for command in group.registered_commands]


def test_the_promised_commands_are_there() -> None:
    bus = {"register", "unregister", "registrations", "watch", "status"}
    assert {"demo", "up", "broker", "sim", "compose"} | bus <= set(_commands(app))
    assert _commands(scale_t) == [
        *("run", "plan", "simulate"),
        *("status", "pause", "resume", "stop", "flatten", "update", "price"),
    ]


@pytest.mark.parametrize("command", [*_commands(app), "scale-t run"])
def test_each_help_text_says_what_it_does_and_shows_an_example(
    person: Typist, command: str
) -> None:
    ended = person.types(f"{command} --help")
    assert ended.code == 0
    example = " ".join(ended.out.split()).partition("Example: ")[2]
    assert f" {command}" in example


def test_without_a_command_the_list_of_commands_is_printed(person: Typist) -> None:
    ended = person.types("")
    assert "See it work" in ended.out
    assert "registrations" in ended.out


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("register BRK-B", "did you mean BRK.B?"),
        ("watch AAPL $$$", "'$$$' is not a ticker"),
        ("register AAPL --for soon", "'soon' is not a time: write e.g. 90s, 45m, 2h or 1d"),
        ("register AAPL --for 25h", "at most 24h; there is --forever"),
        ("unregister", "name the tickers, or whose: --client ID or --all-anonymous"),
        ("unregister AAPL --client a --all-anonymous", "exclude each other"),
        ("demo --tickers ,", "no ticker given"),
        ("scale-t run --ticker AAPL --max-position many", "These scale_t parameters are wrong"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(
    person: Typist, line: str, complaint: str
) -> None:
    ended = person.types(line)
    assert ended.code == 2
    assert complaint in ended.err
    assert "Traceback" not in ended.err


def test_more_tickers_than_the_plan_allows_are_refused_before_anything_starts(
    person: Typist,
) -> None:
    tickers = ",".join(f"T{number}" for number in range(31))
    ended = person.types(f"up --tickers {tickers}")
    assert ended.code == 2
    assert "31 tickers, but ALPACA_SYMBOL_LIMIT is 30" in ended.err


@pytest.mark.parametrize("line", ["broker", "status", "register AAPL", "demo", "compose"])
def test_bad_settings_are_all_named_in_one_message(person: Typist, line: str) -> None:
    if line == "compose":
        assert person.types(line, REDIS_PORT="many").code == 0, "it reads no settings"
        return
    ended = person.types(line, REDIS_PORT="many", ALPACA_DATA_FEED="fast")
    assert ended.code == 2
    assert "REDIS_PORT" in ended.err
    assert "ALPACA_DATA_FEED" in ended.err
    assert "Traceback" not in ended.err


def test_live_trading_without_its_confirmation_is_refused(person: Typist) -> None:
    ended = person.types("broker", ALPACA_PAPER="false")
    assert ended.code == 2
    assert "ALPACA_LIVE_CONFIRMED=true" in ended.err


def test_the_broker_says_at_once_all_that_is_missing(person: Typist) -> None:
    ended = person.types("broker")
    assert ended.code == 2
    for missing in ("ALPACA_API_KEY is not set", "ALPACA_API_SECRET is not set", "127.0.0.1:1/0"):
        assert missing in ended.err


@pytest.mark.parametrize("line", ["status", "registrations", "register AAPL", "watch AAPL"])
def test_a_redis_that_does_not_answer_is_named(person: Typist, line: str) -> None:
    ended = person.types(line)
    assert ended.code == 2
    assert "Redis at 127.0.0.1:1/0 is not available" in ended.err


def test_a_password_is_in_no_message(person: Typist) -> None:
    ended = person.types("status", REDIS_URL="redis://me:hunter2@127.0.0.1:1/0")
    assert ended.code == 2
    assert "hunter2" not in ended.err + ended.out


def test_compose_prints_or_writes_the_same_file(person: Typist, tmp_path: Path) -> None:
    printed = person.types("compose").out
    assert "broker" in yaml.safe_load(printed)["services"]
    assert person.types("compose --write").code == 0
    assert (tmp_path / "docker-compose.generated.yml").read_text("utf-8") == printed


def test_the_program_calls_itself_as_it_was_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["/usr/bin/tickerbus"])
    assert program() == "tickerbus"
    monkeypatch.setattr(sys, "argv", ["/somewhere/main/__main__.py"])
    assert program().endswith("-m main")
