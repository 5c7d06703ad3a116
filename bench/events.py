"""`make bench-events`: the trade event bus, beside what the same would cost without it.

python -m bench.events [--rounds 5] [--events 20000]

Orders as they come: created, filled in part, filled. All cells in turns on one Valkey; in every run
the log and the state are counted, or the run fails.
"""

from __future__ import annotations

import argparse
import socket
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any

import hiredis
import redis
from rich.console import Console

from main.embedded_valkey import EmbeddedValkey
from main.logs import configure_logs
from main.trade_events import RedisEventBus, TradeEvent
from main.trade_events.library import library_source
from main.trade_events.sender import BATCH_EVENTS, WINDOW, publish_head
from main.trade_events.wire import encode_body, pack_event, pack_events
from main.utils.redis.config import RedisConfig, pack_command

from .cpu import Clockwork
from .events_latency import PER_S, measure_paced
from .order_events import NAMES, SYMBOLS, orders
from .report import Row, print_latencies, print_rates, print_rows, write_json
from .rounds import rate_ratio, run_interleaved
from .stage import RunFailed, Sample
from .worker import Worker, requests

BUS = "publish_many"
MADE = "publish_many, and the events made meanwhile"
LIMIT = "limit: the same FCALL bytes, bare socket"
COMMANDS = "the same commands without the function, bytes made before, bare socket"
REDIS_PY = "the same commands in redis-py's pipeline"
PUBLISH = "bare PUBLISH of the same messages, bytes made before, bare socket"
Chunk = tuple[bytes, int]  # what is sent at once, and how many replies it gets


def same_commands(event: TradeEvent) -> list[tuple[Any, ...]]:
    """What the function does for one event, as a client would that trusts every move."""
    key, kind = NAMES.state("order", event.symbol, str(event.subject_id)), event.event_type.value
    body, index = encode_body(event), NAMES.open_index("order", event.symbol)
    state: dict[str, Any] = {**event.data, "status": kind, "updated_at": event.timestamp}
    state |= {"last_event": kind, "log_id": "1795271405000-0"}
    if kind == "order.created":
        state |= {"symbol": event.symbol, "created_at": event.timestamp, "filled_volume": 0}
        state |= {"first_log_id": "1795271405000-0", "account": "PA1"}
    fields = [part for name, value in state.items() for part in (name, str(value))]
    found: list[tuple[Any, ...]] = [
        ("SADD", "trades:seen:1", event.event_id),
        ("HMGET", key, "status", "filled_volume", "volume", "pnl"),
        ("XADD", NAMES.log, "MAXLEN", "~", 250_000, "*", "m", body),
        ("HSET", key, *fields),
        ("EXPIRE", key, 604_800),
        ("PUBLISH", NAMES.channel(event.symbol, event.event_type), body),
    ]
    if kind == "order.created":
        found.append(("ZADD", index, 1_795_271_405_000, str(event.subject_id)))
    elif kind == "order.filled":
        found.append(("ZREM", index, str(event.subject_id)))
    return found


# -- rates: one worker publishes


def publish_at_full_speed(pipe: Connection, port: int) -> None:
    """A request is (kind, events, tag); the answer (seconds, CPU seconds, bytes of a message)."""
    configure_logs(level="error")
    client = redis.Redis(port=port, protocol=2)
    wire = socket.create_connection(("127.0.0.1", port))
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    with RedisEventBus(RedisConfig(host="127.0.0.1", port=port, timeout_s=10)) as bus:
        for kind, count, tag in requests(pipe):
            events = list(orders(count, tag))
            run = _prepare(kind, bus, client, wire, events, tag)
            begun, cpu = time.perf_counter(), time.process_time()
            run()
            took = time.perf_counter() - begun, time.process_time() - cpu
            pipe.send((*took, len(encode_body(events[1]))))


def _prepare(
    kind: str,
    bus: RedisEventBus,
    client: redis.Redis,
    wire: socket.socket,
    events: list[TradeEvent],
    tag: int,
) -> Callable[[], object]:
    if kind == BUS:
        return lambda: _all_published(bus, events)
    if kind == MADE:
        return lambda: _all_published(bus, orders(len(events), tag))
    if kind == REDIS_PY:
        return lambda: _through_redis_py(client, events)
    chunks = list(_chunks(kind, events))
    return lambda: _send(wire, chunks)


def _all_published(bus: RedisEventBus, events: Any) -> None:
    statuses = {receipt.status for receipt in bus.publish_many(events)}
    if statuses != {"published"}:
        raise RunFailed(f"receipts: {statuses}")


def _through_redis_py(client: redis.Redis, events: Sequence[TradeEvent]) -> None:
    for start in range(0, len(events), BATCH_EVENTS):
        pipeline: Any = client.pipeline(transaction=False)
        for event in events[start : start + BATCH_EVENTS]:
            for command in same_commands(event):
                pipeline.execute_command(*command)
        pipeline.execute()


def _chunks(kind: str, events: Sequence[TradeEvent]) -> Iterator[Chunk]:
    for start in range(0, len(events), BATCH_EVENTS):
        some = events[start : start + BATCH_EVENTS]
        if kind == LIMIT:
            yield (
                pack_command(
                    *publish_head(NAMES, "bench"), pack_events(list(map(pack_event, some))), 0, 1
                ),
                1,
            )
        elif kind == COMMANDS:
            commands = [command for event in some for command in same_commands(event)]
            yield b"".join(pack_command(*command) for command in commands), len(commands)
        else:
            channel = NAMES.channel
            yield (
                b"".join(
                    pack_command("PUBLISH", channel(e.symbol, e.event_type), encode_body(e))
                    for e in some
                ),
                len(some),
            )


def _send(wire: socket.socket, chunks: Sequence[Chunk]) -> None:
    """With as many chunks on their way as the bus has batches."""
    replies, buffer = hiredis.Reader(), bytearray(262_144)
    owed: deque[int] = deque()

    def receive() -> None:
        for _ in range(owed.popleft()):
            while (reply := replies.gets()) is False:
                replies.feed(buffer, 0, wire.recv_into(buffer))  # type: ignore[arg-type]
            if isinstance(reply, Exception):
                raise RunFailed(str(reply))

    for chunk, answers in chunks:
        if len(owed) >= WINDOW:
            receive()
        wire.sendall(chunk)
        owed.append(answers)
    while owed:
        receive()


def rate_cells(
    server: EmbeddedValkey, worker: Worker, events: int
) -> dict[str, Callable[[], Sample]]:
    client = redis.Redis(port=server.port)
    tags = iter(range(1_000_000))
    count = events // 3 * 3

    def run(kind: str) -> Sample:
        client.flushall()
        client.function_load(library_source().decode(), replace=True)
        clockwork = Clockwork({"Redis": server.pid, "publisher": worker.pid})
        seconds, cpu_s, size = worker.ask(kind, count, next(tags))
        _count(client, kind, count)
        cpu = {"Redis": clockwork.spent()["Redis"] / count * 1e6, "publisher": cpu_s / count * 1e6}
        return Sample(per_s=count / seconds, cpu_us=cpu, body_bytes=size, batch=BATCH_EVENTS)

    kinds = (BUS, MADE, LIMIT, COMMANDS, REDIS_PY, PUBLISH)
    return {kind: lambda kind=kind: run(kind) for kind in kinds}  # type: ignore[misc]


def _count(client: redis.Redis, kind: str, count: int) -> None:
    if kind == PUBLISH:
        return
    logged, open_orders = (
        client.xlen(NAMES.log),
        sum(
            client.zcard(NAMES.open_index("order", symbol))
            for symbol in SYMBOLS  # type: ignore[misc]
        ),
    )
    if (logged, open_orders) != (count, 0):
        raise RunFailed(f"{kind}: {logged} of {count} logged, {open_orders} orders still open")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.events", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--events", type=int, default=20_000)
    parser.add_argument("--seconds", type=float, default=3.0, help="of each paced run")
    arguments = parser.parse_args()
    configure_logs(level="error")
    console = Console(width=150)
    with EmbeddedValkey() as server:
        with Worker(publish_at_full_speed, server.port) as worker:
            cells = rate_cells(server, worker, arguments.events)
            rates = run_interleaved(cells, arguments.rounds, console.print)
        paced = measure_paced(server.port, arguments.rounds, arguments.seconds)
    rows = [
        Row(what="events a second, pipelined", found=rates[BUS].per_s, target=40_000, unit="/s"),
        *(Row(what=f"p99 at {PER_S:,} a second: {each.name}", found=each.at(0.99) / 1_000,
              target=2.0, unit="ms", at_most=True) for each in paced[:2]),
        Row(what="rate against the same FCALL bytes", found=rate_ratio(rates[BUS], rates[LIMIT])),
        Row(what="rate against the same commands, bytes made before, without the function",
            found=rate_ratio(rates[BUS], rates[COMMANDS])),
        Row(what="rate against the same commands in redis-py's pipeline",
            found=rate_ratio(rates[BUS], rates[REDIS_PY])),
        Row(what="rate against bare PUBLISH, bytes made before",
            found=rate_ratio(rates[BUS], rates[PUBLISH])),
    ]  # fmt: skip
    print_rates(console, rates.values())
    print_latencies(console, paced)
    print_rows(console, rows)
    console.print(str(write_json(rates, paced, rows, "events")))


if __name__ == "__main__":
    main()
