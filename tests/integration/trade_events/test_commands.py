"""`events …` as a person types it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

from main.__main__ import main
from main.commands.events_tail import BEGUN, NONE
from main.embedded_valkey import EmbeddedValkey
from main.events_bridge import BridgeConfig, EventsBridge
from main.trade_events import RedisEventBus, TradeEvent
from main.utils.redis.config import RedisConfig
from tests.conftest import wait_for

pytestmark = pytest.mark.integration

ROOT = Path(__file__).parents[3]


class Ended(NamedTuple):
    returncode: int
    stdout: str
    stderr: str


Types = Callable[..., Ended]


def environment(port: int) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("REDIS_")}
    return kept | {"REDIS_HOST": "127.0.0.1", "REDIS_PORT": str(port)}


@pytest.fixture
def here(redis_config: RedisConfig) -> Iterator[RedisEventBus]:
    with RedisEventBus(redis_config) as bus:
        yield bus


@pytest.fixture
def types(
    valkey_server: EmbeddedValkey,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Types:
    """Types a command, in this process."""
    monkeypatch.chdir(tmp_path)

    def run(line: str, port: int | None = None) -> Ended:
        for name in [name for name in os.environ if name.startswith("REDIS_")]:
            monkeypatch.delenv(name)
        for name, value in environment(port or valkey_server.port).items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["tickerbus", "events", *line.split()])
        code = 0
        capsys.readouterr()
        try:
            main()
        except SystemExit as ended:
            code = int(ended.code or 0)
        return Ended(code, *capsys.readouterr())

    return run


def publish_some(bus: RedisEventBus) -> None:
    bus.publish_many(
        [
            TradeEvent.create_order_created("XAUUSD", "12345", "BUY", 2000.5, 0.1, sl=1995.0),
            TradeEvent.create_order_created("AAPL", "77", "market", None, 10, account="PA1"),
            TradeEvent.create_order_cancelled("AAPL", "77", account="PA1"),
            TradeEvent.create_order_cancelled("AAPL", "78", account="PA1"),
            TradeEvent.create_position_opened("AAPL", "p1", 187.2, 4, "LONG"),
        ]
    )


def test_orders_positions_and_replay_show_what_there_is(here: RedisEventBus, types: Types) -> None:
    assert types("orders").stdout == "no open orders\n"
    publish_some(here)
    shown = types("orders")
    assert shown.returncode == 0
    assert "12345" in shown.stdout
    assert "pending" in shown.stdout
    assert "77" not in shown.stdout
    everything = [json.loads(line) for line in types("orders --all --json").stdout.splitlines()]
    assert [(o["order_id"], o["status"]) for o in everything] == [
        ("12345", "pending"),
        ("77", "cancelled"),
    ]
    assert "p1" in types("positions AAPL").stdout
    assert types("positions XAUUSD").stdout == "no active positions\n"
    lines = types("replay AAPL --since 1h").stdout.splitlines()
    assert len(lines) == 4
    assert lines[2].endswith("ANOMALY unknown_order")
    mistyped = types("replay APPL")
    assert (mistyped.returncode, mistyped.stdout) == (0, "")
    assert mistyped.stderr == "no such event of APPL in the log\n"
    last = json.loads(types("replay --json").stdout.splitlines()[-1])
    assert (last["event_type"], last["data"]["position_id"]) == ("position.opened", "p1")


def test_hostile_text_reaches_no_terminal(here: RedisEventBus, types: Types) -> None:
    hostile = "[red]x[/red]\x1b[2Jy"
    here.publish(TradeEvent.create_order_created("AAPL", "1", hostile, 1, 1, **{"a\x1bb": 1}))
    here._failures.keep_handlers(next(here.replay("AAPL")), hostile, RuntimeError(hostile))
    for line in ("orders", "orders --all", "replay", "failed"):
        shown = types(line).stdout
        assert "\x1b" not in shown
        assert "[red]x[/red]" in shown, "and no markup is obeyed"


def test_failed_shows_what_failed_and_why(here: RedisEventBus, types: Types) -> None:
    assert types("failed").stdout == "nothing failed\n"
    event = TradeEvent.create_signal_validated("AAPL", "s1")
    here._failures.keep_handlers(event, "my_handler", RuntimeError("oh"))
    shown = types("failed").stdout
    assert "signal.validated" in shown
    assert "handler my_handler, tried once" in shown
    assert "RuntimeError: oh" in shown
    (line,) = types("failed --json").stdout.splitlines()
    assert json.loads(line)["event"]["data"] == {"signal_id": "s1"}


def test_config_shows_and_changes_what_is_in_force(here: RedisEventBus, types: Types) -> None:
    assert "250,000" in types("config").stdout
    assert "5,000" in types("config log_max_events=5000 groups=risk").stdout
    assert (here.config().log_max_events, here.config().groups) == (5_000, ("risk",))
    types("config log_max_events= groups=")
    assert (here.config().log_max_events, here.config().groups) == (250_000, ())


def test_rebuild_says_whether_they_agree_and_puts_it_right(
    here: RedisEventBus, types: Types
) -> None:
    publish_some(here)
    ended = types("rebuild")
    assert ended.returncode == 0
    assert "the live state is what the log says" in ended.stdout
    here._client.hset("order:AAPL:77", "status", "filled")
    ended = types("rebuild")
    assert ended.returncode == 1
    assert "order:AAPL:77: status" in ended.stdout
    assert types("rebuild --apply").returncode == 1
    assert types("rebuild").returncode == 0


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("orders A*", "symbol: 'A*' cannot name a channel"),
        ("replay AAPL --since later", "--since later: give how long ago (90s, 45m, 2h, 1d), or an"),
        ("replay AAPL --since xd", "--since xd: give how long ago (90s, 45m, 2h, 1d), or an"),
        ("replay AAPL --from-id x", "from_id: 'x' is no log id"),
        ("config max_deliveries=0", "max_deliveries: must be a whole number from 1 to 1,000"),
        ("config invented=1", "invented: no such setting; there are"),
        ("config max_deliveries", "write NAME=VALUE"),
    ],
)
def test_a_mistake_is_one_message_and_exit_code_2(
    here: RedisEventBus, types: Types, line: str, complaint: str
) -> None:
    ended = types(line)
    assert ended.returncode == 2
    assert complaint in ended.stderr
    assert "Traceback" not in ended.stderr


def test_nobody_there_is_one_message_and_exit_code_2(types: Types) -> None:
    ended = types("orders", port=1)
    assert ended.returncode == 2
    assert "Redis at 127.0.0.1:1/0 is not available" in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("end", [signal.SIGINT, signal.SIGTERM])
def test_tail_prints_events_as_they_happen_until_it_is_ended(
    here: RedisEventBus, tmp_path: Path, end: signal.Signals
) -> None:
    command = [sys.executable, "-m", "main", "events", "tail", "AAPL"]
    printed = tmp_path / "printed"
    port = here._config.port
    with printed.open("w") as out:
        process = subprocess.Popen(
            command,
            env=environment(port),
            cwd=ROOT,
            stdout=out,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    try:
        channel = "trades:AAPL:order.created"
        wait_for(lambda: here._client.pubsub_numsub(channel)[0][1] == 1, 30)
        publish_some(here)
        wait_for(lambda: len(printed.read_text().splitlines()) >= 4, 20)
        process.send_signal(end)
        assert process.wait(10) == 0
    finally:
        process.kill()
        process.wait(10)
    lines = printed.read_text().splitlines()
    assert len(lines) == 4
    assert "order.created" in lines[0]
    assert "XAUUSD" not in printed.read_text()


def test_tail_says_that_no_bridge_runs_once_and_when_one_begins(
    here: RedisEventBus, redis_config: RedisConfig, tmp_path: Path
) -> None:
    """Else it is silent for ever, and nobody knows why."""
    said, printed = tmp_path / "said", tmp_path / "printed"
    with said.open("w") as errors, printed.open("w") as out:
        process = subprocess.Popen(
            [sys.executable, "-m", "main", "events", "tail"],
            env=environment(redis_config.port),
            cwd=ROOT,
            stdout=out,
            stderr=errors,
        )
    try:
        wait_for(lambda: NONE in said.read_text(), 30)
        with EventsBridge(BridgeConfig(redis=redis_config)) as bridge:
            running = threading.Thread(target=bridge.run)
            running.start()
            try:
                wait_for(lambda: BEGUN in said.read_text(), 20)
            finally:
                bridge.stop()
                running.join(10)
        wait_for(lambda: said.read_text().count(NONE) == 2, 20)
    finally:
        process.terminate()
        assert process.wait(10) == 0
    assert said.read_text().count(BEGUN) == 1
    assert printed.read_text() == "", "what is said is no event"
