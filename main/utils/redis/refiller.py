"""The refill thread: reads the journals, on its own connection, for feeds that lack something.

Feeds take turns, one chunk each, so that a long refill of one ticker does not delay another's.
"""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from typing import Final

from ..event_log import EventLog
from ..tracebacks import plain_traceback
from .config import backoff_delays
from .errors import RedisUnavailable
from .feed import Feed, Round
from .journal import Journal, Refill
from .outlet import Outlet
from .switchboard import Switchboard

log: Final = EventLog("tickerbus.subscriber")

TICK_S: Final = 0.8  # a ticker that was silent between two ticks is compared with its journal
AFTER_FAILURE_S: Final = 1.0
MAP_FRESH_S: Final = 1.5  # the heartbeat's map of numbers says the same for less


class Refiller:
    """Serves refill requests until it is told to stop."""

    def __init__(
        self, journal: Journal, board: Switchboard, each_tick: Callable[[], None] = lambda: None
    ) -> None:
        """`each_tick` is called in the refill thread, now and then."""
        self._journal, self._board, self._each_tick = journal, board, each_tick
        self._requests: queue.SimpleQueue[Feed | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._delays = backoff_delays()
        self._trouble = False

    # -- any thread

    def request(self, feed: Feed) -> None:
        self._requests.put(feed)

    def room_again(self, outlet: Outlet) -> None:
        """A worker has made room in its queue."""
        with self._board.lock:
            feeds, outlet.parked = outlet.parked, []
            for feed in feeds:
                feed.room_again()

    def start(self) -> None:
        self._stopping.clear()
        self._thread = threading.Thread(target=self._run, name="bus-refill", daemon=True)
        self._thread.start()

    def settle(self, timeout_s: float) -> bool:
        """Wait until no feed lacks anything, or reading fails, or the time is over."""
        deadline = time.monotonic() + timeout_s
        while not self._trouble and time.monotonic() < deadline:
            with self._board.lock:
                if all(feed.settled for feed in self._board.feeds()):
                    return True
            time.sleep(0.002)
        return False

    def stop(self, timeout_s: float) -> str | None:
        """End the thread; its name if it would not."""
        self._stopping.set()
        self._requests.put(None)
        if self._thread is None:
            return None
        self._thread.join(max(0.0, timeout_s))
        return self._thread.name if self._thread.is_alive() else None

    # -- the refill thread

    def _run(self) -> None:
        next_tick = time.monotonic() + TICK_S
        while not self._stopping.is_set():
            feed: Feed | None = None
            with contextlib.suppress(queue.Empty):
                feed = self._requests.get(timeout=max(0.0, next_tick - time.monotonic()))
            try:
                if time.monotonic() >= next_tick:
                    next_tick = time.monotonic() + TICK_S
                    self._each_tick()
                    self._compare_silent_tickers()
                if feed is not None:
                    self._serve(feed)
                self._note_success()
            except RedisUnavailable as error:
                self._note_trouble(error)
                if feed is not None:
                    self._requests.put(feed)
                self._stopping.wait(next(self._delays))
            except Exception:  # whatever it is, every feed that lacks something waits for us
                log.error("subscriber.refill_failed", traceback=plain_traceback())
                self._board.counters["refill_failures"] += 1
                if feed is not None:
                    self._requests.put(feed)
                self._stopping.wait(AFTER_FAILURE_S)

    def _serve(self, feed: Feed) -> None:
        with self._board.lock:
            made = feed.begin_round()
        if made is None:
            return
        authority = None
        if made.doubted is not None:
            # Asked after the doubt arose, so the answer is newer than the message.
            authority = self._journal.authority(self._board.heard_epoch)
        refill = self._read(feed, made)
        with self._board.lock:
            if made.doubted is not None:
                feed.answer_doubt(made.doubted, authority)
            feed.end_round(made, refill.plan, refill.complete)
            feed.outlet.flush()

    def _read(self, feed: Feed, made: Round) -> Refill:
        symbol = feed.delivery.symbol
        if not feed.journalled or symbol is None:
            return Refill([], True)
        return self._journal.refill(symbol, made.place, made.limit, made.left)

    def _compare_silent_tickers(self) -> None:
        """A lost last message shows in no later number. The heartbeat's map tells of it; without
        the map, the journal's top entry does."""
        board = self._board
        with board.lock:
            silent = [feed for feed in board.feeds() if feed.is_silent_since_last_tick()]
            if time.monotonic() - board.map_heard_at < MAP_FRESH_S:
                return
        symbols = sorted({feed.delivery.symbol or "" for feed in silent})
        if not symbols:
            return
        tops = dict(zip(symbols, self._journal.tops(symbols), strict=True))
        with board.lock:
            for feed in silent:
                top = tops.get(feed.delivery.symbol or "")
                if top is not None and not feed.closed:
                    feed.hint(top)

    def _note_success(self) -> None:
        if self._trouble:
            log.info("journal.readable_again")
            self._trouble = False
            self._delays = backoff_delays()

    def _note_trouble(self, error: RedisUnavailable) -> None:
        if not self._trouble:
            log.warning("journal.not_readable_now", error=str(error.cause))
        self._trouble = True
