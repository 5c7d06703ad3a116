"""Many publishers and readers, each a process of its own, while Redis is killed and comes back.

python -m tests.integration.trade_events.storm --seconds 60 --publishers 16 --readers 16
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

from main.embedded_valkey import EmbeddedValkey
from main.logs import configure_logs
from main.trade_events import RedisEventBus, TradeEvent
from main.utils.redis.config import RedisConfig
from tests.conftest import wait_for
from tests.integration.trade_events.reference import Reference

SPAWN = multiprocessing.get_context("spawn")
SYMBOLS = ("XAUUSD", "BTC/USD", "AAPL", "BRK.B")
PER_S = 60.0  # events a second of each publisher
GROUP_SIZE = 4
LAST = "the-last-event"


def stories(seed: int, partner: int) -> Iterator[TradeEvent]:
    """Orders and positions as they come, some of them out of order, some told by two publishers."""
    chance = random.Random(seed)
    waiting: list[TradeEvent] = []
    for number in range(sys.maxsize):
        shared = chance.random() < 0.3
        whose = min(seed, partner) if shared else seed
        story = list(_story(f"{'s' if shared else 'p'}{whose}-{number}", chance))
        if chance.random() < 0.2:
            chance.shuffle(story)
        waiting += story
        while len(waiting) > chance.randint(0, 12):
            event = waiting.pop(0)
            yield event
            if chance.random() < 0.1:
                yield event


def _story(name: str, chance: random.Random) -> Iterator[TradeEvent]:
    symbol = SYMBOLS[sum(map(ord, name)) % len(SYMBOLS)]
    who: dict[str, Any] = {"account": "PA1"}
    yield TradeEvent.create_order_created(symbol, name, "limit", 10.0, 10, **who)
    part = {"filled_volume": 4} | who
    yield TradeEvent.create_order_partially_filled(symbol, name, 10.0, 4, **part)
    if chance.random() < 0.2:
        yield TradeEvent.create_order_cancelled(symbol, name, **who)
        return
    done = {"filled_volume": 10} | who
    yield TradeEvent.create_order_filled(symbol, name, 10.0, 6, **done)
    own = f"{name}-{chance.randrange(10**9)}"
    yield TradeEvent.create_position_opened(symbol, own, 10.0, 10, "LONG", **who)
    yield TradeEvent.create_position_closed(symbol, own, 11.0, 10.0, **who)


def publish(port: int, seed: int, seconds: float, answer: Connection) -> None:
    """Answers with the ids of all it published."""
    configure_logs(level="error")
    published: set[str] = set()
    with RedisEventBus(_config(port)) as bus:
        answer.send("ready")
        ends = time.monotonic() + seconds
        begun = time.monotonic()
        for number, event in enumerate(stories(seed, seed ^ 1)):
            if time.monotonic() > ends:
                break
            bus.publish(event, wait=number % 2 == 0)
            published.add(event.event_id)
            ahead_s = begun + number / PER_S - time.monotonic()
            if ahead_s > 0:
                time.sleep(ahead_s)
        assert bus.flush(60), bus.trouble
        assert not bus.counters["dropped"]
    answer.send((published, dict(bus.counters)))


def consume(port: int, group: str, name: str, stop: Any, answer: Connection) -> None:
    """Answers with how often it was handed each event."""
    configure_logs(level="error")
    handled: Counter[str] = Counter()
    with RedisEventBus(_config(port)) as bus:
        answer.send("ready")
        threading.Thread(target=lambda: (stop.wait(), bus.stop()), daemon=True).start()
        bus.consume(
            group, name, lambda event: handled.update((event.event_id,)), start="oldest", batch=32
        )
    answer.send((handled, dict(bus.counters)))


def listen(port: int, answer: Connection) -> None:
    """Answers with the ids that it heard, in their order, up to the last."""
    configure_logs(level="error")
    heard: list[str] = []

    def handle(event: TradeEvent) -> None:
        heard.append(event.event_id)
        if event.event_id == LAST:
            bus.stop()

    with RedisEventBus(_config(port)) as bus:
        bus.subscribe_all(None, handle)
        listening = threading.Thread(target=bus.listen)
        listening.start()
        assert bus.wait_until_subscribed(30)
        answer.send("ready")
        listening.join()
    answer.send((heard, dict(bus.counters)))


def _config(port: int) -> RedisConfig:
    return RedisConfig(host="127.0.0.1", port=port, timeout_s=2.0)


@dataclass(kw_only=True)
class Outcome:
    """What was found; `faults` must be empty."""

    events: int
    duplicates: int
    anomalies: int
    restarts: int
    claimed: int
    faults: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (
            f"{self.events:,} events in the log, {self.duplicates:,} told twice and logged once, "
            f"{self.anomalies:,} anomalies, {self.restarts} restarts of Redis, {self.claimed} "
            f"claimed; {'no fault' if not self.faults else self.faults}"
        )


class Storm:
    """All of it. `run` once."""

    def __init__(
        self, *, publishers: int, readers: int, listeners: int, seconds: float, restarts: int
    ) -> None:
        self._publishers, self._readers, self._listeners = publishers, readers, listeners
        self._seconds, self._restarts = seconds, restarts
        self._stop = SPAWN.Event()
        self._exits = ExitStack()

    def run(self) -> Outcome:
        with self._exits:
            # `always`: what Redis has confirmed is on disk, also if it is killed the next moment.
            server = EmbeddedValkey(None, "--appendonly", "yes", "--appendfsync", "always")
            server.start()
            self._exits.callback(server.stop)
            bus = self._exits.enter_context(RedisEventBus(_config(server.port)))
            bus.configure(log_max_events=10_000_000)
            return self._run(server, bus)

    def _run(self, server: EmbeddedValkey, bus: RedisEventBus) -> Outcome:
        ears = [self._start(listen, server.port) for _ in range(self._listeners)]
        for ear in ears:
            assert _receive(ear, 60) == "ready"
        groups = [f"g{number // GROUP_SIZE}" for number in range(self._readers)]
        readers = [
            self._start(consume, server.port, group, f"c{number}", self._stop)
            for number, group in enumerate(groups)
        ]
        writers = [
            self._start(publish, server.port, seed, self._seconds)
            for seed in range(self._publishers)
        ]
        for each in (*readers, *writers):  # who starts while Redis is away does not start
            assert _receive(each, 60) == "ready"
        for _ in range(self._restarts):
            time.sleep(self._seconds / (self._restarts + 1))
            server.kill()
            server.start(timeout_s=60)
        written = [_receive(each, self._seconds + 120) for each in writers]
        published: set[str] = set().union(*(ids for ids, _ in written))
        bus.publish(TradeEvent.create_signal_validated("END", "end", event_id=LAST))
        assert bus.flush(30), bus.trouble
        published.add(LAST)
        wait_for(lambda: _is_drained(bus, set(groups)), 120, "every group has read everything")
        log = [event.event_id for event in bus.replay(None)]
        heard = [_receive(each, 60) for each in ears]
        self._stop.set()
        read = [_receive(each, 60) for each in readers]
        faults = list(_faults(published, log, groups, [counts for counts, _ in read]))
        faults += [f"a listener heard {len(ids)} events, not the log's {len(log)}, in their order"
                   for ids, _ in heard if ids != log]  # fmt: skip
        faults += list(_state_faults(bus))
        counters = bus.server_counters()
        return Outcome(
            events=len(log),
            duplicates=counters.get("duplicates", 0),
            anomalies=counters.get("anomalies", 0),
            restarts=self._restarts,
            claimed=sum(found.get("claimed", 0) for _, found in read),
            faults=faults,
        )

    def _start(self, target: Any, *arguments: Any) -> Connection:
        here, there = SPAWN.Pipe()
        process = SPAWN.Process(target=target, args=(*arguments, there), daemon=True)
        process.start()
        there.close()

        def end() -> None:
            self._stop.set()
            process.join(20)
            process.kill()
            process.join(10)

        self._exits.callback(end)
        return here


def _receive(connection: Connection, timeout_s: float) -> Any:
    assert connection.poll(timeout_s), "a process does not answer"
    return connection.recv()


def _is_drained(bus: RedisEventBus, groups: set[str]) -> bool:
    found = {each["name"].decode(): each for each in bus._client.xinfo_groups(bus.names.log)}
    return groups <= set(found) and all(
        found[group]["lag"] == 0 and found[group]["pending"] == 0 for group in groups
    )


def _faults(
    published: set[str], log: list[str], groups: list[str], read: list[Counter[str]]
) -> Iterator[str]:
    if lost := published - set(log):
        yield f"{len(lost)} events were published and are not in the log"
    if unknown := set(log) - published:
        yield f"{len(unknown)} events are in the log and nobody published them"
    if doubled := len(log) - len(set(log)):
        yield f"{doubled} events are in the log twice"
    for group in sorted(set(groups)):
        counts = sum((c for name, c in zip(groups, read, strict=True) if name == group), Counter())
        if lost := set(log) - set(counts):
            yield f"group {group} never got {len(lost)} events"
        if twice := [event_id for event_id, count in counts.items() if count > 1]:
            yield f"group {group} got {len(twice)} events more than once"


def _state_faults(bus: RedisEventBus) -> Iterator[str]:
    rebuilt = bus.rebuild()
    if not rebuilt.is_equal:
        yield f"live state differs from the log: {rebuilt}"
    told = Reference().take_all(bus.replay(None))
    for name, found, wanted in (
        ("orders", bus.get_orders(), told.orders),
        ("positions", bus.get_positions(), told.positions),
    ):
        statuses = {(s["symbol"], s[f"{name[:-1]}_id"]): s["status"] for s in found}
        if statuses != {key: state["status"] for key, state in wanted.items()}:
            yield f"the {name} are not what the log tells"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--publishers", type=int, default=16)
    parser.add_argument("--readers", type=int, default=16)
    parser.add_argument("--listeners", type=int, default=2)
    parser.add_argument("--restarts", type=int, default=2)
    given = vars(parser.parse_args())
    configure_logs(level="error")
    outcome = Storm(**given).run()
    print(outcome)
    sys.exit(1 if outcome.faults else 0)


if __name__ == "__main__":
    main()
