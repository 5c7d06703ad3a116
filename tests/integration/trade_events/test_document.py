"""Every code block of the document (with `main` for `app`), as it stands there, on real servers."""

from __future__ import annotations

import functools
import io
import re
import shlex
import signal
import threading
import warnings
from collections.abc import Callable
from importlib.metadata import requires
from pathlib import Path
from typing import Any

import pytest
import redis
import yaml
from alpaca.trading.client import TradingClient

from main.embedded_valkey import EmbeddedValkey
from main.settings import LoadEnvironmentVariables
from main.trade_events import EventBusFactory, RedisEventBus, TradeEvent, TradeEventType
from main.trader.trade_executor import TradeExecutor
from main.utils.redis.config import RedisConfig
from tests.conftest import wait_for
from tests.integration.trade_events.conftest import start_server

pytestmark = pytest.mark.integration

DOCUMENT = Path(__file__).with_name("document_001.md").read_text("utf-8")
BLOCKS = re.findall(r"^### (.+?)$|^## (.+?)$|^```(\w*)\n(.*?)^```", DOCUMENT, re.M | re.S)


def blocks_of(language: str) -> list[tuple[str, str]]:
    """(heading, code), in the document's order."""
    found, heading = [], ""
    for small, large, kind, code in BLOCKS:
        heading = small or large or heading
        if code and kind == language:
            found.append((heading, code))
    return found


PYTHON = blocks_of("python")


class Reader:
    """Runs blocks as the document's reader would: one after the other, in one namespace."""

    def __init__(self, folder: Path, config: RedisConfig) -> None:
        (folder / ".env").write_text(_env_text(config.port), "utf-8")
        self.printed = io.StringIO()
        self.names: dict[str, Any] = {
            "EventBusFactory": EventBusFactory,
            "TradeEvent": TradeEvent,
            "TradeEventType": TradeEventType,
            "env_config": LoadEnvironmentVariables(folder / ".env"),
            "redis": redis,
        }
        self.names["print"] = functools.partial(print, file=self.printed)
        self.names["handle_event"] = lambda event: self.names["print"](
            "heard", event.event_type.value
        )
        self.names["event_bus"] = EventBusFactory.create_from_env(self.names["env_config"])
        self._buses = [self.bus]

    @property
    def bus(self) -> RedisEventBus:
        bus: RedisEventBus = self.names["event_bus"]
        return bus

    def run(self, code: str) -> str:
        exec(compile(code, "document_001.md", "exec"), self.names)
        if self.bus not in self._buses:
            self._buses.append(self.bus)
        return self.printed.getvalue()

    def close(self) -> None:
        for bus in self._buses:
            bus.close()


def _env_text(port: int) -> str:
    ((_, code),) = blocks_of("env")
    assert "REDIS_PORT=6379" in code
    host = code.replace("REDIS_HOST=localhost", "REDIS_HOST=127.0.0.1")
    return host.replace("REDIS_PORT=6379", f"REDIS_PORT={port}")


@pytest.fixture
def reader(tmp_path: Path, config: RedisConfig, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.chdir(tmp_path)
    for name in ("REDIS_URL", "REDIS_HOST", "REDIS_PORT", "REDIS_DB", "REDIS_PASSWORD"):
        monkeypatch.delenv(name, raising=False)
    reader = Reader(tmp_path, config)
    yield reader
    reader.close()


def block(heading: str) -> str:
    (code,) = [code for name, code in PYTHON if name == heading]
    return code


def in_background(call: Callable[[], Any]) -> threading.Thread:
    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


def test_no_block_of_the_document_is_left_out() -> None:
    headings = [name for name, _ in PYTHON]
    assert headings == [
        "Usage in Code",
        "Using Helper Methods",
        "Custom Events",
        "Subscribe to Specific Event Type",
        "Subscribe to All Events",
        "Non-blocking Subscription (Threading)",
        "Querying State",
        "Integration with TradeExecutor",
        "Error Handling",
        "Context Manager",
    ], "each has its test below"
    others = {kind for *_, kind, code in BLOCKS if code}
    assert others == {"", "env", "python", "bash", "yaml"}


def test_configuration_and_usage_in_code(reader: Reader) -> None:
    assert reader.names["env_config"].REDIS_HOST == "127.0.0.1"
    assert reader.names["env_config"].REDIS_DB == 0
    assert reader.names["env_config"].REDIS_PASSWORD == ""
    reader.run(block("Usage in Code"))
    order = reader.bus.get_order("XAUUSD", "12345")
    assert order is not None
    assert (order["status"], order["price"], order["volume"]) == ("pending", 2000.5, 0.1)


def test_using_helper_methods(reader: Reader) -> None:
    reader.run(block("Using Helper Methods"))
    order = reader.bus.get_order("XAUUSD", "12345")
    assert order is not None
    assert (order["sl"], order["tp"]) == (1995.0, 2010.0)
    position = reader.bus.get_position("XAUUSD", "67890")
    assert position is not None
    assert (position["status"], position["exit_price"], position["pnl"]) == ("closed", 2010.0, 95.0)
    assert reader.bus.get_active_positions("XAUUSD") == []


def test_custom_events(reader: Reader) -> None:
    """With `datetime.utcnow().isoformat()`, which says no zone."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # of utcnow, since Python 3.12
        reader.run(block("Custom Events"))
    (event,) = reader.bus.replay("BTCUSD")
    assert event.timestamp.endswith("Z")
    assert event.data["trade_id"] == "T123"
    assert (event.correlation_id, event.source) == ("corr-123", "strategy-evaluator")


@pytest.mark.parametrize(
    ("heading", "expected"),
    [
        ("Subscribe to Specific Event Type", ["New order: 12345 at 2000.5"]),
        (
            "Subscribe to All Events",
            [
                "Event: order.created for XAUUSD",
                "Data: {'order_id': '12345', 'order_type': 'BUY', 'price': 2000.5, 'volume': 0.1}",
            ],
        ),
        ("Non-blocking Subscription (Threading)", ["heard order.created"]),
    ],
)
def test_subscribing(reader: Reader, heading: str, expected: list[str]) -> None:
    thread = in_background(lambda: reader.run(block(heading)))
    assert reader.bus.wait_until_subscribed(10)
    event = TradeEvent.create_order_created("XAUUSD", "12345", "BUY", price=2000.50, volume=0.1)
    reader.bus.publish(event)
    wait_for(lambda: expected[-1] in reader.printed.getvalue())
    reader.bus.stop()
    thread.join(10)
    assert not thread.is_alive(), "stop ends what blocks"
    if listener := reader.names.get("listener_thread"):
        listener.join(10)
    assert [line for line in expected if line not in reader.printed.getvalue()] == []


def test_querying_state(reader: Reader) -> None:
    reader.bus.publish_many(
        [
            TradeEvent.create_order_created("XAUUSD", "12345", "BUY", 2000.5, 0.1),
            TradeEvent.create_position_opened("XAUUSD", "67890", 2000.5, 0.1, "LONG"),
        ]
    )
    printed = reader.run(block("Querying State"))
    assert "{'position_id': '67890', 'status': 'active', " in printed
    assert "{'order_id': '12345', 'status': 'pending', " in printed
    assert "Position 67890: 0.1 lots" in printed


def test_integration_with_trade_executor(reader: Reader) -> None:
    """What it then publishes by itself is shown by the tests of `main.trader`."""
    reader.names |= {
        "executor_config": {},
        "client": TradingClient("key", "secret", paper=True),  # it connects nothing yet
        "logger": None,
    }
    reader.run(block("Integration with TradeExecutor"))
    assert isinstance(reader.names["trade_executor"], TradeExecutor)


def test_error_handling_with_a_server_that_answers(reader: Reader) -> None:
    reader.names["event"] = TradeEvent.create_signal_validated("A", 1)
    printed = reader.run(block("Error Handling"))
    assert printed == ""
    assert len(list(reader.bus.replay("A"))) == 1


def test_error_handling_with_nobody_there(reader: Reader) -> None:
    """The bus that was connected before is asked whether it still is."""
    server = start_server("valkey")
    here = reader.names["event_bus"] = RedisEventBus(
        RedisConfig(host="127.0.0.1", port=server.port, timeout_s=0.5)
    )
    server.stop()

    class Nowhere:
        REDIS_HOST, REDIS_PORT, REDIS_DB, REDIS_PASSWORD = "127.0.0.1", 1, 0, ""

    reader.names["env_config"] = Nowhere()
    printed = reader.run(block("Error Handling"))
    assert printed.splitlines() == [
        "Cannot connect to Redis. Is the Docker container running?",
        "Redis connection lost",
    ]
    here.close()


def test_context_manager(reader: Reader) -> None:
    code = block("Context Manager")
    assert "create_order_created(...)" in code
    filled_in = code.replace("(...)", '("XAUUSD", "1", "BUY", 2000.5, 0.1)')
    outside = reader.bus
    reader.run(filled_in)
    assert not reader.bus.is_connected, "the block has closed it"
    assert outside.get_order("XAUUSD", "1") is not None


def test_channel_names(reader: Reader) -> None:
    assert "trades:{symbol}:{event_type}" in DOCUMENT
    for channel in ("XAUUSD:order.created", "BTCUSD:position.opened", "XAUUSD:signal.generated"):
        symbol, _, kind = channel.partition(":")
        assert f"`trades:{channel}`" in DOCUMENT
        assert reader.bus.names.channel(symbol, TradeEventType(kind)) == f"trades:{channel}"


def test_every_event_type_of_the_document_is_there() -> None:
    named = re.findall(r"^- `([A-Z_]+)` - ", DOCUMENT, re.M)
    assert sorted(named) == sorted(kind.name for kind in TradeEventType)


def test_requirements() -> None:
    """`pip install redis` came with the package."""
    assert ("Requirements", "pip install redis\n") in blocks_of("bash")
    needed = requires("tickerbus") or []
    assert any(re.match(r"redis[<>=!~]", line) for line in needed)


def test_the_documents_container_serves_the_bus() -> None:
    """No container engine runs here: the command of its compose file does, on a free port."""
    ((_, code),) = blocks_of("yaml")
    service = yaml.safe_load(code)["services"]["redis"]
    assert service["image"] == "redis:7-alpine"
    assert ("Redis Docker Container Setup", "docker-compose up -d redis\n") in blocks_of("bash")
    program, *arguments = shlex.split(service["command"])
    assert program == "redis-server"
    server: EmbeddedValkey = start_server("redis-server", *arguments)
    try:
        with RedisEventBus(RedisConfig(host="127.0.0.1", port=server.port)) as bus:
            event = TradeEvent.create_order_created("XAUUSD", "1", "BUY", 1, 1)
            assert bus.publish(event).status == "published"
            server.kill(signal.SIGTERM)
            server.start()
            assert bus.get_order("XAUUSD", "1") is not None, "--appendonly yes"
    finally:
        server.stop()
