"""One handler's bounded queue, and the worker thread in which alone the handler runs."""

from __future__ import annotations

import threading
from collections import Counter, OrderedDict, deque
from collections.abc import Callable, Iterable
from queue import SimpleQueue
from typing import Any, Final, Literal, NamedTuple

from ..event_log import EventLog
from ..tracebacks import plain_traceback
from .messages import PriceMessage, QuoteMessage

log: Final = EventLog("tickerbus.subscriber")

Handler = Callable[[Any], object]
Decode = Callable[[str, bytes], Any]
Policy = Literal["all", "latest"]


class Undecoded(NamedTuple):
    """What the worker decodes: the reader does not need to look into it."""

    channel: str
    payload: bytes
    decode: Decode


class LatestQueue:
    """A queue that keeps only a ticker's newest trade and quote; all else stays and in order.

    A trade that may set the last price is replaced only by another such: an odd lot must not hide
    the last price.
    """

    def __init__(self) -> None:
        self.skipped: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._items: OrderedDict[object, Any] = OrderedDict()

    def __len__(self) -> int:
        return len(self._items)

    def extend(self, messages: Iterable[Any]) -> None:
        with self._lock:
            items = self._items
            for message in messages:
                key = _replaceable(message)
                if key in items:
                    self.skipped[message.symbol] += 1
                    del items[key]  # so that the newer one stands where it was published
                items[key] = message

    def popleft(self) -> Any:
        with self._lock:
            if not self._items:
                raise IndexError
            return self._items.popitem(last=False)[1]


def _replaceable(message: object) -> object:
    kind = type(message)
    if kind is PriceMessage:
        return kind, message.symbol, message.last_eligible  # type: ignore[attr-defined]
    if kind is QuoteMessage:
        return kind, message.symbol  # type: ignore[attr-defined]
    return object()  # orders, gaps and whatever else: equal to nothing


class Outlet:
    """A handler, its queue and its thread.

    The reader stages messages and flushes them once per read; `flush` is one step for the queue.
    The bound is checked before a read is staged, so the queue may exceed `capacity` by one read.
    """

    has_worker = True  # that empties the queue whatever happens

    def __init__(
        self,
        handler: Handler,
        policy: Policy,
        capacity: int,
        room_again: Callable[[Outlet], None],
    ) -> None:
        self.handler, self.policy, self.capacity = handler, policy, capacity
        self.queue: deque[Any] | LatestQueue = LatestQueue() if policy == "latest" else deque()
        self.staged: list[Any] = []
        self.full = False  # when the reader last looked, at the start of a read
        self.feeds = 0  # how many feeds hand over to it
        self.handled = self.errors = self.undecodable = 0
        self.parked: list[Any] = []  # feeds that wait for room; the subscriber's lock is held
        self._room_again = room_again
        self._asleep = False
        self._wake: SimpleQueue[None] = SimpleQueue()  # cheaper than an Event, which is hot here
        self._ending = False
        self._thread: threading.Thread | None = None

    @property
    def name(self) -> str:
        called = getattr(self.handler, "__qualname__", type(self.handler).__qualname__)
        return f"bus-handler-{called.replace('.<locals>', '')}"

    @property
    def skipped(self) -> Counter[str]:
        """By ticker: how many trades and quotes the policy `latest` replaced by a newer one."""
        return self.queue.skipped if isinstance(self.queue, LatestQueue) else Counter()

    @property
    def counts(self) -> Counter[str]:
        return Counter(handled=self.handled, handler_errors=self.errors, ignored=self.undecodable)

    @property
    def room(self) -> int:
        return self.capacity - len(self.queue)

    def stage(self, item: Any) -> None:
        self.staged.append(item)

    def park(self, feed: object) -> bool:
        """Call back when half of the queue is free; False if it is so already."""
        self.parked.append(feed)
        if len(self.queue) > self.capacity // 2:
            return True
        self.parked.remove(feed)
        return False

    def flush(self) -> None:
        """Hand the staged messages to the worker."""
        if not self.staged:
            return
        self.queue.extend(self.staged)
        self.staged.clear()
        self._rouse()

    def start(self) -> None:
        if self._thread is None or not self._thread.is_alive():
            self._ending = False
            self._thread = threading.Thread(target=self._work, name=self.name, daemon=True)
            self._thread.start()

    def end_when_empty(self) -> None:
        self._ending = True
        self._rouse()

    def _rouse(self) -> None:
        if self._asleep:
            self._asleep = False
            self._wake.put(None)

    def join(self, timeout_s: float) -> str | None:
        """Wait for the worker; its name if it would not end in time."""
        thread = self._thread
        if thread is None or thread is threading.current_thread():
            return None
        thread.join(max(0.0, timeout_s))
        return thread.name if thread.is_alive() else None

    @property
    def alive(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _work(self) -> None:
        take, handler = self.queue.popleft, self.handler
        half = self.capacity // 2
        while True:
            try:
                item = take()
            except IndexError:
                if self._ending:
                    return
                self._sleep()
                continue
            try:
                if type(item) is Undecoded:
                    self._decode_and_hand_over(item)
                else:
                    handler(item)
                    self.handled += 1
            except Exception:  # a handler is user code: whatever it raises ends nothing here
                self.errors += 1
                log.error("handler.raised", handler=self.name, traceback=plain_traceback())
            if self.parked and len(self.queue) <= half:
                self._room_again(self)

    def _sleep(self) -> None:
        self._asleep = True
        # What came before we said so would not wake us. A wake-up too many does no harm.
        if len(self.queue) or self._ending:
            self._asleep = False
        else:
            self._wake.get()

    def _decode_and_hand_over(self, item: Undecoded) -> None:
        message = item.decode(item.channel, item.payload)
        if message is None:
            self.undecodable += 1
        else:
            self.handler(message)
            self.handled += 1
