"""Frame in, published out: the broker, the peers, and the limit, at full speed."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import redis

from main.embedded_valkey import EmbeddedValkey

from .cpu import Clockwork
from .limits import pipe_batches
from .peers import publishers
from .readers import Expectation
from .rounds import Cells
from .stage import BUS_ID, RunFailed, Sample, Stage, make_sample, names, plain_reader
from .worker import Worker

BROKER, LIMIT = names("A", 10), names("L", 10)
PEERS: dict[str, tuple[Callable[..., None], list[str], int, bytes]] = {
    "hand-written, raw": (publishers.handwritten_raw, names("B", 10), 12_000, b'"i":'),
    "hand-written, parsed": (publishers.handwritten_parsed, names("C", 10), 12_000, b'"i":'),
    "redis.asyncio publish": (publishers.redis_asyncio, names("D", 10), 12_000, b'"i":'),
    "redis-py pipeline per frame": (publishers.redis_py_pipeline, names("E", 10), 40_000, b'"i":'),
    "FastStream, pipeline per frame": (publishers.faststream, names("F", 10), 20_000, b'"i":'),
}
CRYPTOFEED = names("G", 10)
TICKERS = [*BROKER, *CRYPTOFEED, *(t for _, tickers, _, _ in PEERS.values() for t in tickers)]
HAND_WRITTEN = "hand-written, raw"
MESSAGES = {1: 80_000, 10: 200_000, 100: 250_000}
BATCH = 500  # what the broker's own batches come to at full speed; see `Sample.batch`


def broker_cell(stage: Stage, reader: Worker, per_frame: int) -> Callable[[], Sample]:
    def run() -> Sample:
        count, before = MESSAGES[per_frame], stage.broker_counters()
        sample, _ = stage.blast(
            BROKER,
            count,
            per_frame,
            reader,
            {"broker": stage.broker_pid},
            Expectation(deliveries=count, id_key=BUS_ID),
        )
        after = stage.broker_counters()
        batches = after["batches"] - before.get("batches", 0)
        batch = (after["messages"] - before.get("messages", 0)) / max(batches, 1)
        return dataclasses.replace(sample, batch=batch)

    return run


def peer_cell(stage: Stage, name: str, per_frame: int) -> Callable[[], Sample]:
    work, tickers, count, id_key = PEERS[name]
    peer = stage.keep(Worker(work, stage.stream_url, stage.valkey.port, tickers))
    reader = stage.keep(plain_reader(stage.valkey.port, tickers))
    expected = Expectation(deliveries=count, id_key=id_key, numbered=False)

    def run(per_frame: int = per_frame) -> Sample:
        return stage.blast(tickers, count, per_frame, reader, {"broker": peer.pid}, expected)[0]

    return run


def cryptofeed_cell(stage: Stage, per_frame: int, count: int = 20_000) -> Callable[[], Sample]:
    """It publishes nothing, so its streams are read: Redis itself gave their entries' times."""
    peer = stage.keep(
        Worker(publishers.cryptofeed, stage.stream_url, stage.valkey.port, CRYPTOFEED)
    )
    keys = [f"trades-ALPACA-{ticker}" for ticker in CRYPTOFEED]

    def run() -> Sample:
        stage.client.delete(*keys)
        clockwork = Clockwork(
            {"local Alpaca": stage.upstream.pid, "Redis": stage.valkey.pid, "broker": peer.pid}
        )
        stage.upstream.ask(CRYPTOFEED, count, 500_000.0, per_frame)
        deadline = time.monotonic() + 60
        while sum(int(stage.client.xlen(key)) for key in keys) < count:  # type: ignore[arg-type]
            if time.monotonic() > deadline:
                raise RunFailed("cryptofeed did not write everything")
            time.sleep(0.05)
        spent = {name: s / count * 1e6 for name, s in clockwork.spent().items()}
        times, size = _check_streams(stage.client, keys)
        per_s = (count - 1) / max(max(times) - min(times), 1) * 1_000
        return Sample(per_s=per_s, cpu_us=spent, body_bytes=size / count)

    return run


def _check_streams(client: redis.Redis, keys: list[str]) -> tuple[list[int], int]:
    times, size = [], 0
    for key in keys:
        entries: Any = client.xrange(key)
        ids = [int(fields[b"id"]) for _, fields in entries]
        if ids != list(range(ids[0], ids[0] + len(ids))):
            raise RunFailed(f"{key}: trades are missing, repeated or out of order")
        times += [int(entry.split(b"-")[0]) for entry, _ in (entries[0], entries[-1])]
        size += sum(len(name) + len(value) for _, f in entries for name, value in f.items())
    return times, size


def limit_cell(
    stage: Stage, valkey: EmbeddedValkey, pipe: Worker, reader: Worker, kind: str
) -> Callable[[], Sample]:
    count = MESSAGES[100]

    def run() -> Sample:
        pids = {"Redis": valkey.pid, "reader": reader.pid}
        expected = Expectation(deliveries=count)
        reader.tell(expected)
        clockwork = Clockwork(pids)
        _, sending_s = pipe.ask(kind, LIMIT, count, BATCH, 0)
        sample = make_sample(reader.answer(), expected, count, clockwork)
        cpu = sample.cpu_us | {"broker": sending_s / count * 1e6}
        return dataclasses.replace(sample, cpu_us=cpu, batch=BATCH)

    return run


def throughput_cells(stage: Stage) -> Cells:
    """The broker's first run gives the shape of the limit's messages."""
    stage.follow(BROKER)
    reader = stage.keep(plain_reader(stage.valkey.port, BROKER))
    broker = {per: broker_cell(stage, reader, per) for per in MESSAGES}
    broker[10]()
    limits = stage.another_valkey()
    pipe = stage.keep(Worker(pipe_batches, limits.port, stage.sample_trade(BROKER[0])))
    limit_reader = stage.keep(plain_reader(limits.port, LIMIT))
    by_hand = peer_cell(stage, HAND_WRITTEN, 10)
    cells: dict[str, Callable[[], Sample]] = {
        "TickerBus, 10 a frame": broker[10],
        f"{HAND_WRITTEN}, 10 a frame": by_hand,
        "TickerBus, 100 a frame": broker[100],
        "limit: the same FCALL bytes": limit_cell(stage, limits, pipe, limit_reader, "fcall"),
        "limit: bare PUBLISH": limit_cell(stage, limits, pipe, limit_reader, "publish"),
        "TickerBus, 1 a frame": broker[1],
        f"{HAND_WRITTEN}, 1 a frame": lambda: by_hand(1),  # type: ignore[call-arg]
    }
    for name in list(PEERS)[1:]:
        cells[f"{name}, 10 a frame"] = peer_cell(stage, name, 10)
    cells["cryptofeed TradeStream, 10 a frame"] = cryptofeed_cell(stage, 10)
    return cells
