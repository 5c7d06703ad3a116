"""Who gets which market message. Pure: readers are told, sockets are elsewhere."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from .config import StreamRules
from .data_session import DataSession, Turn
from .feeds import MarketName
from .outbox import Outbox, Published

_DELAYED_BOUND = 1_000_000
_CONTROL_BOUND = 1_000

ReaderFilter = Callable[["Reader", Published], Iterable[Published]]


class Reader:
    """One data connection: its conversation, and the messages on their way to it.

    `wake` is called when something waits, `on_slow` when more waits than may. `control` holds
    ready frames, which go first.
    """

    def __init__(self, number: int, session: DataSession, rules: StreamRules) -> None:
        self.number = number
        self.session = session
        self.outbox = Outbox(rules.buffer_messages, rules.max_frame_messages)
        self.control: deque[bytes] = deque()
        self.slot: str | None = None
        self.wake: Callable[[], None] = lambda: None
        self.on_slow: Callable[[], None] = lambda: None

    @property
    def endpoint(self) -> str:
        """The endpoint's name, for faults and reports."""
        return self.session.feed.name

    def say(self, turn: Turn) -> None:
        """Queue control messages, each alone in its array."""
        encoding = self.session.encoding
        if len(self.control) > _CONTROL_BOUND:  # it asks and asks, and never reads
            self.outbox.overflowed = True
            self.control.clear()
            self.on_slow()
            return
        for message in turn.messages:
            self.control.append(encoding.frame([encoding.encode(message)]))
        if turn.messages:
            self.wake()

    def offer(self, item: Published) -> None:
        """Queue a market message."""
        self.outbox.add(item)
        if self.outbox.overflowed:
            self.on_slow()
        self.wake()


class Hub:
    """Routes by (market, channel, symbol), the wildcard included."""

    def __init__(self) -> None:
        self._routes: dict[tuple[MarketName, str, str], dict[int, Reader]] = {}
        self._delayed: dict[int, deque[tuple[int, Published]]] = {}
        self.readers: dict[int, Reader] = {}
        self.dropped = 0  # what a delayed feed could not hold; the oldest go first
        self.filter: ReaderFilter = lambda _, item: (item,)
        self.faulty: Callable[[], bool] = lambda: False

    def attach(self, reader: Reader) -> None:
        """A connection was accepted."""
        self.readers[reader.number] = reader

    def detach(self, reader: Reader) -> None:
        """A connection has ended."""
        self.readers.pop(reader.number, None)
        self._delayed.pop(reader.number, None)
        self._unroute(reader)

    def resubscribe(self, reader: Reader) -> None:
        """A connection's subscriptions have changed."""
        self._unroute(reader)
        for channel, symbol in reader.session.subscriptions.entries():
            key = (reader.session.feed.market, channel, symbol)
            self._routes.setdefault(key, {})[reader.number] = reader

    def publish(self, market: MarketName, item: Published, now_ns: int) -> None:
        """Hand a message to everyone who wants it."""
        exact = self._routes.get((market, item.channel, item.symbol))
        every = self._routes.get((market, item.channel, "*"))
        if exact:
            for reader in exact.values():
                self._offer(reader, item, now_ns)
        if every:
            for number, reader in every.items():
                if not exact or number not in exact:
                    self._offer(reader, item, now_ns)

    def offer_late(self, number: int, item: Published) -> None:
        """A message that a fault had held back."""
        reader = self.readers.get(number)
        if reader is not None:
            reader.offer(item)

    def release_delayed(self, now_ns: int) -> None:
        """Hand over what a delayed feed has held back long enough."""
        for number, held in self._delayed.items():
            while held and held[0][0] <= now_ns:
                self._deliver(self.readers[number], held.popleft()[1])

    def _offer(self, reader: Reader, item: Published, now_ns: int) -> None:
        if not item.on_iex and reader.endpoint == "iex":
            return
        delay_s = reader.session.feed.delay_s
        if delay_s:
            held = self._delayed.setdefault(reader.number, deque())
            if len(held) >= _DELAYED_BOUND:
                held.popleft()
                self.dropped += 1
            held.append((now_ns + int(delay_s * 1e9), item))
        else:
            self._deliver(reader, item)

    def _deliver(self, reader: Reader, item: Published) -> None:
        if self.faulty():
            for passed in self.filter(reader, item):
                reader.offer(passed)
        else:
            reader.offer(item)

    def _unroute(self, reader: Reader) -> None:
        for key in [key for key, readers in self._routes.items() if reader.number in readers]:
            del self._routes[key][reader.number]
            if not self._routes[key]:
                del self._routes[key]
