"""Settings: read at the edge, all wrong ones told at once, no secret shown."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from main.settings import Settings, SettingsError, load_settings

OURS = ("REDIS_", "ALPACA_", "APCA_", "PAPER_ALPACA_", "BUS_", "JOURNAL_", "ORDER_LOG_", "LOG_")


@pytest.fixture(autouse=True)
def no_settings_of_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.upper().startswith((*OURS, "REGISTRATION_")):
            monkeypatch.delenv(name)


def load(monkeypatch: pytest.MonkeyPatch, **environment: str) -> Settings:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return load_settings(env_file=None)


def problems(monkeypatch: pytest.MonkeyPatch, **environment: str) -> str:
    with pytest.raises(SettingsError) as error:
        load(monkeypatch, **environment)
    return str(error.value)


def test_without_any_it_is_paper_iex_and_redis_on_localhost() -> None:
    settings = load_settings(env_file=None)
    assert (settings.redis_host, settings.redis_port, settings.redis_db) == ("localhost", 6379, 0)
    assert (settings.alpaca_paper, settings.alpaca_data_feed) == (True, "iex")
    assert (settings.alpaca_symbol_limit, settings.bus_prefix) == (30, "")
    assert not settings.has_alpaca_keys
    assert not settings.names_a_redis
    assert settings.trading_url == "https://paper-api.alpaca.markets"
    assert settings.trading_stream_url == "wss://paper-api.alpaca.markets/stream"
    assert settings.stock_stream_url == "wss://stream.data.alpaca.markets/v2/iex"
    assert settings.crypto_stream_url == "wss://stream.data.alpaca.markets/v1beta3/crypto/us"
    assert settings.data_url == "https://data.alpaca.markets"


@pytest.mark.parametrize(
    ("key_name", "secret_name"),
    [
        ("ALPACA_API_KEY", "ALPACA_API_SECRET"),
        ("APCA_API_KEY_ID", "APCA_API_SECRET_KEY"),
        ("PAPER_ALPACA_API_KEY_ID", "PAPER_ALPACA_API_SECRET_KEY"),
        ("ALPACA_API_KEY", "ALPACA_SECRET"),
    ],
)
def test_the_keys_are_found_under_every_name(monkeypatch, key_name, secret_name) -> None:
    settings = load(monkeypatch, **{key_name: "K", secret_name: "S"})
    assert settings.has_alpaca_keys
    assert settings.alpaca_api_key is not None
    assert settings.alpaca_api_key.get_secret_value() == "K"


def test_an_empty_name_does_not_hide_the_next(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, ALPACA_API_KEY="", APCA_API_KEY_ID="K", APCA_API_SECRET_KEY="S")
    assert settings.has_alpaca_keys


def test_all_wrong_settings_are_named_in_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    message = problems(
        monkeypatch,
        REDIS_PORT="70000",
        REDIS_DB="-1",
        ALPACA_DATA_FEED="nyse",
        ALPACA_SYMBOL_LIMIT="many",
        ALPACA_PAPER="perhaps",
        JOURNAL_MAX_MB="0",
        BUS_PREFIX="a b",
        LOG_LEVEL="loud",
    )
    for name in (
        "REDIS_PORT",
        "REDIS_DB",
        "ALPACA_DATA_FEED",
        "ALPACA_SYMBOL_LIMIT",
        "ALPACA_PAPER",
        "JOURNAL_MAX_MB",
        "BUS_PREFIX",
        "LOG_LEVEL",
    ):
        assert f"{name}: " in message


def test_what_a_setting_must_be_is_said_without_a_librarys_words(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    message = problems(
        monkeypatch,
        REDIS_PORT="99999",
        ALPACA_PAPER="maybe",
        ALPACA_SYMBOL_LIMIT="-1",
        JOURNAL_MAX_MB="much",
        LOG_LEVEL="loud",
    )
    assert "REDIS_PORT: must be at most 65535" in message
    assert "ALPACA_PAPER: must be true or false" in message
    assert "ALPACA_SYMBOL_LIMIT: must be at least 0" in message
    assert "JOURNAL_MAX_MB: must be a whole number" in message
    assert "LOG_LEVEL: must be 'debug', 'info', 'warning' or 'error'" in message
    assert "Input" not in message


def test_wrong_combinations_are_named_in_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    message = problems(
        monkeypatch,
        REDIS_URL="http://user:hunter2@host",
        ALPACA_PAPER="false",
        ALPACA_API_KEY="K",
        ALPACA_DATA_STREAM_URL="https://stream",
        ALPACA_TRADING_STREAM_URL="https://stream",
        ALPACA_DATA_URL="ws://data",
        ALPACA_TRADING_URL="ws://trading",
    )
    for name in (
        "REDIS_URL",
        "ALPACA_LIVE_CONFIRMED=true",
        "ALPACA_API_SECRET",
        "ALPACA_DATA_STREAM_URL",
        "ALPACA_TRADING_STREAM_URL",
        "ALPACA_DATA_URL",
        "ALPACA_TRADING_URL",
    ):
        assert name in message
    assert "hunter2" not in message


def test_live_trading_needs_both_settings_together(monkeypatch: pytest.MonkeyPatch) -> None:
    problems(monkeypatch, ALPACA_PAPER="false")
    settings = load(monkeypatch, ALPACA_PAPER="false", ALPACA_LIVE_CONFIRMED="true")
    assert settings.trading_url == "https://api.alpaca.markets"
    assert settings.trading_stream_url == "wss://api.alpaca.markets/stream"


def test_a_confirmation_alone_stays_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, ALPACA_LIVE_CONFIRMED="true").alpaca_paper


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("ALPACA_TRADING_URL", "https://api.alpaca.markets/"),
        ("ALPACA_TRADING_STREAM_URL", "wss://API.alpaca.markets/stream"),
    ],
)
def test_the_live_accounts_address_is_not_paper(monkeypatch, name: str, url: str) -> None:
    """Else it would say PAPER, and trade real money."""
    assert f"{name} is the live account's" in problems(monkeypatch, **{name: url})
    load(monkeypatch, **{name: url, "ALPACA_PAPER": "false", "ALPACA_LIVE_CONFIRMED": "true"})


@pytest.mark.parametrize("url", ["http://[bad", "https://host:port"])
def test_an_address_that_is_none_raises_nothing_else(monkeypatch, url: str) -> None:
    try:
        load(monkeypatch, ALPACA_TRADING_URL=url)
    except SettingsError as error:
        assert "ALPACA_TRADING_URL" in str(error)  # noqa: PT017  (either is right)


def test_no_secret_shows_in_any_repr_or_message(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch,
        ALPACA_API_KEY="key-hunter2",
        ALPACA_API_SECRET="secret-hunter2",
        REDIS_PASSWORD="redis-hunter2",
    )
    shown = f"{settings!r} {settings} {settings.redis_config()!r} {settings.model_dump()}"
    assert "hunter2" not in shown
    by_url = load(monkeypatch, REDIS_URL="redis://:url-hunter2@host/3")
    assert "hunter2" not in f"{by_url!r} {by_url.redis_config()!r}"
    assert "hunter2" not in problems(monkeypatch, REDIS_PORT="hunter2-is-no-port"[8:])


def test_redis_is_taken_from_the_url_or_from_its_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = load(monkeypatch, REDIS_HOST="db", REDIS_PORT="6390", REDIS_DB="2", REDIS_PASSWORD="p")
    config = parts.redis_config("me")
    assert (config.address, config.password, config.client_name) == ("db:6390/2", "p", "me")
    assert parts.names_a_redis
    by_url = load(monkeypatch, REDIS_URL="rediss://u:p%40@host:7000/3", BUS_PREFIX="PAPER_")
    config = by_url.redis_config()
    assert (config.address, config.username, config.password) == ("host:7000/3", "u", "p@")
    assert (config.tls, config.bus_prefix) == (True, "PAPER_")


def test_an_empty_password_means_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(monkeypatch, REDIS_PASSWORD="").redis_config().password is None


@pytest.mark.parametrize(
    ("url", "stocks", "crypto"),
    [
        (
            "ws://127.0.0.1:8765",
            "ws://127.0.0.1:8765/v2/sip",
            "ws://127.0.0.1:8765/v1beta3/crypto/us",
        ),
        ("wss://host/v2/boats", "wss://host/v2/boats", "wss://host/v1beta3/crypto/us"),
    ],
)
def test_a_stream_address_is_a_host_or_a_whole_endpoint(monkeypatch, url, stocks, crypto) -> None:
    settings = load(monkeypatch, ALPACA_DATA_STREAM_URL=url, ALPACA_DATA_FEED="SIP")
    assert (settings.stock_stream_url, settings.crypto_stream_url) == (stocks, crypto)


def test_the_trading_stream_follows_the_trading_address(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, ALPACA_TRADING_URL="http://127.0.0.1:8765/")
    assert settings.trading_stream_url == "ws://127.0.0.1:8765/stream"


def test_the_environment_goes_before_the_file_and_overrides_before_both(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = tmp_path / ".env"
    file.write_text("REDIS_HOST=from-file\nREDIS_PORT=7001\nREDIS_DB=1\nSOMETHING_ELSE=1\n")
    monkeypatch.setenv("REDIS_HOST", "from-environment")
    settings = load_settings(file, redis_port=7002)
    assert (settings.redis_host, settings.redis_port, settings.redis_db) == (
        "from-environment",
        7002,
        1,
    )


def test_sentinels_say_where_redis_is(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch,
        REDIS_SENTINELS="one:7000, two ,[::1]:7001",
        REDIS_SENTINEL_MASTER="bus",
        REDIS_SENTINEL_PASSWORD="watcher-hunter2",
        REDIS_PASSWORD="p",
        REDIS_DB="2",
    )
    config = settings.redis_config()
    assert config.sentinels == (("one", 7000), ("two", 26379), ("::1", 7001))
    assert (config.sentinel_master, config.password, config.db) == ("bus", "p", 2)
    assert config.address == "bus/2 (Sentinel one:7000,two:26379,::1:7001)"
    assert settings.names_a_redis, "so none is embedded"
    assert "hunter2" not in f"{settings!r} {config!r}"


@pytest.mark.parametrize(
    ("environment", "complaint"),
    [
        ({"REDIS_SENTINELS": "a:1"}, "REDIS_SENTINELS and REDIS_SENTINEL_MASTER go together"),
        ({"REDIS_SENTINEL_MASTER": "m"}, "REDIS_SENTINELS and REDIS_SENTINEL_MASTER go together"),
        (
            {"REDIS_SENTINELS": "a:x", "REDIS_SENTINEL_MASTER": "m"},
            "REDIS_SENTINELS must look like host:port,host:port",
        ),
        (
            {
                "REDIS_SENTINELS": "a:1",
                "REDIS_SENTINEL_MASTER": "m",
                "REDIS_URL": "redis://host",
            },
            "REDIS_SENTINELS say where Redis is, and so does REDIS_URL",
        ),
        ({"REDIS_TLS": "true", "REDIS_TLS_CA_FILE": "/nowhere.pem"}, "there is no file /nowhere"),
        ({"REDIS_TLS_CA_FILE": __file__}, "REDIS_TLS_CA_FILE is set, but TLS is not"),
    ],
)
def test_what_does_not_go_together_is_named(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], complaint: str
) -> None:
    assert complaint in problems(monkeypatch, **environment)


def test_a_ca_file_goes_with_a_url_too(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(monkeypatch, REDIS_URL="rediss://host", REDIS_TLS_CA_FILE=__file__)
    assert settings.redis_config().tls_ca_file == __file__


def test_it_is_frozen() -> None:
    settings = load_settings(env_file=None)
    with pytest.raises(ValueError, match="frozen"):
        settings.redis_host = "elsewhere"


def test_the_bounds_reach_the_journal(monkeypatch: pytest.MonkeyPatch) -> None:
    bounds = load(
        monkeypatch, JOURNAL_MAX_PER_TICKER="500", JOURNAL_MAX_MB="8", ORDER_LOG_DAYS="2"
    ).journal_bounds()
    assert (bounds.max_per_ticker, bounds.max_mb, bounds.order_days) == (500, 8, 2)
