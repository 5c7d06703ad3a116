"""The bridge itself: one thread that takes in order messages, publishes, and remembers.

    read a batch → make events → publish them → (confirmed) → write memory and place in one step

Whatever dies between two of these steps, nothing is lost and nothing doubled: what was published
and not remembered is published again under the same event ids, which the bus takes once.
"""

from __future__ import annotations

import queue
import threading
import time
from collections import Counter, deque
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

import structlog
from redis.exceptions import (
    MasterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
    WatchError,
)

from ..trade_events import RedisEventBus, TradeEvent
from ..utils.redis.client import TickerClient
from ..utils.redis.config import RedisConfig
from ..utils.redis.connections import CONNECTION_FAULTS
from ..utils.redis.constants import BusNames
from ..utils.redis.errors import RedisUnavailable
from ..utils.redis.messages import GapMessage, OrderMessage
from ..utils.redis.start import Start
from .journals import OrderJournals
from .memory import SymbolMemory, read_hash
from .names import BridgeNames
from .ownership import LEASE_S, Ownership

log: Final = structlog.get_logger("tickerbus.events_bridge")

INBOX: Final = 10_000
BATCH: Final = 256
BEGINNING: Final = "0-0"
_STEP_S: Final = 0.2
_RETRY_S: Final = 0.5
_ACQUIRE_STEP_S: Final = 0.25

_Wanted = OrderMessage | GapMessage
# Waiting mends these: Redis is away, loads, is out of memory, or is a primary no more.
_PASSING: Final = (
    *CONNECTION_FAULTS,
    RedisUnavailable,
    ReadOnlyError,
    MasterDownError,
    TryAgainError,
    OutOfMemoryError,
    WatchError,  # redis-py's word for a connection that was lost while it watched a key
)


@dataclass(frozen=True, kw_only=True)
class BridgeConfig:
    """`client_id` names its connections. `look_every_s`: how soon a symbol that trades for the
    first time is found; what it did before is not missed."""

    redis: RedisConfig
    client_id: str = "events-bridge"
    look_every_s: float = 1.0


class EventsBridge:
    """`run` is one thread's; `stop` may be called by any, also by a signal handler."""

    def __init__(self, config: BridgeConfig) -> None:
        """Connects nothing."""
        self.counters: Counter[str] = Counter()
        self._config = config
        self._names = BridgeNames(config.redis.bus_prefix)
        self._symbols: dict[str, SymbolMemory] = {}
        self._inbox: queue.Queue[_Wanted] = queue.Queue(maxsize=INBOX)
        self._untaken: deque[_Wanted] = deque()  # out of the inbox, and not in memory yet
        self._stopping = threading.Event()
        self._caught_up = threading.Event()
        self._renewed_at = float("-inf")
        self._unpublished: list[TradeEvent] = []  # made, and remembered as told: not to be lost

    # -- any thread

    def stop(self) -> None:
        """Let `run` return, after the batch that it is at."""
        self._stopping.set()

    def wait_until_caught_up(self, timeout_s: float) -> bool:
        """Whether every symbol that had orders at the start is followed, within the time."""
        return self._caught_up.wait(timeout_s)

    @property
    def symbols(self) -> list[str]:
        return sorted(self._symbols)

    # -- the one thread

    def __enter__(self) -> Self:
        """Connect.

        Raises:
            RedisUnavailable: nobody answers there, or refuses us.
        """
        with ExitStack() as opened:
            self._redis = self._config.redis.client()
            opened.callback(self._redis.close)
            self._bus = opened.enter_context(RedisEventBus(self._config.redis))
            self._client = opened.enter_context(
                TickerClient(self._config.redis, self._config.client_id)
            )
            opened.callback(self._stopping.set)  # a handler that waits for room gives up
            names = BusNames(self._config.redis.bus_prefix)
            self._journals = OrderJournals(self._redis, names, self._config.look_every_s)
            self._owner = Ownership(self._redis, self._names.owner)
            self._opened = opened.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with suppress(*_PASSING):  # its lease ends by itself
            self._owner.release()
        self._opened.close()

    def run(self) -> None:
        """Work until `stop`.

        Raises:
            AnotherBridge: it took over; nothing was lost.
            PublishRefused, NotPermitted: Redis refuses what waiting does not mend.
        """
        if not self._become_owner():
            return
        log.info("bridge.started", client_id=self._config.client_id)
        try:
            while not self._stopping.is_set():
                self._try_turn()
        except _Unconfirmed:
            pass  # the next bridge tells it again
        finally:
            log.info("bridge.stopped", symbols=len(self._symbols), **self.counters)

    def _try_turn(self) -> None:
        try:
            self._turn()
        except _PASSING as error:
            self.counters["redis_faults"] += 1
            log.warning("bridge.redis_away", error=str(error)[:200])
            self._stopping.wait(_RETRY_S)

    def _become_owner(self) -> bool:
        told = None
        while not self._stopping.is_set():
            try:
                other = self._owner.acquire()
            except _PASSING as error:
                other = f"unknown: {error}"[:200]
            if other is None:
                return True
            if other != told:
                log.info("bridge.waiting", other=other)
                told = other
            self._stopping.wait(_ACQUIRE_STEP_S)
        return False

    def _turn(self) -> None:
        self._follow_new_symbols()
        self._read()
        while self._untaken:  # one leaves only when it was taken: Redis may fail in a gap
            self._take(self._untaken[0])
            self._untaken.popleft()
        self._publish()
        self._save()

    # -- in

    def _follow_new_symbols(self) -> None:
        for symbol in self._journals.new_symbols(set(self._symbols), time.monotonic()):
            self._follow(symbol)
        self._caught_up.set()

    def _follow(self, symbol: str) -> None:
        saved = read_hash(self._redis.hgetall(self._names.memory(symbol)))
        memory = SymbolMemory(symbol, saved)
        self._tell_hole(memory)
        bus = self._client.bus
        # The reader is TickerClient's own, without a registration: orders are published whether
        # anybody follows the ticker or not, and the plan's symbols are for those who want prices.
        bus.subscribe(
            bus.names.get_ticker_channel(symbol),
            self._on_message,
            start=Start.from_id(memory.place or BEGINNING),
        )
        self._symbols[symbol] = memory
        log.info("bridge.symbol_followed", symbol=symbol, place=memory.place)

    def _tell_hole(self, memory: SymbolMemory) -> None:
        """Nothing is lost in silence: it was away for longer than the journal reaches back."""
        if memory.place is not None and self._journals.is_trimmed_after(
            memory.symbol, memory.place
        ):
            self.counters["holes"] += 1
            log.error("bridge.hole", symbol=memory.symbol, after=memory.place)

    def _on_message(self, message: object) -> None:
        """In the reader's worker thread. Waits for room: what is late is in the journal."""
        if not isinstance(message, _Wanted):
            return
        while not self._stopping.is_set():
            try:
                self._inbox.put(message, timeout=_STEP_S)
                return
            except queue.Full:
                self.counters["inbox_full"] += 1

    def _read(self) -> None:
        """The next batch, unless the last one was not taken to its end."""
        if self._untaken:
            return
        with suppress(queue.Empty):
            self._untaken.append(self._inbox.get(timeout=_STEP_S))
            while len(self._untaken) < BATCH:
                self._untaken.append(self._inbox.get_nowait())

    def _take(self, message: _Wanted) -> None:
        """Again after a fault, it goes on where it was: the place tells.

        Raises:
            one of _PASSING: in a gap.
        """
        memory = self._symbols[message.symbol]
        if isinstance(message, OrderMessage):
            self._unpublished += memory.take(message)
            self.counters["messages"] += 1
            return
        # Prices may be gone; orders stand in their own journal for a week.
        self.counters["gaps"] += 1
        for missed in self._journals.after(message.symbol, memory.place):
            self._unpublished += memory.take(missed)

    # -- out

    def _publish(self) -> None:
        """Returns when Redis has confirmed all events.

        Raises:
            _Unconfirmed: it is time to end. Nothing is remembered of them then, and the next
                bridge tells them again.
        """
        while self._unpublished:
            receipts = self._bus.publish_many(self._unpublished)
            self.counters.update(f"events_{receipt.status}" for receipt in receipts)
            while not self._bus.flush(_RETRY_S):
                if self._stopping.is_set():
                    raise _Unconfirmed
            dropped = {receipt.event_id for receipt in receipts if receipt.status == "dropped"}
            self._unpublished = [each for each in self._unpublished if each.event_id in dropped]

    def _save(self) -> None:
        changes: dict[str, tuple[dict[str, bytes], list[str]]] = {}
        for symbol, memory in self._symbols.items():
            fields, gone = memory.unsaved()
            if fields or gone:
                changes[self._names.memory(symbol)] = (fields, gone)
        now = time.monotonic()
        if changes or now - self._renewed_at > LEASE_S / 4:
            self._write(changes)
            self._renewed_at = now

    def _write(self, changes: dict[str, tuple[dict[str, bytes], list[str]]]) -> None:
        """Again and again until it is written: `unsaved` counts it as saved already."""
        while True:
            try:
                if self._owner.write(changes):
                    return
                log.warning("bridge.memory_written_anew", reason="Redis was emptied")
                changes = {
                    self._names.memory(symbol): (memory.everything(), [])
                    for symbol, memory in self._symbols.items()
                }
            except _PASSING as error:
                self.counters["redis_faults"] += 1
                log.warning("bridge.redis_away", error=str(error)[:200])
                if self._stopping.wait(_RETRY_S):
                    return


class _Unconfirmed(Exception):
    """It is time to end, and Redis has not confirmed."""
