"""Misspelled names, keys of two accounts, a .env that others can read."""

from __future__ import annotations

from pathlib import Path

import pytest

from main.doctor.findings import Notebook, Severity
from main.doctor.settings_check import examine_settings, known_names
from main.settings import Settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in known_names():
        monkeypatch.delenv(name, raising=False)


def examine(
    tmp_path: Path, text: str, mode: int = 0o600, **environment: str
) -> tuple[Settings | None, dict[str, str]]:
    """The settings, and what is to be mended: name to words."""
    env_file = tmp_path / ".env"
    env_file.write_text(text)
    env_file.chmod(mode)
    notebook = Notebook("settings")
    settings = examine_settings(notebook, env_file, environment)
    told = [f for f in notebook.findings if f.severity >= Severity.WARNING]
    return settings, {f.name: f"{f.found} | {f.remedy}" for f in told}


def test_good_settings_have_nothing_to_mend(tmp_path: Path) -> None:
    settings, told = examine(tmp_path, "ALPACA_API_KEY=PK1\nALPACA_API_SECRET=s\n")
    assert settings is not None
    assert told == {}


def test_a_misspelled_name_is_told_with_the_right_one(tmp_path: Path) -> None:
    _, told = examine(tmp_path, "ALPACA_SYMBOL_LIMT=0\n")
    assert "did you mean ALPACA_SYMBOL_LIMIT?" in told["settings.misspelled"]


def test_names_of_others_in_the_environment_are_left_alone(tmp_path: Path) -> None:
    _, told = examine(tmp_path, "", REDIS_PORT_6379_TCP_ADDR="10.0.0.1", LOG_DIRECTORY="/x")
    assert told == {}
    _, told = examine(tmp_path, "", REDIS_HSOT="here")
    assert list(told) == ["settings.misspelled"]


def test_halves_of_two_pairs_of_keys_are_told(tmp_path: Path) -> None:
    _, told = examine(tmp_path, "ALPACA_API_KEY=PK1\nAPCA_API_SECRET_KEY=s\n")
    assert "APCA_API_SECRET_KEY" in told["settings.mixed_keys"]


def test_a_key_pasted_with_its_quotes_is_told_and_never_shown(tmp_path: Path) -> None:
    text = "ALPACA_API_KEY=PK1\nALPACA_API_SECRET=\"'hush-hush'\"\n"
    _, told = examine(tmp_path, text)
    assert "settings.key_shape" in told
    assert "hush" not in str(told)


def test_a_file_with_secrets_that_others_can_read_is_told(tmp_path: Path) -> None:
    text = "ALPACA_API_KEY=PK1\nALPACA_API_SECRET=s\n"
    _, told = examine(tmp_path, text, mode=0o644)
    assert "chmod 600" in told["settings.env_file_open"]
    _, told = examine(tmp_path, "LOG_LEVEL=info\n", mode=0o644)
    assert told == {}


def test_wrong_settings_are_all_told_and_cannot_be_used(tmp_path: Path) -> None:
    settings, told = examine(tmp_path, "REDIS_PORT=99999\nALPACA_PAPER=maybe\n")
    assert settings is None
    assert list(told) == ["settings.wrong"]


def test_a_real_money_account_without_its_confirmation_is_told(tmp_path: Path) -> None:
    settings, told = examine(tmp_path, "ALPACA_PAPER=false\n")
    assert settings is None
    assert "ALPACA_LIVE_CONFIRMED" in told["settings.wrong"]
