"""RedisSubscriber: handlers on channels. Handlers get decoded messages, each in its own worker."""

from __future__ import annotations

import threading
import time
from collections import Counter
from types import TracebackType
from typing import Final

import hiredis
import structlog

from .config import CONNECTION_FAULTS, RedisConfig, Wire
from .constants import BusNames
from .errors import IllegalUse, RedisUnavailable
from .feed import Feed
from .gap_tracker import GapTracker
from .listener import Listener
from .outlet import Decode, Handler, Outlet, Policy
from .switchboard import Switchboard

log: Final = structlog.get_logger("tickerbus.subscriber")

DEFAULT_QUEUE: Final = 10_000


class RedisSubscriber:
    """Listens to the bus. Any thread may call it, also a handler.

    `with RedisSubscriber(config) as bus: bus.subscribe(channel, handler); bus.start_listening()`
    """

    def __init__(self, config: RedisConfig, *, confirm_timeout_s: float = 5.0) -> None:
        """Connect, and verify that Redis answers.

        Raises:
            RedisUnavailable: nobody answers there, or refuses us.
        """
        self.names = BusNames(config.bus_prefix)
        self._config, self._confirm_timeout_s = config, confirm_timeout_s
        self._board = Switchboard(self.names)
        self._listener = Listener(config, self._board)
        self._listening = self._closed = False
        self._lifecycle = threading.Lock()

    def __enter__(self) -> RedisSubscriber:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def ping(self) -> bool:
        """Whether Redis answers now."""
        try:
            wire = Wire(self._config)
        except RedisUnavailable:
            return False
        try:
            return bool(wire.call("PING") == b"PONG")
        except (*CONNECTION_FAULTS, hiredis.HiredisError):
            return False
        finally:
            wire.close()

    @property
    def counters(self) -> dict[str, int]:
        """What happened so far, by name."""
        with self._board.lock:
            total = Counter(self._board.counters)
            for outlet in self._board.outlets:
                total["handled"] += outlet.handled
                total["handler_errors"] += outlet.errors
                total["ignored"] += outlet.undecodable
        return dict(total)

    def subscribe(
        self,
        channel: str,
        handler: Handler,
        *,
        decode: Decode | None = None,
        policy: Policy = "all",
        capacity: int = DEFAULT_QUEUE,
    ) -> None:
        """Give `handler` every message of `channel`, decoded. A trailing `*` makes it a pattern.

        While listening it returns once Redis has confirmed.

        Raises:
            RedisUnavailable: no confirmation within the deadline; nothing was subscribed.
            IllegalUse: closed, or the handler has another policy or capacity already.
        """
        board = self._board
        with board.lock:
            outlet = self._outlet(handler, policy, capacity)
            route = board.route(channel)
            if not route.numbered and decode is None:
                decode = board.plain_decode()
            tracker = GapTracker() if route.numbered else None
            route.feeds.append(Feed(channel, outlet, decode, tracker, board.counters))
            outlet.feeds += 1
            if not self._listening:
                return
            outlet.start()
            if len(route.feeds) == 1:
                self._listener.ask("SUBSCRIBE", [route])
            if board.changed.wait_for(lambda: route.confirmed, self._confirm_timeout_s):
                return
        self.unsubscribe(channel)
        raise RedisUnavailable(
            self._config.address, f"no confirmation of {channel} in {self._confirm_timeout_s} s"
        )

    def unsubscribe(self, channel: str) -> None:
        """End all handlers of `channel`. What was received before is still handed over."""
        with self._board.lock:
            route = self._board.remove(channel)
            if route is not None and self._listening:
                self._listener.ask("UNSUBSCRIBE", [route])

    def start_listening(self) -> None:
        """Start the reader thread and the workers; returns once Redis has confirmed all channels.

        Raises:
            IllegalUse: closed, or listening already.
            RedisUnavailable: no confirmation within the deadline; it goes on trying.
        """
        with self._lifecycle:
            if self._closed or self._listening:
                raise IllegalUse("start_listening: closed, or listening already")
            board = self._board
            with board.lock:
                for outlet in board.outlets:
                    outlet.start()
                self._listening = True
            self._listener.start()
            with board.lock:
                confirmed = board.changed.wait_for(
                    lambda: all(route.confirmed for route in board.routes.values()),
                    self._confirm_timeout_s,
                )
            if not confirmed:
                raise RedisUnavailable(self._config.address, "subscriptions not confirmed yet")

    def stop(self, timeout_s: float = 5.0) -> list[str]:
        """Stop listening, hand over what was received, end the threads; subscriptions stay.

        Returns the names of threads that would not end within `timeout_s`.
        """
        deadline = time.monotonic() + timeout_s
        with self._lifecycle:
            if not self._listening:
                return []
            stuck = [self._listener.stop(deadline - time.monotonic())]
            with self._board.lock:
                self._listening = False
                outlets = list(self._board.outlets)
            for outlet in outlets:
                outlet.end_when_empty()
            stuck += [outlet.join(deadline - time.monotonic()) for outlet in outlets]
        names = [name for name in stuck if name]
        if names:
            log.error("subscriber.threads_would_not_end", threads=names, timeout_s=timeout_s)
        return names

    def close(self) -> None:
        """Stop, and close the connections."""
        self.stop()
        with self._lifecycle:
            if not self._closed:
                self._closed = True
                self._listener.close()

    def _outlet(self, handler: Handler, policy: Policy, capacity: int) -> Outlet:
        if self._closed:
            raise IllegalUse("subscribe after close")
        outlet = self._board.outlet_of(handler)
        if outlet is None:
            outlet = Outlet(handler, policy, capacity)
            self._board.outlets.append(outlet)
        elif (outlet.policy, outlet.capacity) != (policy, capacity):
            raise IllegalUse(f"{outlet.name} has the policy {outlet.policy} already")
        return outlet
