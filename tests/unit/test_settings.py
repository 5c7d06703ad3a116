"""Settings come from the environment, then `.env`; what is wrong is told all at once."""

from __future__ import annotations

from pathlib import Path

import pytest

from main.settings import Settings, SettingsError, load_settings


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        choices = getattr(alias, "choices", [])
        for variable in (name.upper(), *map(str, choices)):
            monkeypatch.delenv(variable, raising=False)


def test_the_environment_wins_over_the_file(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".env").write_text("REDIS_PORT=7000\nBUS_PREFIX=FILE_\n")
    monkeypatch.setenv("REDIS_PORT", "7001")
    settings = load_settings()
    assert (settings.redis_port, settings.bus_prefix) == (7001, "FILE_")


def test_an_empty_value_is_as_if_unset(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("REDIS_PASSWORD", "")
    monkeypatch.setenv("REDIS_HOST", "")
    settings = load_settings()
    assert settings.redis_config().password is None
    assert not settings.names_a_redis


@pytest.mark.parametrize(
    ("key", "secret"),
    [
        ("ALPACA_API_KEY", "ALPACA_API_SECRET"),
        ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"),
        ("PAPER_ALPACA_API_KEY_ID", "PAPER_ALPACA_API_SECRET_KEY"),
        ("ALPACA_API_KEY", "ALPACA_SECRET"),
    ],
)
def test_keys_are_read_under_every_name_in_use(
    monkeypatch: pytest.MonkeyPatch, key: str, secret: str
) -> None:
    monkeypatch.setenv(key, "K")
    monkeypatch.setenv(secret, "S")
    settings = load_settings()
    assert settings.has_alpaca_keys
    assert settings.alpaca_api_key is not None
    assert settings.alpaca_api_key.get_secret_value() == "K"


def test_half_a_key_pair_is_a_mistake(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPACA_API_KEY", "K")
    with pytest.raises(SettingsError, match="ALPACA_API_SECRET is not set"):
        load_settings()


def test_all_bad_names_are_in_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("REDIS_PORT", "ALPACA_SYMBOL_LIMIT", "JOURNAL_MAX_MB"):
        monkeypatch.setenv(name, "many")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert len(caught.value.problems) == 3
    for name in ("REDIS_PORT", "ALPACA_SYMBOL_LIMIT", "JOURNAL_MAX_MB"):
        assert name in str(caught.value)


def test_live_trading_needs_both_words(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPACA_PAPER", "false")
    with pytest.raises(SettingsError, match="ALPACA_LIVE_CONFIRMED=true"):
        load_settings()
    monkeypatch.setenv("ALPACA_LIVE_CONFIRMED", "true")
    assert load_settings().trading_url == "https://api.alpaca.markets"


def test_secrets_are_in_no_repr_and_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALPACA_API_KEY", "hunter1")
    monkeypatch.setenv("ALPACA_API_SECRET", "hunter2")
    monkeypatch.setenv("REDIS_URL", "http://me:hunter3@localhost")
    with pytest.raises(SettingsError) as caught:
        load_settings()
    assert "hunter" not in str(caught.value)
    monkeypatch.setenv("REDIS_URL", "redis://me:hunter3@localhost")
    settings = load_settings()
    assert "hunter" not in repr(settings) + repr(settings.redis_config())


def test_a_host_alone_is_completed_to_the_three_stream_endpoints(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ALPACA_DATA_STREAM_URL", "ws://127.0.0.1:8765")
    monkeypatch.setenv("ALPACA_TRADING_URL", "http://127.0.0.1:8765/")
    settings = load_settings()
    assert settings.stock_stream_url == "ws://127.0.0.1:8765/v2/iex"
    assert settings.crypto_stream_url == "ws://127.0.0.1:8765/v1beta3/crypto/us"
    assert settings.trading_stream_url == "ws://127.0.0.1:8765/stream"


def test_alpacas_own_endpoints_are_the_defaults() -> None:
    settings = load_settings()
    assert settings.trading_url == "https://paper-api.alpaca.markets"
    assert settings.trading_stream_url == "wss://paper-api.alpaca.markets/stream"
    assert settings.stock_stream_url == "wss://stream.data.alpaca.markets/v2/iex"


@pytest.mark.parametrize(
    ("name", "value"),
    [("ALPACA_DATA_STREAM_URL", "http://x"), ("ALPACA_TRADING_URL", "ws://x")],
)
def test_an_endpoint_of_the_wrong_kind_is_named(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(SettingsError, match=name):
        load_settings()


def test_a_url_or_a_host_names_a_redis_and_a_port_alone_does_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("REDIS_PORT", "6390")
    assert not load_settings().names_a_redis
    monkeypatch.setenv("REDIS_HOST", "localhost")
    assert load_settings().names_a_redis
