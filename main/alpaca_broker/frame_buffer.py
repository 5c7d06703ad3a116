"""What waits between a connection and a producer: frames, in the order of their arrival.

Bounded in bytes and in age. When a bound is passed, what waits is folded to the last message of
each kind and ticker, and the rest is counted, to be told as a `gap`. Order updates are kept
elsewhere and never fold.
"""

from __future__ import annotations

import contextlib
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from queue import Empty, SimpleQueue
from typing import NamedTuple

import msgspec

from ..utils.redis.messages import PriceMessage
from .codec import DailyBar, MarketMessage, MinuteBar, Quote, UpdatedBar, decode_frame

# Some 400 trades in MessagePack, so that what is taken is one batch for Redis, which works on it
# while the producer makes the next. More than one batch would be waited for in the middle, and what
# is made of twice as many bytes no longer fits into the processor's caches.
TAKE_BYTES = 24 * 1024
# Trades that happened before the last message that was received may still have been on their way.
LATE_NS = 1_000_000_000


class Frame(msgspec.Struct, frozen=True, gc=False):  # a dataclass takes five times as long to make
    """One data frame as it came. `received_ns` is Unix time."""

    feed: str
    payload: bytes | str
    received_ns: int


@dataclass(frozen=True, kw_only=True)
class Folded:
    """What is left of an overflow: the last message of each kind and ticker, and for each ticker
    how many are gone, between which receive times."""

    feed: str
    kept: list[MarketMessage]
    lost: dict[str, int]  # of the ticker's own channel: trades, statuses, corrections
    lost_quotes: dict[str, int]
    lost_bars: dict[str, int]
    from_ns: int
    to_ns: int
    cause: str = "overload"
    malformed: int = 0

    @property
    def tickers(self) -> frozenset[str]:
        """Those of which something is gone."""
        return frozenset().union(self.lost, self.lost_quotes, self.lost_bars)

    @property
    def messages_lost(self) -> int:
        counts = (self.lost, self.lost_quotes, self.lost_bars)
        return sum(sum(count.values()) for count in counts)


@dataclass(frozen=True, kw_only=True)
class Break:
    """The connection was away: messages of `symbols` may be missing between these times."""

    symbols: tuple[str, ...]
    from_ns: int
    to_ns: int
    cause: str = "upstream_disconnected"
    refill: bool = True  # False: nobody knows what was published, and nothing may come twice
    number: int = 0  # given by the price desk when it asks for a refill
    ends_silence: bool = False  # what was mute or lost is heard again from here on


@dataclass(frozen=True, kw_only=True)
class Silence:
    """These tickers were found mute together: what they said since then, nobody has heard."""

    symbols: tuple[str, ...]
    from_ns: int


@dataclass(frozen=True, kw_only=True)
class Refill:
    """What REST brought for an interruption: by symbol, its missed trades in order. A symbol
    without an entry could not be refilled."""

    symbols: tuple[str, ...]
    trades: Mapping[str, list[PriceMessage]]
    number: int = 0  # of the interruption that it answers


Note = Break | Silence | Refill
Item = Frame | Folded | Note


@dataclass(kw_only=True)
class BufferCounters:
    frames: int = 0
    bytes: int = 0
    folded_messages: int = 0


@dataclass
class FrameBuffer:
    """Frames from several connections to one producer. Any thread puts, one takes."""

    max_bytes: int = 64 * 1_048_576
    max_age_s: float = 30.0
    clock_ns: Callable[[], int] = time.time_ns
    steady_ns: Callable[[], int] = time.monotonic_ns
    fold_cause: Callable[[], str] = lambda: "overload"
    counters: BufferCounters = field(default_factory=BufferCounters)

    def __post_init__(self) -> None:
        self._items: deque[Item] = deque()
        self._bytes = 0
        # Of Unix time over the steady clock, measured whenever nothing waits: a clock that is set
        # while frames wait must neither fold them nor keep them for ever.
        self._ahead_ns = 0
        self._woken = self._asleep = False
        self._lock = threading.Lock()
        self._alarm: SimpleQueue[None] = SimpleQueue()  # half of what a Condition takes

    def put(self, feed: str, *payloads: bytes | str) -> None:
        """Keep frames that came together; folds what waits when a bound is passed."""
        size = sum(map(len, payloads))
        with self._lock:
            if not self._items:
                self._ahead_ns = self.clock_ns() - self.steady_ns()
            now_ns = self.steady_ns() + self._ahead_ns
            frames = [Frame(feed, payload, now_ns) for payload in payloads]
            self._items.extend(frames)
            self._bytes += size
            self.counters.frames += len(frames)
            self.counters.bytes += size
            if self._bytes > self.max_bytes or self._oldest_age_s(frames[-1]) > self.max_age_s:
                self._fold()
        self._rouse()

    def put_note(self, note: Note) -> None:
        """Put, in its place among the frames, that some are missing here, or what was missed."""
        with self._lock:
            self._items.append(note)
        self._rouse()

    def take(self, timeout_s: float) -> list[Item]:
        """What waits, up to about a batch of it: whoever stops the producer waits for no more.

        Empty after `timeout_s` without any, or when woken.
        """
        if not self._items and not self._woken:
            self._sleep(timeout_s)
        with self._lock:
            self._woken = False
            taken: list[Item] = []
            taken_bytes = 0
            while self._items and taken_bytes < TAKE_BYTES:
                item = self._items.popleft()
                taken.append(item)
                if isinstance(item, Frame):
                    taken_bytes += len(item.payload)
            self._bytes -= taken_bytes
            return taken

    def wake(self) -> None:
        """Let the `take` that waits, or else the next one, return at once."""
        self._woken = True
        self._rouse()

    def _sleep(self, timeout_s: float) -> None:
        self._asleep = True
        # What came before we said so would not wake us. A wake-up too many does no harm.
        if not self._items and not self._woken:
            with contextlib.suppress(Empty):
                self._alarm.get(timeout=timeout_s)
        self._asleep = False

    def _rouse(self) -> None:
        if self._asleep:
            self._asleep = False
            self._alarm.put(None)

    @property
    def is_empty(self) -> bool:
        """Whether nothing waits at this moment."""
        return not self._items

    def waiting(self) -> tuple[int, float]:
        """(bytes that wait, seconds that the oldest data has waited, folded or not)."""
        with self._lock:
            now_ns = self.steady_ns() + self._ahead_ns
            data = (_begun_ns(item) for item in self._items if isinstance(item, Frame | Folded))
            return self._bytes, max(0, now_ns - next(data, now_ns)) / 1e9

    def behind_s(self) -> float:
        """How far back the oldest of what waits to be published or told reaches, in seconds."""
        with self._lock:
            now_ns = self.steady_ns() + self._ahead_ns
            return max(0, now_ns - min(map(_begun_ns, self._items), default=now_ns)) / 1e9

    def _oldest_age_s(self, newest: Frame) -> float:
        first = self._items[0] if self._items else newest
        oldest = (
            first
            if type(first) is Frame
            else next((item for item in self._items if isinstance(item, Frame)), newest)
        )
        return (newest.received_ns - oldest.received_ns) / 1e9

    def _fold(self) -> None:
        frames = [item for item in self._items if isinstance(item, Frame)]
        others = [item for item in self._items if not isinstance(item, Frame)]
        self._items.clear()
        self._items.extend(others)
        for feed in dict.fromkeys(frame.feed for frame in frames):
            folded = fold([f for f in frames if f.feed == feed], self.fold_cause())
            if (earlier := self._folded_before(feed)) is not None:
                # Redis is away for long: one item of a feed, however often it is folded.
                self._items.remove(earlier)
                self.counters.folded_messages -= earlier.messages_lost
                folded = merge(earlier, folded)
            self.counters.folded_messages += folded.messages_lost
            self._items.append(folded)
        self._bytes = 0

    def _folded_before(self, feed: str) -> Folded | None:
        """What was folded of this feed before, if nothing but other folds came since."""
        for item in reversed(self._items):
            if not isinstance(item, Folded):
                return None
            if item.feed == feed:
                return item
        return None


def _begun_ns(item: Item) -> int:
    if isinstance(item, Frame):
        return item.received_ns
    # A refill answers a break that was taken before it.
    return sys.maxsize if isinstance(item, Refill) else item.from_ns


def fold(frames: list[Frame], cause: str = "overload") -> Folded:
    """Pure: the frames of one feed to the last messages of each ticker, and how many are gone."""
    decoded = [decode_frame(frame.payload) for frame in frames]
    kept, lost = _keep_last(m for messages, _ in decoded for m in messages)
    return Folded(
        feed=frames[0].feed,
        kept=kept,
        lost=lost.messages,
        lost_quotes=lost.quotes,
        lost_bars=lost.bars,
        from_ns=frames[0].received_ns,
        to_ns=frames[-1].received_ns,
        cause=cause,
        malformed=sum(bad for _, bad in decoded),
    )


def merge(earlier: Folded, later: Folded) -> Folded:
    """Pure: two neighbours of one feed as one."""
    kept, lost = _keep_last([*earlier.kept, *later.kept])
    return Folded(
        feed=later.feed,
        kept=kept,
        lost=_sum(lost.messages, earlier.lost, later.lost),
        lost_quotes=_sum(lost.quotes, earlier.lost_quotes, later.lost_quotes),
        lost_bars=_sum(lost.bars, earlier.lost_bars, later.lost_bars),
        from_ns=earlier.from_ns,
        to_ns=later.to_ns,
        cause=later.cause,
        malformed=earlier.malformed + later.malformed,
    )


class _Lost(NamedTuple):
    """By channel, how many messages of each ticker are gone."""

    messages: dict[str, int]
    quotes: dict[str, int]
    bars: dict[str, int]


def _keep_last(messages: Iterable[MarketMessage]) -> tuple[list[MarketMessage], _Lost]:
    """The last message of each kind and ticker; how many of each ticker are gone."""
    last: dict[tuple[type, str], MarketMessage] = {}
    lost = _Lost({}, {}, {})
    for message in messages:
        key = (type(message), message.S)
        # Taken out first, so that the later one stands where it came.
        if last.pop(key, None) is not None:
            count = lost.messages
            if isinstance(message, Quote):
                count = lost.quotes
            elif isinstance(message, MinuteBar | UpdatedBar | DailyBar):
                count = lost.bars
            count[message.S] = count.get(message.S, 0) + 1
        last[key] = message
    return list(last.values()), lost


def _sum(*counts: dict[str, int]) -> dict[str, int]:
    total: dict[str, int] = {}
    for count in counts:
        for symbol, number in count.items():
            total[symbol] = total.get(symbol, 0) + number
    return total
