"""Latency of the trade event bus at an open loop: every event has its time, and its age counts from
that, whatever became of those before it.

Twice: some publishers who wait for each answer, one after the other; and one who waits for none, up
to another process's handler.
"""

from __future__ import annotations

import contextlib
import gc
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection
from typing import Any, Final

import redis

from main.logs import configure_logs
from main.trade_events import RedisEventBus, TradeEvent
from main.trade_events.wire import encode_body
from main.utils.redis.config import RedisConfig

from .latency import Latencies
from .order_events import NAMES, orders
from .stage import RunFailed
from .worker import Worker, requests

PACERS: Final = 4
PER_S: Final = 5_000
WAITING: Final = f"{PACERS} publishers who wait, until the answer"
HANDED_ON: Final = "1 publisher who does not wait, until another process's handler"
BARE: Final = f"{PACERS} bare PUBLISHes of redis-py, until the answer"


def publish_at_a_pace(pipe: Connection, port: int, number: int) -> None:
    """A worker. A request is (kind, per second, seconds); the answer when each event was due, and
    when its publisher went on, in ns by the monotonic clock; the key is the event's id."""
    configure_logs(level="error")
    client = redis.Redis(port=port, protocol=2)
    with RedisEventBus(RedisConfig(host="127.0.0.1", port=port)) as bus:
        publish: dict[str, Callable[[TradeEvent], object]] = {
            WAITING: bus.publish,
            HANDED_ON: lambda event: bus.publish(event, wait=False),
            BARE: lambda event: client.publish(
                NAMES.channel(event.symbol, event.event_type), encode_body(event)
            ),
        }
        for run, (kind, per_s, seconds) in enumerate(requests(pipe)):
            events = list(orders(int(per_s * seconds), number * 1_000 + run))
            gc.freeze()  # they are the measurement's: no collection should walk them
            times = dict(_paced(events, publish[kind], 1e9 / per_s))
            if not bus.flush(10.0):
                raise RunFailed(f"{bus.spooled} events are not confirmed")
            pipe.send(times)


def _paced(
    events: Sequence[TradeEvent], publish: Callable[[TradeEvent], object], every_ns: float
) -> Iterator[tuple[str, tuple[int, int]]]:
    begun = time.perf_counter_ns()
    for number, event in enumerate(events):
        due = begun + int(number * every_ns)
        if (ahead_ns := due - time.perf_counter_ns()) > 0:
            time.sleep(ahead_ns / 1e9)
        publish(event)
        yield event.event_id, (due, time.perf_counter_ns())


def hear_all(pipe: Connection, port: int) -> None:
    """A worker: asked for so many events, it answers when each came to its handler."""
    configure_logs(level="error")
    heard: dict[str, int] = {}

    def on_event(event: TradeEvent) -> None:
        heard[event.event_id] = time.perf_counter_ns()

    with RedisEventBus(RedisConfig(host="127.0.0.1", port=port)) as bus:
        bus.subscribe_all(None, on_event)
        listening = threading.Thread(target=bus.listen, daemon=True)
        listening.start()
        bus.wait_until_subscribed()
        for (count,) in requests(pipe):
            deadline = time.monotonic() + 30
            while len(heard) < count and time.monotonic() < deadline:
                time.sleep(0.02)
            pipe.send(dict(heard))
            heard.clear()
        bus.stop()
        listening.join(5)


def measure_paced(port: int, rounds: int, seconds: float) -> list[Latencies]:
    """All three in turns; the first round warms up."""
    found: dict[str, list[list[int]]] = {HANDED_ON: [], WAITING: [], BARE: []}
    with contextlib.ExitStack() as exits:
        pacers = [
            exits.enter_context(Worker(publish_at_a_pace, port, number)) for number in range(PACERS)
        ]
        for number in range(rounds + 1):
            for kind, ages in found.items():
                if kind == HANDED_ON:
                    with Worker(hear_all, port) as hearer:
                        round_ages = _until_heard(pacers[0], hearer, seconds)
                else:
                    round_ages = _until_answered(pacers, kind, seconds)
                if number:
                    ages.append(round_ages)
    return [Latencies(name=kind, per_s=PER_S, rounds=ages) for kind, ages in found.items()]


def _until_answered(pacers: Sequence[Worker], kind: str, seconds: float) -> list[int]:
    for pacer in pacers:
        pacer.tell(kind, PER_S / len(pacers), seconds)
    times: list[dict[str, Any]] = [pacer.answer() for pacer in pacers]
    return [went_on - due for some in times for due, went_on in some.values()]


def _until_heard(pacer: Worker, hearer: Worker, seconds: float) -> list[int]:
    pacer.tell(HANDED_ON, PER_S, seconds)
    due = {event_id: times[0] for event_id, times in pacer.answer().items()}
    heard = hearer.ask(len(due))
    if heard.keys() != due.keys():
        raise RunFailed(f"{len(due)} events were published, and {len(heard)} heard")
    return [heard[event_id] - since for event_id, since in due.items()]
