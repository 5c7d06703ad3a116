"""`RedisEventBus`: everything behind one object, as the document has it."""

from __future__ import annotations

import atexit
import threading
from collections.abc import Iterable, Iterator
from datetime import datetime
from types import TracebackType
from typing import Any, Final, Literal

import redis
import structlog

from ..utils.redis.config import RedisConfig
from ..utils.redis.connections import CONNECTION_FAULTS
from ..utils.redis.errors import IllegalUse, RedisUnavailable
from .checks import check_symbol, check_type
from .consumer import DurableConsumer, Membership
from .counts import Counts
from .errors import InvalidTradeEvent
from .events import TradeEvent
from .failures import Failure, FailureLog
from .kinds import TradeEventType
from .listener import Listener
from .names import ANOMALY, TradeNames
from .operations import Operations, check_group, read_operations, write_operations
from .publishing import Publisher
from .queries import Queries, State, check_log_id
from .rebuild import Rebuild, Rebuilt
from .receipts import Receipt
from .sender import Sender
from .subscriptions import Handler, Subscription

log: Final = structlog.get_logger("tickerbus.trade_events")

CLOSE_WITHIN_S: Final = 2.0


class BusUnreachable(RedisUnavailable, redis.ConnectionError):
    """Nobody answers there, or refuses us. It is a `redis.ConnectionError` too."""


class RedisEventBus:
    """Publishes, subscribes, answers. Any thread may call it, also a handler.

    `publish_timeout_s`: how long a publisher waits for Redis' word, at most. `spool_events`: how
    many events may wait for Redis.
    """

    def __init__(
        self,
        config: RedisConfig,
        *,
        publish_timeout_s: float = 1.0,
        spool_events: int = 100_000,
    ) -> None:
        """Connect, and verify that Redis answers.

        Raises:
            redis.ConnectionError: nobody answers there, or refuses us.
        """
        self.names = TradeNames(config.bus_prefix)
        self.counters = Counts()
        self._config = config
        self._client = config.client()
        self._greet()
        self._queries = Queries(self._client, self.names, self.counters)
        self._failures = FailureLog(self._client, self.names, self.counters)
        self._listener = Listener(config, self.names, self._queries, self._failures, self.counters)
        self._sender = Sender(config, self.names, self.counters, spool_events)
        self._publisher = Publisher(self._sender, publish_timeout_s)
        self._stopping = threading.Event()
        self._listening = threading.Lock()
        self._closed = False
        atexit.register(self.close)  # what waits is sent also when nobody closes it
        self._sender.start()

    def _greet(self) -> None:
        try:
            self._client.ping()
        except CONNECTION_FAULTS as error:
            self._client.close()
            raise BusUnreachable(self._config.address, error) from error

    def __enter__(self) -> RedisEventBus:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def is_connected(self) -> bool:
        """Whether Redis answers now: it is asked."""
        if self._closed:
            return False
        try:
            return bool(self._client.ping())
        except CONNECTION_FAULTS:
            return False

    def close(self) -> None:
        """Send what waits, for at most 2 s; end listening; let go of the connections."""
        if self._closed:
            return
        self.stop()
        self._closed = True
        atexit.unregister(self.close)
        if left := self._sender.stop(CLOSE_WITHIN_S):
            self.counters.add("abandoned", left)
            log.error("trade_events.abandoned", events=left, trouble=self._sender.health.trouble)
        if self._listening.acquire(timeout=CLOSE_WITHIN_S):
            self._listening.release()
        self._listener.close()
        self._client.close()

    # -- publishing

    def publish(self, event: TradeEvent, *, wait: bool = True) -> Receipt:
        """Log it, move its order's or position's state and tell its channel, in one atomic step.

        Waits for Redis' word, but never longer than `publish_timeout_s`, and not at all while Redis
        is away or `wait` is false: then the event is spooled and goes out later, in order.

        Raises:
            InvalidTradeEvent: the event is not as its type demands; nothing was written.
            PublishRefused: Redis refuses it for a reason that waiting does not mend.
            IllegalUse: the bus is closed.
        """
        self._must_be_open()
        return self._publisher.publish(event, wait=wait)

    def publish_many(self, events: Iterable[TradeEvent]) -> list[Receipt]:
        """The same for many, in their order: packed, sent and confirmed side by side.

        Raises:
            InvalidTradeEvent: one is not as its type demands. Those before it may have been
                published; neither it nor those after it were.
            PublishRefused: Redis refuses one of them; the others were published.
            IllegalUse: the bus is closed.
        """
        self._must_be_open()
        return self._publisher.publish_many(events)

    def flush(self, timeout_s: float = 5.0) -> bool:
        """Whether everything that was published before is confirmed within the time."""
        return self._sender.flush(timeout_s)

    @property
    def spooled(self) -> int:
        """Events that wait for Redis."""
        return self._sender.spooled

    @property
    def trouble(self) -> str | None:
        """Why Redis is not taking events, while it is not."""
        return self._sender.health.trouble

    # -- subscribing

    def subscribe(self, symbol: str, event_type: TradeEventType | str, handler: Handler) -> None:
        """Give `handler` every event of one type of one symbol, from now on (a handler that
        subscribes: from after the event that it has in hand). It is called by the thread that
        called `listen`. Events that made no legal move do not come here.

        Raises:
            InvalidTradeEvent: no such type, or no symbol.
            redis.RedisError: Redis does not answer.
        """
        self._subscribe(check_symbol(symbol), check_type(event_type), handler)

    def subscribe_all(self, symbol: str | None, handler: Handler) -> None:
        """Give `handler` every event of one symbol, or with None of all of them; also those that
        made no legal move: their `anomaly` says why. Otherwise as `subscribe`."""
        self._subscribe(None if symbol is None else check_symbol(symbol), None, handler)

    def subscribe_anomalies(self, symbol: str | None, handler: Handler) -> None:
        """Give `handler` the events that made no legal move. Otherwise as `subscribe`."""
        self._subscribe(None if symbol is None else check_symbol(symbol), ANOMALY, handler)

    def _subscribe(
        self, symbol: str | None, kind: TradeEventType | str | None, handler: Handler
    ) -> None:
        if not callable(handler):
            raise InvalidTradeEvent("handler", f"must be callable, not {handler!r:.60}")
        self._must_be_open()
        since = self._listener.at or self._queries.log_ends()[1]
        self._listener.add(Subscription(symbol=symbol, kind=kind, handler=handler, since=since))

    def unsubscribe(
        self,
        symbol: str | None,
        event_type: TradeEventType | str | None = None,
        handler: Handler | None = None,
    ) -> int:
        """End the subscriptions of a symbol: those of one type, of one handler, or all of them.
        Returns how many there were."""
        kind = None if event_type is None else check_type(event_type)
        return self._listener.remove(
            lambda each: (
                each.symbol == symbol
                and (kind is None or each.kind == kind)
                and (handler is None or each.handler == handler)
            )
        )

    def listen(self) -> None:
        """Call the handlers, in this thread, until `stop`. A handler that raises is logged, counted
        and kept (`failed`); the others go on. A lost connection is renewed, and what was missed is
        read from the log.

        Raises:
            IllegalUse: another thread listens already, or the bus is closed.
            NotPermitted: this Redis user may not subscribe.
        """
        self._must_be_open()
        if not self._listening.acquire(blocking=False):
            raise IllegalUse("another thread listens already: one is enough for every handler")
        try:
            self._listener.run()
        finally:
            self._listening.release()

    def wait_until_subscribed(self, timeout_s: float = 5.0) -> bool:
        """Whether a thread listens, and Redis has confirmed every subscription, within the time."""
        return self._listener.wait_until_subscribed(timeout_s)

    def stop(self) -> None:
        """End `listen` and `consume`, for good. Publishing and queries go on."""
        self._stopping.set()
        self._listener.stop()

    # -- durable consumption

    def consume(
        self,
        group: str,
        consumer: str,
        handler: Handler,
        *,
        start: Literal["new", "oldest"] | str = "new",
        batch: int = 64,
    ) -> None:
        """Give `handler` every event of every symbol at least once per group, in this thread, until
        `stop`; the consumers of a group share them. An event is done with when the handler returns.
        `start` says where a new group begins: at the next event, at the oldest, or after a log id.

        Raises:
            InvalidTradeEvent: names the argument.
            redis.NoPermissionError: this Redis user may not consume.
        """
        places = {"new": "$", "oldest": "0"}
        place = places.get(start) or check_log_id(start, "start")
        if not 1 <= batch <= 10_000:
            raise InvalidTradeEvent("batch", f"must be from 1 to 10,000, not {batch}")
        self._must_be_open()
        membership = Membership(
            group=check_group(group, "group"),
            consumer=check_group(consumer, "consumer"),
            start=place,
            batch=batch,
        )
        client = self._config.client()
        try:
            DurableConsumer(
                client, self.names, self.counters, membership, handler, self._stopping
            ).run()
        finally:
            client.close()

    # -- asking. All of it raises redis.RedisError when Redis does not answer.

    def get_order(self, symbol: str, order_id: str | int) -> State | None:
        """An order's state: `order_id`, `status`, `price`, `volume`, `filled_volume` and whatever
        its events said; None if it is not known, or not any more."""
        return self._queries.state("order", symbol, order_id)

    def get_position(self, symbol: str, position_id: str | int) -> State | None:
        """A position's state: `position_id`, `status`, `volume`, `entry_price`, …; or None."""
        return self._queries.state("position", symbol, position_id)

    def get_active_positions(self, symbol: str) -> list[State]:
        """The open positions of a symbol, the oldest first."""
        return self._queries.open("position", symbol)

    def get_open_orders(self, symbol: str) -> list[State]:
        """The open orders of a symbol, the oldest first."""
        return self._queries.open("order", symbol)

    def get_orders(self, symbol: str | None = None) -> list[State]:
        """All orders that Redis still knows, ended ones too. It looks at every key: not for a hot
        loop."""
        return self._queries.every("order", symbol)

    def get_positions(self, symbol: str | None = None) -> list[State]:
        """All positions that Redis still knows, closed ones too; as `get_orders`."""
        return self._queries.every("position", symbol)

    def symbols(self) -> list[str]:
        """The symbols that ever had an order or a position."""
        return self._queries.symbols()

    def replay(
        self,
        symbol: str | None,
        *,
        since: str | datetime | None = None,
        from_id: str | None = None,
        until_id: str | None = None,
    ) -> Iterator[TradeEvent]:
        """Events from the log, in the order of their publication, of one symbol or, with None, of
        all: published at `since` or later, or after the log id `from_id`, or from the oldest.

        Raises:
            InvalidTradeEvent: names the argument.
        """
        return self._queries.replay(symbol, since=since, from_id=from_id, until_id=until_id)

    def rebuild(self, *, apply: bool = False) -> Rebuilt:
        """Make all state again from the log, and compare; with `apply`, put it in its place.

        Raises:
            RebuildFailed: the log grew faster than it could be read.
        """
        return Rebuild(self._client, self.names).run(apply=apply)

    def failed(self, limit: int = 100) -> list[Failure]:
        """What handlers and durable consumers failed at, the newest first."""
        return self._failures.read(limit)

    def server_counters(self) -> dict[str, int]:
        """What happened on this bus so far, whoever published: published, duplicates, anomalies…"""
        found: dict[bytes, bytes] = self._client.hgetall(self.names.counters)  # type: ignore[assignment]
        return {name.decode(): int(count) for name, count in sorted(found.items())}

    def config(self) -> Operations:
        """The operational configuration in force."""
        return read_operations(self._client, self.names)

    def configure(self, **changes: Any) -> None:
        """Change it for everybody, at once. None: back to the default.

        Raises:
            InvalidTradeEvent: an unknown name, or a value out of range: nothing is changed.
        """
        write_operations(self._client, self.names, changes)

    def _must_be_open(self) -> None:
        if self._closed:
            raise IllegalUse("this event bus is closed")
