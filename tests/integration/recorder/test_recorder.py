"""The recorder, on a real Valkey: everything is in the file, or the file says what is not."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import structlog

from main.recorder import recorder as recorder_module
from main.recorder.day_files import DayFiles
from main.recorder.errors import FolderInUse
from main.recorder.recorder import Recorder
from main.utils.redis.config import RedisConfig
from main.utils.redis.constants import CHANNELS
from main.utils.redis.messages import QuoteMessage, rfc3339
from main.utils.redis.publisher import RedisPublisher
from tests.conftest import wait_for
from tests.integration.recorder.conftest import recording_into, rows_of
from tests.integration.utils.redis.conftest import EVENING, order, price

pytestmark = pytest.mark.integration


def numbers(path: Path, channel: str) -> list[int]:
    return [row.seq for row in rows_of(path) if row.channel == channel]


def quote(number: int) -> QuoteMessage:
    return QuoteMessage(
        symbol="AAPL",
        timestamp=rfc3339(EVENING + number),
        bid_price=1.0,
        bid_size=1,
        ask_price=1.1,
        ask_size=1,
        feed="iex",
    )


def test_every_channel_is_recorded_also_of_tickers_that_come_later(
    config: RedisConfig, publisher: RedisPublisher, tmp_path: Path
) -> None:
    """Also orders of a symbol that nobody can register, from the first on."""
    publisher.publish_batch([price("AAPL", 1)])
    with recording_into(tmp_path, config) as recorder:
        publisher.publish_batch([price("AAPL", 2), quote(1), order("AAPL", 1), price("MSFT", 1)])
        publisher.publish_batch([order("AAPL261218C00200000", 1), price("BTC/USD", 1)])
        wait_for(lambda: recorder.taken == 6)
        assert recorder.tickers == 4
    channels = {row.channel for row in rows_of(tmp_path)}
    assert channels == {
        "TICKER_UPDATES_AAPL",
        "TICKER_QUOTES_AAPL",
        "TICKER_UPDATES_MSFT",
        "TICKER_UPDATES_AAPL261218C00200000",
        "TICKER_UPDATES_BTC/USD",
    }
    assert numbers(tmp_path, "TICKER_UPDATES_AAPL") == [2, 3]
    assert recorder.counters["messages"] == 6


def test_a_prefix_of_the_bus_is_not_in_the_file(config: RedisConfig, tmp_path: Path) -> None:
    prefixed = RedisConfig(host=config.host, port=config.port, bus_prefix="PAPER.1_")
    with RedisPublisher(prefixed) as publisher:
        publisher.open_epoch()
        with recording_into(tmp_path, prefixed) as recorder:
            publisher.publish_batch([price(), quote(1)])
            wait_for(lambda: recorder.taken == 2)
    assert {row.channel for row in rows_of(tmp_path)} == {
        "TICKER_UPDATES_AAPL",
        "TICKER_QUOTES_AAPL",
    }


def test_payloads_are_kept_byte_for_byte_also_of_types_that_come_later(
    config: RedisConfig, publisher: RedisPublisher, tmp_path: Path
) -> None:
    """A version to come sends a type that this one does not know."""
    publisher.publish_batch([price()])
    new = json.dumps(
        {"type": "news", "symbol": "AAPL", "text": "ä", "epoch": publisher.epoch} | {"seq": 2}
    )
    with recording_into(tmp_path, config) as recorder:
        client = config.client()
        client.xadd(CHANNELS.ticker_log("AAPL"), {"m": new}, id=f"{publisher.epoch}-2")
        client.publish(CHANNELS.get_ticker_channel("AAPL"), new)
        client.publish("TICKER_QUOTES_AAPL", b"\xff\xfe")
        client.close()
        wait_for(lambda: recorder.counters["ignored"] == recorder.taken == 1)
    assert [row.payload for row in rows_of(tmp_path)] == [new]


def test_a_recorder_that_starts_again_goes_on_where_it_was(
    config: RedisConfig, publisher: RedisPublisher, tmp_path: Path
) -> None:
    publisher.publish_batch([price("AAPL", 1)])
    with recording_into(tmp_path, config) as recorder:
        publisher.publish_batch([price("AAPL", 2)])
        wait_for(lambda: recorder.taken == 1)
    publisher.publish_batch([price("AAPL", 3), price("MSFT", 1)])
    with recording_into(tmp_path, config) as recorder:
        publisher.publish_batch([price("AAPL", 4)])
        wait_for(lambda: recorder.taken == 3)
    assert numbers(tmp_path, "TICKER_UPDATES_AAPL") == [2, 3, 4]
    assert numbers(tmp_path, "TICKER_UPDATES_MSFT") == [1]


def test_what_the_journal_has_no_more_is_recorded_as_a_gap(
    config: RedisConfig, publisher: RedisPublisher, tmp_path: Path
) -> None:
    publisher.publish_batch([price("AAPL", 1)])
    with recording_into(tmp_path, config) as recorder:
        publisher.publish_batch([price("AAPL", 2)])
        wait_for(lambda: recorder.taken == 1)
    publisher.publish_batch([price("AAPL", n) for n in range(3, 11)])
    client = config.client()
    client.xtrim(CHANNELS.ticker_log("AAPL"), maxlen=3, approximate=False)
    client.close()
    with recording_into(tmp_path, config) as recorder:
        wait_for(lambda: recorder.taken == 4)
    found = rows_of(tmp_path)
    assert [(row.type, row.seq) for row in found] == [
        ("price", 2),
        ("gap", 0),
        ("price", 8),
        ("price", 9),
        ("price", 10),
    ]
    assert json.loads(found[1].payload)["lost"] == 5
    assert recorder.counters["gaps"] == 1


def test_a_full_disk_is_told_once_and_nothing_is_lost(
    config: RedisConfig,
    publisher: RedisPublisher,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Three flushes fail."""
    monkeypatch.setattr(recorder_module, "FLUSH_S", 0.1)
    failures = iter(range(3))
    write = DayFiles.write

    def full(self: DayFiles, rows: object) -> None:
        if next(failures, None) is not None:
            raise OSError(28, "No space left on device")
        write(self, rows)  # type: ignore[arg-type]

    monkeypatch.setattr(DayFiles, "write", full)
    publisher.publish_batch([price(number=1)])
    with structlog.testing.capture_logs() as lines, recording_into(tmp_path, config) as recorder:
        publisher.publish_batch([price(number=2)])
        wait_for(lambda: recorder.counters["messages"] == 1)
        publisher.publish_batch([price(number=3)])
        wait_for(lambda: recorder.taken == 2)
    assert numbers(tmp_path, "TICKER_UPDATES_AAPL") == [2, 3]
    told = [line["event"] for line in lines if "write" in line["event"]]
    assert told == ["recorder.cannot_write", "recorder.writes_again"]


def test_at_midnight_a_new_day_begins_and_the_old_one_becomes_a_file(
    config: RedisConfig,
    publisher: RedisPublisher,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    today = ["2026-11-20"]
    monkeypatch.setattr(recorder_module, "FLUSH_S", 0.1)
    monkeypatch.setattr(recorder_module, "_today", lambda: today[0])
    old, new = tmp_path / "2026-11-20.parquet", tmp_path / "2026-11-21.parquet"
    publisher.publish_batch([price(number=1)])
    with recording_into(tmp_path, config) as recorder:
        publisher.publish_batch([price(number=2)])
        wait_for(lambda: recorder.counters["messages"] == 1)
        today[0] = "2026-11-21"
        wait_for(old.is_file)
        publisher.publish_batch([price(number=3)])
        wait_for(lambda: recorder.taken == 2)
        today[0] = "2026-11-20"  # the clock is set back: the day that is over stays over
    assert numbers(old, "TICKER_UPDATES_AAPL") == [2]
    assert numbers(new, "TICKER_UPDATES_AAPL") == [3]


def test_a_second_recorder_of_the_folder_is_refused(config: RedisConfig, tmp_path: Path) -> None:
    with recording_into(tmp_path, config), pytest.raises(FolderInUse, match="--into elsewhere"):
        Recorder(config, tmp_path)
    Recorder(config, tmp_path).close()


def test_parts_are_merged_while_it_records(
    config: RedisConfig,
    publisher: RedisPublisher,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(recorder_module, "FLUSH_S", 0.005)
    publisher.publish_batch([price(number=1)])
    with recording_into(tmp_path, config) as recorder:
        for number in range(2, 72):
            publisher.publish_batch([price(number=number)])
            wait_for(lambda number=number: recorder.counters["messages"] >= number - 1)  # type: ignore[misc]
        wait_for(lambda: len(list(recorder.folder.iterdir())) < 35, 30)
    assert numbers(tmp_path, "TICKER_UPDATES_AAPL") == list(range(2, 72))
