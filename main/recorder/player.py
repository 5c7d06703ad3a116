"""The player: a recording goes out again, byte for byte, on a bus of its own.

Channels, journals, numbers and the heartbeat are as the broker makes them, so a consumer runs
unchanged; only `BUS_PREFIX` says that it listens to a recording. Journals and messages go out on
one connection, in the order of recording, and the heartbeat between them, so it never runs ahead.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import hiredis
import structlog

from ..heartbeat import next_heartbeat
from ..utils.redis.config import RedisConfig, Wire, pack_command
from ..utils.redis.connections import CONNECTION_FAULTS
from ..utils.redis.constants import BusNames
from ..utils.redis.errors import RedisUnavailable
from ..utils.redis.gap_tracker import Place
from ..utils.redis.messages import encode
from ..utils.redis.publisher import RedisPublisher
from ..utils.redis.subscriber import RedisSubscriber
from .errors import BusInUse
from .pace import Pace
from .recording import Recorded, Recording
from .stand_in import StandIn

log: Final = structlog.get_logger("tickerbus.replay")

_Command = tuple[str | bytes | int, ...]

CHUNK: Final = 500
HEARTBEAT_S: Final = 1.0
LISTEN_S: Final = 1.5  # how long a broker is listened for
KEPT_S: Final = 3_600  # how long journals stay after the end, for those who are behind
JOURNAL_BOUND: Final = 10_000


@dataclass(frozen=True, kw_only=True)
class ReplayConfig:
    """`speed` None: as fast as it goes. `wait`: for the first consumer that registers."""

    prefix: str
    speed: float | None = 1.0
    wait: bool = True
    journal_bound: int = JOURNAL_BOUND


class Player:
    """`run` once; `stop` from any thread."""

    def __init__(self, redis: RedisConfig, recording: Recording, config: ReplayConfig) -> None:
        """Connects nothing."""
        self._redis = replace(redis, bus_prefix=config.prefix, client_name="tickerbus-replay")
        self._recording, self._config = recording, config
        self._names = BusNames(config.prefix)
        self._stopping = threading.Event()
        self._places: dict[str, Place] = {}  # by channel: the last that was published
        self._epoch = 0
        self._beat_at = 0.0
        self._begun_at = self._ended_at = time.monotonic()
        self._keys: set[str] = set()
        self.counters: Counter[str] = Counter()

    @property
    def took_s(self) -> float:
        """How long it played, the waiting for a consumer not counted."""
        return self._ended_at - self._begun_at

    def stop(self) -> None:
        self._stopping.set()

    def run(self) -> None:
        """Play, from the first consumer's registration to the end, or to `stop`.

        Raises:
            BusInUse: somebody publishes on that bus, or its journals are no replay's.
            RedisUnavailable: Redis does not answer.
        """
        self._take_bus()
        with RedisSubscriber(self._redis) as bus, RedisPublisher(self._redis) as replies:
            names = self._recording.channels()
            prefix = BusNames().TICKER_UPDATES
            tickers = [name.removeprefix(prefix) for name in names if name.startswith(prefix)]
            stand_in = StandIn(bus, replies, tickers)
            bus.start_listening()
            wire = Wire(self._redis)
            try:
                self._play(wire, stand_in)
            finally:
                self._ended_at = time.monotonic()
                self._let_go(wire, stand_in)
                wire.close()

    # -- the bus

    def _take_bus(self) -> None:
        client = self._redis.client()
        names = self._names
        try:
            if client.exists(names.BROKER_LEADER):
                raise BusInUse(self._config.prefix, f"{names.BROKER_LEADER} exists")
            if next_heartbeat(self._redis, LISTEN_S) is not None:
                raise BusInUse(self._config.prefix, "its heartbeat was heard")
            mine = bool(client.exists(names.BROKER_REPLAY))
            left = [
                key
                for kind in (names.TICKER_LOG, names.ORDER_LOG, names.BROKER_EPOCH)
                for key in client.scan_iter(match=f"{kind}*", count=1_000)
            ]
            if left and not mine:
                raise BusInUse(self._config.prefix, "it holds journals that no replay has written")
            for key in left:
                client.delete(key)
            client.set(names.BROKER_REPLAY, str(self._recording.path))
        finally:
            client.close()

    def _let_go(self, wire: Wire, stand_in: StandIn) -> None:
        try:
            status = stand_in.heartbeat(self._epoch, self._seqs(), "STOPPED")
            names = self._names
            commands: list[_Command] = [
                ("PUBLISH", names.BROKER_STATUS, encode(status)),
                ("DEL", names.BROKER_LEADER),
                *(("EXPIRE", key, KEPT_S) for key in (*self._keys, names.BROKER_EPOCH)),
                ("EXPIRE", names.BROKER_REPLAY, 2 * KEPT_S),  # outlives what it explains
            ]
            _do(wire, commands)
        except RedisUnavailable as error:
            log.warning("replay.end_not_told", error=str(error))

    # -- playing

    def _play(self, wire: Wire, stand_in: StandIn) -> None:
        first = next(iter(self._recording.rows()), None)
        self._epoch = first.epoch if first else 0
        _do(wire, [("SET", self._names.BROKER_EPOCH, self._epoch)])
        self._beat(wire, stand_in)
        if self._config.wait:
            while not stand_in.asked.wait(0.05) and not self._stopping.is_set():
                self._beat_if_due(wire, stand_in)
        self._begun_at = time.monotonic()
        pace = Pace(self._config.speed, self._begun_at)
        for chunk in pace.in_chunks(self._recording.rows(), CHUNK):
            while (wait_s := pace.wait_s(chunk[0].recorded_at, time.monotonic())) > 0:
                if self._stopping.wait(min(wait_s, 0.2)):
                    return
                self._beat_if_due(wire, stand_in)
            if self._stopping.is_set():
                return
            self._publish(wire, chunk)
            self._beat_if_due(wire, stand_in)

    def _publish(self, wire: Wire, rows: Sequence[Recorded]) -> None:
        commands: list[_Command] = []
        for row in rows:
            commands += self._commands(row)
        if commands:
            _do(wire, commands)

    def _commands(self, row: Recorded) -> list[_Command]:
        """What the broker did for this message."""
        if row.seq <= 0:  # the recorder's word for what it missed: the hole itself will tell
            self.counters["gaps_of_the_recorder"] += 1
            return []
        commands: list[_Command] = []
        place, last = Place(row.epoch, row.seq), self._places.get(row.channel)
        symbol = row.channel.removeprefix(BusNames().TICKER_UPDATES)
        journalled = symbol != row.channel
        if last is not None and row.epoch == last.epoch and row.seq <= last.seq:
            self.counters["repeats"] += 1
            return []
        if journalled and last is not None and row.epoch < last.epoch:
            # A broker whose clock was set back, on a Redis that had been emptied.
            commands.append(("DEL", self._names.ticker_log(symbol)))
            commands.append(("DEL", self._names.order_log(symbol)))
            self._epoch = 0
        if row.epoch > self._epoch:
            self._epoch = row.epoch
            commands.append(("SET", self._names.BROKER_EPOCH, row.epoch))
        self._places[row.channel] = place
        if journalled:
            commands += self._journal(symbol, row, str(place))
        commands.append(("PUBLISH", self._config.prefix + row.channel, row.payload))
        self.counters["messages"] += 1
        return commands

    def _journal(self, symbol: str, row: Recorded, entry_id: str) -> list[_Command]:
        log_key, order_key = self._names.ticker_log(symbol), self._names.order_log(symbol)
        bound = ("MAXLEN", "~", self._config.journal_bound)
        writes: list[_Command] = []
        self._keys.add(log_key)
        if row.type == "order":
            self._keys.add(order_key)
            writes.append(("XADD", order_key, entry_id, "m", row.payload))
        writes.append(("XADD", log_key, *bound, entry_id, "m", row.payload))
        return writes

    def _seqs(self) -> dict[str, int]:
        prefix = BusNames().TICKER_UPDATES
        return {
            channel.removeprefix(prefix): place.seq
            for channel, place in self._places.items()
            if channel.startswith(prefix) and place.epoch == self._epoch
        }

    def _beat_if_due(self, wire: Wire, stand_in: StandIn) -> None:
        if time.monotonic() >= self._beat_at:
            self._beat(wire, stand_in)

    def _beat(self, wire: Wire, stand_in: StandIn) -> None:
        self._beat_at = time.monotonic() + HEARTBEAT_S
        names = self._names
        status = stand_in.heartbeat(self._epoch, self._seqs())
        leader = encode({"owner": "replay", "account_id": None})
        _do(
            wire,
            [
                ("SET", names.BROKER_LEADER, leader, "PX", 10_000),
                ("PUBLISH", names.BROKER_STATUS, encode(status)),
            ],
        )


def _do(wire: Wire, commands: Sequence[_Command]) -> None:
    """All in one write; the first error is raised."""
    try:
        wire.send(b"".join([pack_command(*command) for command in commands]))
        replies: list[Any] = [wire.receive() for _ in commands]
    except CONNECTION_FAULTS as error:
        raise RedisUnavailable("the replay's bus", error) from error
    for command, reply in zip(commands, replies, strict=True):
        if isinstance(reply, hiredis.ReplyError):
            raise RedisUnavailable("the replay's bus", f"{command[0]!s} {command[1]!s}: {reply}")
