"""Planted secrets, and whatever can be said aloud: none of it may contain one."""

from __future__ import annotations

import dataclasses
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from main.acl import AclRequest
from main.alpaca_broker import AlpacaBroker, BrokerConfig, BrokerRefused
from main.alpaca_sim import Credentials, LocalAlpaca, MarketRules, SimConfig
from main.scale_t.venue import Endpoints
from main.settings import SettingsError, load_settings
from main.stack import StackConfig, alpaca_access
from tests.conftest import wait_for
from tests.integration.cli.conftest import PATIENCE_S, Person
from tests.integration.security.conftest import Users, settings_for

pytestmark = pytest.mark.integration

MARK = "hunter2"  # in every planted secret
KEY, SECRET = f"PK{MARK}KEY", f"alpaca-{MARK}-secret"
REDIS_PASSWORD = f"redis-{MARK}-password"
SCALE_T = "scale-t run --ticker AAPL --max-position 10"


@pytest.fixture(scope="module")
def alpaca() -> Iterator[LocalAlpaca]:
    """It knows the planted keys, and no others."""
    config = SimConfig(credentials=Credentials(KEY, SECRET), market=MarketRules(default_rate=5))
    with LocalAlpaca(config) as sim:
        yield sim


class Suspect(Person):
    """Whatever this person's commands say is kept."""

    def __init__(self, folder: Path, alpaca: LocalAlpaca, redis_port: int) -> None:
        super().__init__(folder)
        self.folder, self.said = folder, ""
        self.environment |= {
            "ALPACA_API_KEY": KEY,
            "ALPACA_API_SECRET": SECRET,
            "ALPACA_DATA_STREAM_URL": f"ws://127.0.0.1:{alpaca.address.port}",
            "ALPACA_TRADING_STREAM_URL": alpaca.trading_stream_url,
            "ALPACA_DATA_URL": alpaca.url,
            "ALPACA_TRADING_URL": alpaca.url,
            "REDIS_HOST": "127.0.0.1",
            "REDIS_PORT": str(redis_port),
            "REDIS_PASSWORD": REDIS_PASSWORD,
            "LOG_LEVEL": "debug",
        }

    def runs_python(self, text: str) -> subprocess.Popen[str]:
        """A program of the user's own."""
        return subprocess.Popen(
            [sys.executable, "-c", text],
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def hear(self, *processes: subprocess.Popen[str]) -> list[int]:
        """What each said until its end; their exit codes."""
        for process in processes:
            out, err = process.communicate(timeout=PATIENCE_S)
            self.said += f"\n{process.args}\n{out}{err}"
        return [process.returncode for process in processes]

    def check(self, *words: str) -> None:
        """`words` are what must have been said: a silent program would prove nothing."""
        for word in words:
            assert word in self.said, self.said
        leaks = [line for line in self.said.splitlines() if MARK in line]
        assert leaks == []


@pytest.fixture
def redis_with_password(users: Users) -> Users:
    users.admin.execute_command(
        "ACL", "SETUSER", "default", "on", "resetpass", f">{REDIS_PASSWORD}", "~*", "&*", "+@all"
    )
    return users


@pytest.fixture
def suspect(tmp_path: Path, alpaca: LocalAlpaca, redis_with_password: Users) -> Suspect:
    return Suspect(tmp_path, alpaca, redis_with_password.port)


def test_nothing_is_said_while_all_goes_well(
    suspect: Suspect, redis_with_password: Users, alpaca: LocalAlpaca
) -> None:
    """Nor anything kept in Redis, published on any channel, or shown by `ps`."""
    admin = redis_with_password.admin
    published: list[bytes] = []
    with admin.pubsub(ignore_subscribe_messages=True) as everything:
        everything.psubscribe("*")
        broker = suspect.starts("broker", LOG_FORMAT="json")
        trader = suspect.starts(SCALE_T)

        def hear(words: bytes) -> bool:
            if message := everything.get_message(timeout=0.1):
                published.append(message["data"])
            return any(words in body for body in published)

        wait_for(lambda: hear(b'"type":"order"'), PATIENCE_S, "scale_t trades")
        wait_for(lambda: hear(b'"type":"broker_status"'))
        suspect.hear(suspect.starts("status --all"), suspect.starts("register AAPL"))
        shown = [" ".join(p.cmdline()) for p in suspect.processes()]
        assert len(shown) >= 2
        for process in (trader, broker):
            process.send_signal(signal.SIGTERM)
            suspect.hear(process)
        wait_for(lambda: hear(b'"state":"STOPPED"'))
    kept = [admin.dump(key) + key for key in admin.scan_iter()]
    assert [text for text in shown if MARK in text] == []
    assert [body for body in published + kept if MARK.encode() in body] == []
    suspect.check("broker.running", "accepted", "epoch")


def test_nothing_is_said_of_wrong_keys(suspect: Suspect) -> None:
    wrong = {"ALPACA_API_KEY": f"wrong-{MARK}", "ALPACA_API_SECRET": f"false-{MARK}"}
    codes = suspect.hear(
        suspect.starts("broker", **wrong),
        suspect.starts(SCALE_T, **wrong),
        suspect.starts("demo --seconds 1", **wrong),
    )
    assert codes == [3, 3, 3]
    suspect.check("refuses these keys")


def test_the_broker_itself_says_nothing_of_wrong_keys(
    redis_with_password: Users, alpaca: LocalAlpaca, capsys: pytest.CaptureFixture[str]
) -> None:
    """Neither in its heartbeat nor in its error; the command asks Alpaca before there is one."""
    config = dataclasses.replace(redis_with_password.grant("broker"), password=REDIS_PASSWORD)
    redis_with_password.admin.execute_command("ACL", "SETUSER", "broker", f">{REDIS_PASSWORD}")
    settings = settings_for(config, alpaca, alpaca_api_key=f"x{MARK}", alpaca_api_secret=MARK)
    broker = AlpacaBroker(BrokerConfig.from_settings(settings))
    with redis_with_password.admin.pubsub(ignore_subscribe_messages=True) as heard:
        heard.subscribe("BROKER_STATUS")
        told: list[bytes] = []

        def hear(words: bytes) -> bool:
            if message := heard.get_message(timeout=0.1):
                told.append(message["data"])
            return any(words in body for body in told)

        try:
            with pytest.raises(BrokerRefused) as refused:
                broker.start()
            wait_for(lambda: hear(b"REFUSED"))
        finally:
            broker.stop()
    said = capsys.readouterr()
    assert MARK not in f"{told} {refused.value!r} {broker.reason} {said.out} {said.err}"


def test_nothing_is_said_of_a_redis_that_refuses_or_is_not_there(
    suspect: Suspect, redis_with_password: Users
) -> None:
    refused = {"REDIS_PASSWORD": f"wrong-{MARK}"}
    url = f"redis://someone:{MARK}@127.0.0.1:{redis_with_password.port}/0"
    absent = {"REDIS_PORT": "1"}
    codes = suspect.hear(
        suspect.starts("broker", **refused),
        suspect.starts("status", **refused),
        suspect.starts("register AAPL", REDIS_URL=url),
        suspect.starts("watch AAPL", **absent),
        suspect.starts(SCALE_T, **absent),
        suspect.starts("broker", REDIS_URL=f"redis://:{MARK}@127.0.0.1:1"),
    )
    assert codes == [2] * 6
    suspect.check(
        "invalid username-password", "nobody listens", f"127.0.0.1:{redis_with_password.port}/0"
    )


def test_an_error_that_nobody_foresaw_shows_no_local_variable(suspect: Suspect) -> None:
    """As a command, and in a strategy that has not configured its logs."""
    command = f"""
import sys
from main import __main__ as program
from main.commands import look
def fail(config):
    password = {REDIS_PASSWORD[:9]!r} + {REDIS_PASSWORD[9:]!r}
    raise RuntimeError("unforeseen")
look.next_heartbeat = fail
sys.argv = ["tickerbus", "status"]
program.main()
"""
    strategy = """
from main.utils.redis.config import RedisConfig
from main.utils.redis.subscriber import RedisSubscriber
import os, threading
raised = threading.Event()
config = RedisConfig(host="127.0.0.1", port=int(os.environ["REDIS_PORT"]),
                     password=os.environ["REDIS_PASSWORD"])
def handler(message):
    password = config.password
    try:
        raise RuntimeError("unforeseen")
    finally:
        raised.set()
with RedisSubscriber(config) as bus:
    bus.subscribe("NEWS", handler, decode=lambda channel, body: body)
    bus.start_listening()
    bus._config.client().publish("NEWS", "x")
    raised.wait(10)
"""
    processes = [suspect.runs_python(program) for program in (command, strategy)]
    assert suspect.hear(*processes) == [1, 0]
    assert suspect.said.count("RuntimeError: unforeseen") == 2
    suspect.check("handler.raised", "Traceback")


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("redis_url", f"redis://:{MARK}/x@host:6379/0", "percent-encoded"),
        ("redis_url", f"redis://:{MARK}#x@host:6379/0", "percent-encoded"),
        ("redis_url", f"redis://user:{MARK}?@host:99999", "percent-encoded"),
        ("redis_url", f"redis://host/{MARK}", "percent-encoded"),
        ("redis_url", f"redis://host:{MARK}", "percent-encoded"),
        ("redis_url", f"redis://[{MARK}", "REDIS_URL must look like"),
        ("redis_url", f"http://:{MARK}@host", "REDIS_URL must look like"),
        ("redis_port", MARK, "REDIS_PORT"),
        ("redis_db", MARK, "REDIS_DB"),
        ("redis_tls", MARK, "REDIS_TLS"),
        ("redis_sentinels", f"user:{MARK}@host:1", "REDIS_SENTINELS must look like"),
        ("alpaca_data_url", MARK, "ALPACA_DATA_URL must start with"),
        ("alpaca_trading_stream_url", MARK, "ALPACA_TRADING_STREAM_URL must start with"),
        ("alpaca_data_feed", MARK, "ALPACA_DATA_FEED"),
        ("alpaca_paper", MARK, "ALPACA_PAPER"),
        ("log_level", MARK, "LOG_LEVEL"),
    ],
)
def test_a_secret_in_the_wrong_place_is_not_cited(name: str, value: str, said: str) -> None:
    with pytest.raises(SettingsError) as error:
        load_settings(env_file=None, **{name: value})
    assert said in str(error.value)
    assert MARK not in f"{error.value} {error.value!r} {error.value.problems}"
    assert error.value.__cause__ is None


def test_no_object_shows_a_secret(alpaca: LocalAlpaca) -> None:
    settings = load_settings(
        env_file=None,
        alpaca_api_key=KEY,
        alpaca_api_secret=SECRET,
        redis_password=REDIS_PASSWORD,
        redis_sentinels="a:1",
        redis_sentinel_master="m",
        redis_sentinel_password=REDIS_PASSWORD,
    )
    config = BrokerConfig.from_settings(settings)
    shown: list[Any] = [
        settings,
        settings.redis_config(),
        settings.redis_config().address,
        settings.redis_config().connection(),
        settings.redis_config().client(),
        config,
        AlpacaBroker(config),
        alpaca_access(settings),
        StackConfig(settings=settings, tickers=("AAPL",)),
        Endpoints(
            trading_url="http://127.0.0.1:1", data_url="http://127.0.0.1:1", key=KEY, secret=SECRET
        ),
        AclRequest(role="broker", user="broker"),
    ]
    assert [each for each in shown if MARK in f"{each!r} {each}"] == []
