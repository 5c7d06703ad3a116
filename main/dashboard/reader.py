"""A thin shell: what Redis tells, put on the board. It never registers a ticker by looking."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final, cast

import msgspec
import redis
import structlog

from ..holders import current_holders
from ..utils.redis.connections import CONNECTION_FAULTS
from ..utils.redis.constants import BusNames
from ..utils.redis.errors import BusError, RedisUnavailable
from ..utils.redis.messages import BrokerStatus, RegistrationReply
from ..utils.redis.subscriber import RedisSubscriber
from ..utils.tracebacks import plain_traceback
from . import words
from .board import Board
from .config import DashboardConfig
from .journal_reader import JournalReader
from .market import day_begins_s
from .redis_facts import RedisFacts, read_clients, read_info
from .rows import trades_of

log: Final = structlog.get_logger("tickerbus.dashboard")

POLL_S: Final = 1.0
CAPACITY: Final = 20_000
AT_ONCE: Final = 20  # tickers whose journals are read in one round trip


class BoardReader:
    """`start`, `stop`; in between the board is kept up, with `lock` held for each change."""

    def __init__(self, config: DashboardConfig, board: Board) -> None:
        self.lock = threading.Lock()
        self._config, self._board = config, board
        self._names = BusNames(config.redis.bus_prefix)
        self._subscriber: RedisSubscriber | None = None
        self._stopping, self._look_now = threading.Event(), threading.Event()
        self._polled, self._seeded = threading.Event(), threading.Event()
        self._trouble_since_s: float | None = None
        self._clients = [config.redis.client() for _ in range(2)]
        self._journals = JournalReader(self._clients[1], self._names)
        self._threads = [
            threading.Thread(target=self._guarded(work), name=name, daemon=True)
            for name, work in (("dashboard-poll", self._poll), ("dashboard-seed", self._seed))
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def wait_for_first_look(self, timeout_s: float) -> None:
        """Until what Redis holds is on the board, so that the first picture is no empty one."""
        deadline = time.monotonic() + timeout_s
        for looked in (self._polled, self._seeded):
            looked.wait(max(0.0, deadline - time.monotonic()))

    def stop(self, timeout_s: float = 3.0) -> None:
        """End the threads and the connections."""
        self._stopping.set()
        self._look_now.set()
        self._polled.set()
        deadline = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.1, deadline - time.monotonic()))
        if self._subscriber is not None:
            self._subscriber.close()
        for client in self._clients:
            client.close()

    def look_now(self) -> None:
        """Registrations have changed: read them now."""
        self._look_now.set()

    # -- what is published

    def _subscribe(self) -> None:
        """Raises BusError: not now."""
        subscriber = RedisSubscriber(self._config.redis)
        try:
            names = subscriber.names
            subscriber.subscribe(f"{names.TICKER_UPDATES}*", self._on_ticker, capacity=CAPACITY)
            subscriber.subscribe(names.BROKER_STATUS, self._on_status)
            subscriber.subscribe(names.BROKER_REGISTRATION_REPLIES, self._on_reply)
            subscriber.start_listening()
        except BaseException:
            subscriber.close()
            raise
        self._subscriber = subscriber

    def _on_ticker(self, message: Any) -> None:
        with self.lock:
            self._board.take(message, time.time())

    def _on_status(self, status: object) -> None:
        if isinstance(status, BrokerStatus):
            with self.lock:
                self._board.take_broker(status, time.time())

    def _on_reply(self, reply: object) -> None:
        if isinstance(reply, RegistrationReply):
            self.look_now()

    # -- what is asked for

    def _poll(self) -> None:
        while not self._stopping.is_set():
            self._look_now.clear()
            try:
                if self._subscriber is None:
                    self._subscribe()
                client = self._clients[0]
                leases = cast(dict[bytes, bytes], client.hgetall(self._names.BROKER_LEASES))
                holders = current_holders(leases, time.time())
                facts = self._ask_redis(client)
                with self.lock:
                    self._board.take_holders(holders)
                    self._board.take_redis(facts)
                    self._board.dropped = self._dropped()
                    if self._trouble_since_s is not None:
                        self._board.read_journals_again()
                self._trouble_since_s = None
            except (*CONNECTION_FAULTS, redis.RedisError, BusError) as error:
                self._note_trouble(error)
            self._polled.set()
            self._look_now.wait(POLL_S)

    def _note_trouble(self, error: Exception) -> None:
        if self._trouble_since_s is None:
            self._trouble_since_s = time.time()
            log.warning("dashboard.redis_away", error=str(error))
        # In plain words: `nobody listens there`, not `Error 111 connecting to …`.
        plain = error if isinstance(error, BusError) else RedisUnavailable("", error)
        told = words.word(str(plain).rpartition("is not available: ")[2].rstrip("."), 160)
        since = words.clock(self._trouble_since_s)
        with self.lock:
            before = self._board.redis
            trouble = f"no answer since {since} UTC ({told})"
            self._board.take_redis(
                replace(before, trouble=trouble, trouble_since_s=self._trouble_since_s)
            )

    def _ask_redis(self, client: redis.Redis) -> RedisFacts:
        found: dict[str, Any] = {}
        refused = []
        asked: tuple[tuple[str, Callable[[], dict[str, Any]]], ...] = (
            ("+info", lambda: read_info(cast(Any, client.info()))),
            ("+client|list", lambda: read_clients(cast(Any, client).client_list())),
            ("+get", lambda: {"leader": _leader(client.get(self._names.BROKER_LEADER))}),
        )
        for right, ask in asked:
            try:
                found |= ask()
            except redis.exceptions.NoPermissionError:
                refused.append(right)
        return RedisFacts(address=self._board.redis.address, refused=tuple(refused), **found)

    def _dropped(self) -> int:
        counters = self._subscriber.counters if self._subscriber else {}
        return counters.get("queue_full_dropped", 0)

    # -- what the journals had before

    def _seed(self) -> None:
        self._polled.wait()
        while not self._stopping.is_set():
            with self.lock:
                fresh = [row.symbol for row in self._board.rows.values() if not row.is_seeded]
            try:
                for begin in range(0, len(fresh), AT_ONCE):
                    self._seed_some(fresh[begin : begin + AT_ONCE])
                self._seeded.set()
                for symbol in fresh:
                    self._seed_gaps(symbol)
            except (*CONNECTION_FAULTS, redis.RedisError) as error:
                log.info("dashboard.journals_not_read", error=str(error))
            self._stopping.wait(POLL_S / 2)

    def _seed_some(self, symbols: list[str]) -> None:
        if self._stopping.is_set():
            return
        readable = [symbol for symbol in symbols if _is_readable(self._names, symbol)]
        found = self._journals.newest(readable)
        now_s = time.time()
        with self.lock:
            for newest in found:
                for order in newest.orders:
                    self._board.orders.take(order, now_s)
            for symbol in symbols:
                if (row := self._board.rows.get(symbol)) is not None:
                    row.is_seeded = True
            for newest in found:
                if (row := self._board.rows.get(newest.symbol)) is not None:
                    row.seed(trades_of(newest.messages))
                    row.seed_halt(newest.messages)

    def _seed_gaps(self, symbol: str) -> None:
        if self._stopping.is_set() or not _is_readable(self._names, symbol):
            return
        day_s = day_begins_s(time.time())
        gaps = self._journals.gaps(symbol, day_s)
        with self.lock:
            for gap in gaps:
                if (words.unix_s(gap.to) or 0.0) >= day_s:
                    self._board.gaps.take(gap)
            self._board.all_gaps_known = self._journals.read_all_gaps

    def _guarded(self, work: Callable[[], None]) -> Callable[[], None]:
        """The supervisor: an error that nobody foresaw must not leave a page that stands still."""

        def run() -> None:
            while not self._stopping.is_set():
                try:
                    work()
                except Exception:
                    log.error("dashboard.reader_failed", traceback=plain_traceback())
                    self._stopping.wait(POLL_S)

        return run


def _leader(value: Any) -> str:
    """`host, process 123` of the leader's key."""
    try:
        owner = msgspec.json.decode(value or b"null", type=dict[str, str | None]).get("owner")
    except (msgspec.DecodeError, AttributeError):
        return ""
    parts = (owner or "").split("/")
    return f"{words.word(parts[0])}, process {words.word(parts[2], 12)}" if len(parts) > 2 else ""


def _is_readable(names: BusNames, symbol: str) -> bool:
    """Whether it can name a journal at all."""
    try:
        names.ticker_log(symbol)
    except ValueError:
        return False
    return True
