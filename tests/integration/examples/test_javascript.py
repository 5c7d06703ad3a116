"""The consumer in JavaScript keeps the rules of docs/clients.md, on a real Valkey."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import redis

from main.embedded_valkey import EmbeddedValkey
from main.utils.redis.batch import JournalBounds
from main.utils.redis.config import RedisConfig
from main.utils.redis.constants import CHANNELS
from main.utils.redis.publisher import RedisPublisher
from main.utils.redis.subscriber import RedisSubscriber
from tests.conftest import wait_for
from tests.integration.examples.processes import REPOSITORY, Process, environment
from tests.integration.utils.redis.conftest import order, price
from tests.integration.utils.redis.played_broker import PlayedBroker

pytestmark = pytest.mark.integration

OLDEST_NODE = 20


@pytest.fixture(scope="session")
def javascript(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The example's folder with ioredis in it, as `npm install` makes it."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("node or npm is missing: install Node.js 20 or newer to test the JavaScript")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.strip().lstrip("v").split(".")[0]) < OLDEST_NODE:
        pytest.skip(f"node is {version.strip()}: ioredis needs 20 or newer")
    folder = tmp_path_factory.mktemp("javascript") / "consumer"
    shutil.copytree(
        REPOSITORY / "examples" / "javascript",
        folder,
        ignore=shutil.ignore_patterns("node_modules"),
    )
    command = [npm, "install", "--no-audit", "--no-fund", "--no-package-lock"]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, text=True, timeout=100, check=False
    )
    if done.returncode:
        pytest.skip(f"npm could not install ioredis: {done.stderr.strip()[-300:]}")
    return folder


@pytest.fixture
def config(own_valkey: EmbeddedValkey) -> RedisConfig:
    return RedisConfig(host="127.0.0.1", port=own_valkey.port)


@pytest.fixture
def admin(config: RedisConfig) -> Iterator[redis.Redis]:
    client = config.client()
    yield client
    client.close()


@pytest.fixture
def publisher(config: RedisConfig) -> Iterator[RedisPublisher]:
    with RedisPublisher(config, JournalBounds(max_per_ticker=100)) as made:
        made.open_epoch()
        yield made


@pytest.fixture
def broker(config: RedisConfig, publisher: RedisPublisher) -> Iterator[PlayedBroker]:
    with RedisSubscriber(config) as bus:
        yield PlayedBroker(bus, publisher)


@pytest.fixture
def consumer(
    javascript: Path, own_valkey: EmbeddedValkey, broker: PlayedBroker
) -> Iterator[Callable[..., Process]]:
    """`consumer("AAPL")`: the program, listening."""
    started: list[Process] = []

    def run(*tickers: str) -> Process:
        env = environment(
            REDIS_URL=f"redis://127.0.0.1:{own_valkey.port}", CLIENT_ID="js", LEASE_S="3"
        )
        command = ["consumer.mjs", *tickers]
        started.append(Process(command, javascript, env, program="node"))
        wait_for(lambda: broker.asked()["subscribe", tickers[-1]] or started[-1].lines)
        return started[-1]

    yield run
    for process in started:
        process.end()


def ids(process: Process, kind: str = "price") -> list[int]:
    """The numbers of what was printed, in the order of the lines."""
    words = [line.split() for line in process.lines]
    return [int(word[1].partition("-")[2]) for word in words if word[2:3] == [kind]]


def test_it_prints_prices_and_orders_registers_renews_and_gives_back(
    consumer: Callable[..., Process], publisher: RedisPublisher, broker: PlayedBroker
) -> None:
    process = consumer("AAPL", "MSFT")
    publisher.publish_batch([price("AAPL", 1), price("MSFT", 2), order("AAPL"), price("TSLA")])
    process.wait_for_line(" order ")
    wait_for(lambda: len(process.lines) == 3)
    assert sorted(line.split()[0] for line in process.lines) == ["AAPL", "AAPL", "MSFT"]
    assert broker.requests[0] == {
        "action": "subscribe",
        "ticker": "AAPL",
        "client_id": "js",
        "lease_s": 3,
    }
    wait_for(lambda: broker.asked()["subscribe", "AAPL"] >= 3, what="renewals, one a second")
    process.signal(signal.SIGINT)
    assert process.exit_code() == 0
    wait_for(lambda: broker.asked()["unsubscribe", "MSFT"] == 1)


def test_what_was_missed_while_cut_off_comes_from_the_journal_once_and_in_order(
    consumer: Callable[..., Process], publisher: RedisPublisher, admin: redis.Redis
) -> None:
    process = consumer("AAPL")
    for begin in range(1, 101, 10):
        publisher.publish_batch([price(number=n) for n in range(begin, begin + 5)])
        admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
        publisher.publish_batch([price(number=n) for n in range(begin + 5, begin + 10)])
    wait_for(lambda: len(ids(process)) >= 100)
    assert ids(process) == list(range(1, 101))
    assert not ids(process, "gap")


def test_a_lost_last_message_is_noticed_by_the_heartbeat(
    consumer: Callable[..., Process],
    publisher: RedisPublisher,
    admin: redis.Redis,
    broker: PlayedBroker,
) -> None:
    """Written into the journal, and published to nobody."""
    process = consumer("AAPL")
    publisher.publish_batch([price()])
    wait_for(lambda: ids(process) == [1])
    lost = {"type": "price", "symbol": "AAPL", "epoch": publisher.epoch, "seq": 2, "price": 1.5}
    admin.xadd("TICKER_LOG_AAPL", {"m": json.dumps(lost)}, id=f"{publisher.epoch}-2")
    broker.announce(publisher.epoch, tickers={"AAPL": {"seq": 2, "state": "LIVE"}})
    wait_for(lambda: ids(process) == [1, 2])


def test_what_no_journal_has_any_more_is_told_as_a_gap_but_orders_are_found(
    consumer: Callable[..., Process], publisher: RedisPublisher, admin: redis.Redis
) -> None:
    process = consumer("AAPL")
    publisher.publish_batch([price()])
    wait_for(lambda: ids(process) == [1])
    process.signal(signal.SIGSTOP)
    admin.execute_command("CLIENT", "KILL", "TYPE", "pubsub")
    publisher.publish_batch([order()])
    publisher.publish_batch([price(number=n) for n in range(3, 8)])
    admin.xtrim("TICKER_LOG_AAPL", maxlen=2, approximate=False)
    process.signal(signal.SIGCONT)
    wait_for(lambda: ids(process)[-1:] == [7])
    assert [line.split()[2] for line in process.lines] == [
        "price",
        "order",
        "gap",
        "price",
        "price",
    ]
    assert ids(process, "order") == [2]
    assert ids(process) == [1, 6, 7]
    assert "lost 3" in process.wait_for_line(" gap ")


def test_a_new_brokers_messages_follow_and_the_ticker_is_registered_again(
    consumer: Callable[..., Process],
    publisher: RedisPublisher,
    broker: PlayedBroker,
    config: RedisConfig,
) -> None:
    process = consumer("AAPL")
    publisher.publish_batch([price()])
    broker.announce(publisher.epoch)
    wait_for(lambda: ids(process) == [1])
    with RedisPublisher(config) as second:
        second.open_epoch()
        second.publish_batch([price(), price(number=2)])
        wait_for(lambda: ids(process) == [1, 1, 2])
        before = broker.asked()["subscribe", "AAPL"]
        broker.announce(second.epoch)
        wait_for(lambda: broker.asked()["subscribe", "AAPL"] > before)
        # The first one wakes up again, as a plain publisher: it was superseded.
        stale = {"type": "price", "symbol": "AAPL", "epoch": publisher.epoch, "seq": 2, "price": 9}
        second.publish(CHANNELS.get_ticker_channel("AAPL"), stale)
        second.publish_batch([price(number=3)])
        wait_for(lambda: ids(process) == [1, 1, 2, 3])
    assert not ids(process, "gap")


def test_a_rejected_ticker_ends_it_with_the_brokers_reason(
    consumer: Callable[..., Process], broker: PlayedBroker
) -> None:
    process = consumer("BAD")
    assert process.exit_code() == 1
    assert process.lines == ["BAD is not followed, unknown_ticker: "]
