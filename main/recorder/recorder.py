"""The recorder: listens to every ticker channel, and writes what came every few seconds.

One thread takes and writes. While it writes, messages wait in the subscriber's queue; should that
be full, the reader falls behind and catches up from the journals, as every consumer does. Another
thread merges the parts. What was recorded is also where a recorder that starts again goes on: what
it missed meanwhile it has from the journals.
"""

from __future__ import annotations

import fcntl
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import redis
import structlog
from redis.exceptions import NoPermissionError

from ..utils.redis.config import RedisConfig
from ..utils.redis.connections import CONNECTION_FAULTS
from ..utils.redis.errors import InvalidTicker, RedisUnavailable
from ..utils.redis.gap_tracker import BEGINNING, Place
from ..utils.redis.inbox import Finished, Inbox
from ..utils.redis.messages import GapMessage, encode
from ..utils.redis.start import Start
from ..utils.redis.subscriber import RedisSubscriber
from .day_files import DayFiles
from .errors import FolderInUse, MayNotLook
from .parts import days_in, parts_of
from .recording import Recording
from .table import Row
from .unlogged import UnloggedWatch

log: Final = structlog.get_logger("tickerbus.recorder")

FLUSH_S: Final = 2.0
LOOK_FOR_TICKERS_S: Final = 1.0
MAX_ROWS: Final = 200_000  # of one flush; more wait in the queue and in the journals
CAPACITY: Final = 50_000
DAYS_LOOKED_BACK: Final = 2  # for where to go on: no journal reaches further
RETRY_S: Final = 1.0


class Recorder:
    """`run` in one thread, `stop` from any."""

    def __init__(self, config: RedisConfig, root: Path) -> None:
        """Connects, and takes the folder.

        Raises:
            RedisUnavailable: Redis does not answer, or refuses us.
            FolderInUse: another recorder writes there.
            DayIsFinished: today's file cannot be added to.
            OSError: the folder cannot be written.
        """
        root.mkdir(parents=True, exist_ok=True)
        self.counters: Counter[str] = Counter()
        self.listening = False
        self._lock_file = _lock(root)
        try:
            self._days = DayFiles(root)
            self._places = _last_places(root)
            self._resumes = bool(self._places)
            self._days.open(_today())
            self._redis = config.client()
            self.bus = RedisSubscriber(config)
        except BaseException:
            self._lock_file.close()
            raise
        self._prefix, self._address = config.bus_prefix, config.address
        self._journalled = self.bus.names.TICKER_UPDATES
        self._inbox = Inbox("all", CAPACITY)
        self._unlogged = UnloggedWatch()
        self._known: set[str] = set()
        self._rows: list[Row] = []
        self._stopping = threading.Event()
        self._next_look_at = self._next_flush_at = 0.0
        self._in_trouble = False

    @property
    def tickers(self) -> int:
        """How many tickers' channels it listens to."""
        return len(self._known)

    @property
    def taken(self) -> int:
        """How many messages it has, on the disk or on their way there."""
        return self.counters["messages"] + len(self._rows)

    @property
    def folder(self) -> Path:
        """Where the parts of today are."""
        return self._days.folder

    def stop(self) -> None:
        self._stopping.set()
        self._inbox.finish()

    def run(self) -> None:
        """Record until `stop`; what was received is written before it returns.

        Raises:
            RedisUnavailable: at the start, when Redis does not answer.
            OSError: at the end, when the last rows cannot be written.
        """
        try:
            self._listen()
            self._days.start_merging()
            self._next_flush_at = time.monotonic() + FLUSH_S
            while not self._stopping.is_set():
                self._step()
        finally:
            self._wind_up()

    def close(self) -> None:
        """Let go of everything, for whoever never called `run`."""
        self.bus.close()
        self._redis.close()
        self._lock_file.close()

    # -- listening

    def _listen(self) -> None:
        names = self.bus.names
        for kind in (names.TICKER_QUOTES, names.TICKER_BARS):
            self._subscribe(f"{kind}*", Start.live())
        try:
            self._look_for_tickers(first=not self._resumes)
        except NoPermissionError as error:
            raise MayNotLook(error) from error
        except (*CONNECTION_FAULTS, redis.RedisError) as error:
            raise RedisUnavailable(self._address, error) from error
        self.bus.start_listening()
        self.listening = True

    def _look_for_tickers(self, *, first: bool = False) -> None:
        """A ticker that anything was published of has a journal.

        Those that are there at the very first start are joined live; of one that comes later, or
        that the recording does not know yet, the whole journal is new.
        """
        self._next_look_at = time.monotonic() + LOOK_FOR_TICKERS_S
        log_prefix = self.bus.names.TICKER_LOG
        new: list[str] = []
        for key in self._redis.scan_iter(match=f"{log_prefix}*", count=1_000):
            symbol = key.decode(errors="replace").removeprefix(log_prefix)
            if symbol not in self._known:
                self._known.add(symbol)
                self._follow(symbol, first)
                new.append(symbol)
        if new:
            log.info("recorder.follows", new=sorted(new)[:20], tickers=len(self._known))

    def _follow(self, symbol: str, first: bool) -> None:
        try:
            channel = self.bus.names.get_ticker_channel(symbol)
        except InvalidTicker:  # a key of somebody else's
            return
        place = self._places.get(channel.removeprefix(self._prefix))
        start = Start.from_id(str(place or BEGINNING))
        self._subscribe(channel, Start.live() if first else start)

    def _subscribe(self, channel: str, start: Start) -> None:
        self.bus.subscribe(channel, self._inbox, start=start, capacity=CAPACITY, decode=_as_it_is)

    # -- recording

    def _step(self) -> None:
        """Take until it is time to write, or to look for new tickers."""
        now = time.monotonic()
        if now >= self._next_look_at:
            self._try_to_look()
        if now >= self._next_flush_at or len(self._rows) >= MAX_ROWS:
            self._flush()
        until = min(self._next_flush_at, self._next_look_at)
        take, note = self._inbox.take, self._note
        try:
            while len(self._rows) < MAX_ROWS and (left_s := until - time.monotonic()) > 0:
                note(take(left_s))
        except (TimeoutError, Finished):
            return

    def _try_to_look(self) -> None:
        try:
            self._look_for_tickers()
        except (*CONNECTION_FAULTS, redis.RedisError, RedisUnavailable):
            self.counters["looks_failed"] += 1  # the subscriber tells that Redis is away

    def _note(self, item: Any) -> None:
        now_ns = time.time_ns()
        if isinstance(item, GapMessage):
            # The reader's own word for what it missed: it never had a channel.
            channel = self.bus.names.get_ticker_channel(item.symbol)
            self._rows.append(Row(now_ns, channel[len(self._prefix) :], encode(item).decode()))
            self.counters["gaps"] += 1
            return
        channel, payload = item
        try:
            row = Row(now_ns, channel[len(self._prefix) :], payload.decode())
        except UnicodeDecodeError:
            self.counters["ignored"] += 1
            return
        if not channel.startswith(self._journalled) and (
            gap := self._unlogged.judge(channel, payload)
        ):
            self._rows.append(row._replace(payload=gap))
            self.counters["gaps"] += 1
        self._rows.append(row)

    def _flush(self) -> None:
        """Write what came. What cannot be written stays, and is tried again."""
        self._next_flush_at = time.monotonic() + FLUSH_S
        try:
            if self._rows:
                self._write()
            self._days.open(_today())
        except OSError as error:
            self._note_trouble(error)
            return
        if self._in_trouble:
            log.info("recorder.writes_again", folder=str(self.folder))
        self._in_trouble = False

    def _write(self) -> None:
        self._days.write(self._rows)
        written, self._rows = self._rows, []
        self.counters["messages"] += len(written)

    def _note_trouble(self, error: OSError) -> None:
        if not self._in_trouble:
            log.error("recorder.cannot_write", folder=str(self.folder), error=str(error))
        self._in_trouble = True
        if len(self._rows) >= MAX_ROWS:
            self._stopping.wait(RETRY_S)  # nothing more is taken: the journals keep it

    def _wind_up(self) -> None:
        try:
            self.bus.stop()
            self._inbox.finish()
            while True:
                try:
                    self._note(self._inbox.take(0))
                except (TimeoutError, Finished):
                    break
            if self._rows:
                self._write()
        finally:
            self._days.close()
            self.close()


def _as_it_is(channel: str, payload: bytes) -> tuple[str, bytes]:
    return channel, payload


def _today() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%d")


def _lock(root: Path) -> Any:
    file = (root / ".lock").open("w")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise FolderInUse(root) from None
    return file


def _last_places(root: Path) -> dict[str, Place]:
    found: dict[str, Place] = {}
    for day in days_in(root)[-DAYS_LOOKED_BACK:]:
        if day.is_file() or parts_of(day):
            found |= Recording(day).last_places()
    return found
