"""A recording is played: the same bytes, on the same channels, at the same pace."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from main.benchmark import TICKERS, _trade
from main.recorder import player as player_module
from main.recorder.errors import BusInUse
from main.recorder.parts import write_part
from main.recorder.player import Player, ReplayConfig
from main.recorder.recording import Recording
from main.recorder.table import Row, to_table
from main.utils.redis.client import TickerClient
from main.utils.redis.config import RedisConfig
from main.utils.redis.errors import RegistrationRejected
from main.utils.redis.messages import OrderMessage, encode
from main.utils.redis.publisher import RedisPublisher
from main.utils.redis.subscriber import RedisSubscriber
from tests.conftest import wait_for
from tests.integration.recorder.conftest import recording_into
from tests.integration.utils.redis.conftest import order, price
from tests.unit.scale_t.broker_status import status

pytestmark = pytest.mark.integration

PREFIX = "REPLAY_"


@pytest.fixture(autouse=True)
def short_listening(monkeypatch: pytest.MonkeyPatch) -> None:
    """Before it plays, it listens whether a heart beats there."""
    monkeypatch.setattr(player_module, "LISTEN_S", 0.05)


class Heard:
    """Every payload as it comes over the wire, by channel without the prefix."""

    def __init__(self, config: RedisConfig, channels: list[str]) -> None:
        self.payloads: dict[str, list[bytes]] = {channel: [] for channel in channels}
        self.bus = RedisSubscriber(config)
        for channel in channels:
            self.bus.subscribe(
                config.bus_prefix + channel, self.take, decode=lambda channel, body: (channel, body)
            )
        self.bus.start_listening()
        self._prefix = config.bus_prefix

    def take(self, item: tuple[str, bytes]) -> None:
        channel, payload = item
        self.payloads[channel.removeprefix(self._prefix)].append(payload)

    @property
    def count(self) -> int:
        return sum(map(len, self.payloads.values()))


@contextmanager
def hearing(config: RedisConfig, channels: list[str]) -> Iterator[Heard]:
    heard = Heard(config, channels)
    with heard.bus:
        yield heard


@contextmanager
def playing(config: RedisConfig, path: Path, **options: object) -> Iterator[Player]:
    player = Player(config, Recording(path), ReplayConfig(prefix=PREFIX, **options))  # type: ignore[arg-type]
    thread = threading.Thread(target=player.run, name="player")
    thread.start()
    try:
        yield player
    finally:
        player.stop()
        thread.join(20)
        assert not thread.is_alive()


def write_recording(folder: Path, *messages: tuple[float, str, object]) -> Path:
    """Second, channel, message; the messages have their numbers."""
    rows = [
        Row(1_795_262_400_000_000_000 + int(second * 1e9), channel, encode(message).decode())
        for second, channel, message in messages
    ]
    return write_part(folder, 1, to_table(rows)).path


def numbered(message: object, seq: int, epoch: int = 17) -> object:
    fields = {name: getattr(message, name) for name in message.__struct_fields__}  # type: ignore[attr-defined]
    return type(message)(**fields | {"epoch": epoch, "seq": seq})


@pytest.mark.slow
def test_the_recording_of_a_benchmark_run_replays_to_identical_messages(
    config: RedisConfig, publisher: RedisPublisher, tmp_path: Path
) -> None:
    """50,000 of the benchmark's trades on ten tickers, as fast as the publisher can."""
    count = 50_000
    channels = [f"TICKER_UPDATES_{ticker}" for ticker in TICKERS]
    with hearing(config, channels) as live, recording_into(tmp_path, config) as recorder:
        for begin in range(0, count, 500):
            publisher.publish_batch([_trade(n) for n in range(begin, begin + 500)], more=True)
        publisher.publish_batch(())
        wait_for(lambda: live.count == recorder.taken == count, 60)
    assert recorder.counters["gaps"] == 0
    replayed_on = replace(config, bus_prefix=PREFIX)
    with (
        hearing(replayed_on, channels) as again,
        playing(config, tmp_path, speed=None, wait=False) as player,
    ):
        wait_for(lambda: again.count == count, 60)
    assert again.payloads == live.payloads
    assert player.counters["messages"] == count
    client = config.client()
    for ticker in TICKERS:
        was, now = (client.xrange(f"{prefix}TICKER_LOG_{ticker}") for prefix in ("", PREFIX))
        assert now == was
    client.close()


def test_a_strategy_runs_unchanged_and_the_original_pace_is_kept(
    config: RedisConfig, tmp_path: Path
) -> None:
    """Four messages over 1.5 s, at three times the speed: half a second."""
    path = write_recording(
        tmp_path,
        (0.0, "TICKER_UPDATES_AAPL", numbered(price(number=1), 1)),
        (0.3, "TICKER_UPDATES_MSFT", numbered(price("MSFT"), 1)),
        (0.9, "TICKER_UPDATES_AAPL", numbered(order(), 2)),
        (1.5, "TICKER_UPDATES_AAPL", numbered(price(number=2), 3)),
    )
    with (
        playing(config, path, speed=3.0) as player,
        TickerClient(replace(config, bus_prefix=PREFIX), "my-bot") as client,
    ):
        stream = client.follow("AAPL", orders="all")
        wait_for(lambda: client.broker.ready)
        assert [next(stream).seq for _ in range(3)] == [1, 2, 3]
        last = client.last("AAPL")
        assert last is not None
        assert (last.id, last.timestamp) == ("17-3", price(number=2).timestamp)
        wait_for(lambda: client.broker.state == "STOPPED")
    assert player.counters["messages"] == 4
    assert player.took_s >= 0.5


def test_it_waits_for_the_first_consumer_and_refuses_what_it_does_not_hold(
    config: RedisConfig, tmp_path: Path
) -> None:
    path = write_recording(tmp_path, (0.0, "TICKER_UPDATES_AAPL", numbered(price(), 1)))
    with (
        playing(config, path) as player,
        TickerClient(replace(config, bus_prefix=PREFIX), "my-bot", secured=True) as client,
    ):
        with pytest.raises(RegistrationRejected, match="unknown_ticker: it is not in this recor"):
            client.follow("MSFT")
        assert player.counters["messages"] == 0
        assert next(client.follow("AAPL")).seq == 1


def test_order_journals_are_written_again_too(config: RedisConfig, tmp_path: Path) -> None:
    path = write_recording(
        tmp_path,
        (0.0, "TICKER_UPDATES_AAPL", numbered(order(number=1), 1)),
        (0.0, "TICKER_UPDATES_AAPL", numbered(price(), 2)),
        (0.0, "TICKER_QUOTES_AAPL", numbered(price(), 1)),
    )
    with playing(config, path, speed=None, wait=False) as player:
        wait_for(lambda: player.counters["messages"] == 3)
    with RedisSubscriber(replace(config, bus_prefix=PREFIX)) as bus:
        (found,) = bus.orders("AAPL")
    assert isinstance(found, OrderMessage)
    client = config.client()
    assert client.get(f"{PREFIX}BROKER_EPOCH") == b"17"
    assert client.exists(f"{PREFIX}BROKER_LEADER") == 0
    assert 0 < client.ttl(f"{PREFIX}TICKER_LOG_AAPL") <= 3_600
    client.close()


def test_epochs_follow_each_other_also_a_lower_one(config: RedisConfig, tmp_path: Path) -> None:
    """A broker restarted, and then one whose clock was set back, on a Redis that was emptied."""
    path = write_recording(
        tmp_path,
        *[(n / 100, "TICKER_UPDATES_AAPL", numbered(price(), n, 17)) for n in (1, 2)],
        *[(0.1 + n / 100, "TICKER_UPDATES_AAPL", numbered(price(), n, 18)) for n in (1, 2)],
        *[(0.2 + n / 100, "TICKER_UPDATES_AAPL", numbered(price(), n, 16)) for n in (1, 2)],
    )
    with (
        playing(config, path),
        TickerClient(replace(config, bus_prefix=PREFIX), "my-bot") as client,
    ):
        stream = client.follow("AAPL")
        found = [next(stream).id for _ in range(6)]
    assert found == ["17-1", "17-2", "18-1", "18-2", "16-1", "16-2"]


def test_a_hole_of_the_recorder_is_a_gap_for_the_consumer(
    config: RedisConfig, publisher: RedisPublisher, tmp_path: Path
) -> None:
    publisher.publish_batch([price(number=1)])
    with recording_into(tmp_path, config) as recorder:
        publisher.publish_batch([price(number=2)])
        wait_for(lambda: recorder.taken == 1)
    publisher.publish_batch([price(number=n) for n in range(3, 9)])
    client = config.client()
    client.xtrim("TICKER_LOG_AAPL", maxlen=2, approximate=False)
    client.close()
    with recording_into(tmp_path, config) as recorder:
        wait_for(lambda: recorder.taken == 3)
    with (
        playing(config, tmp_path, speed=None) as player,
        TickerClient(replace(config, bus_prefix=PREFIX), "my-bot") as consumer,
    ):
        stream = consumer.follow("AAPL")
        kinds = [
            (type(message).__name__, message.seq) for message in (next(stream) for _ in "1234")
        ]
    assert kinds == [
        ("PriceMessage", 2),
        ("GapMessage", 0),
        ("PriceMessage", 7),
        ("PriceMessage", 8),
    ]
    assert player.counters["gaps_of_the_recorder"] == 1


def test_the_same_bus_can_be_played_on_again(config: RedisConfig, tmp_path: Path) -> None:
    path = write_recording(tmp_path, (0.0, "TICKER_UPDATES_AAPL", numbered(price(), 1)))
    for _ in range(2):
        with playing(config, path, speed=None, wait=False) as player:
            wait_for(lambda player=player: player.counters["messages"] == 1)  # type: ignore[misc]


def test_a_bus_with_a_heartbeat_is_left_alone(
    config: RedisConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(player_module, "LISTEN_S", 10.0)
    path = write_recording(tmp_path, (0.0, "TICKER_UPDATES_AAPL", numbered(price(), 1)))
    player = Player(config, Recording(path), ReplayConfig(prefix=PREFIX))
    ended = threading.Event()

    def beat() -> None:
        with RedisPublisher(replace(config, bus_prefix=PREFIX)) as broker:
            while not ended.wait(0.05):
                broker.publish(broker.names.BROKER_STATUS, status())

    heart = threading.Thread(target=beat, name="heart")
    heart.start()
    try:
        with pytest.raises(BusInUse, match="its heartbeat was heard"):
            player.run()
    finally:
        ended.set()
        heart.join()


@pytest.mark.parametrize("key", ["BROKER_LEADER", "TICKER_LOG_AAPL"])
def test_a_bus_that_is_not_its_own_is_left_alone(
    config: RedisConfig, tmp_path: Path, key: str
) -> None:
    path = write_recording(tmp_path, (0.0, "TICKER_UPDATES_AAPL", numbered(price(), 1)))
    client = config.client()
    client.xadd(PREFIX + key, {"m": "{}"})
    player = Player(config, Recording(path), ReplayConfig(prefix=PREFIX))
    with pytest.raises(BusInUse, match="give --bus-prefix another name"):
        player.run()
    assert client.xlen(PREFIX + key) == 1
    client.close()
