"""RedisSubscriber: handlers on channels. Handlers get decoded messages, each in its own worker.

On ticker channels a handler gets every message once and in order: what the connection missed comes
from the journals, and a `GapMessage` (with `seq` 0) stands for what the journals no longer have.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Iterator
from types import TracebackType
from typing import Final

from ..event_log import EventLog
from .config import RedisConfig
from .constants import BusNames
from .delivery import Delivery
from .errors import IllegalUse, RedisUnavailable
from .feed import Feed, Shared
from .inbox import Inbox
from .journal import Found, Journal
from .listener import Listener
from .messages import OrderMessage, PriceMessage
from .outlet import Decode, Handler, Outlet, Policy
from .refiller import Refiller
from .silence import Silence
from .start import Start
from .switchboard import Switchboard

log: Final = EventLog("tickerbus.subscriber")

DEFAULT_CAPACITY: Final = 10_000
HEARTBEAT_MISSED_S: Final = 1.5
LIVE: Final = Start.live()


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
        self._journal = Journal(config, self.names)  # for callers' threads
        self._refill_journal = Journal(config, self.names)
        self._refiller = Refiller(self._refill_journal, self._board, self._follow_primary)
        self._listener = Listener(config, self._board)
        self._shared = Shared(counters=self._board.counters, request_refill=self._refiller.request)
        self._silence = Silence()
        self._listening = self._closed = False
        self._lifecycle = threading.RLock()

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
        return self._journal.ping()

    def reconnect(self) -> None:
        """Resolve the address again, as after a lost connection: Redis has moved."""
        self._listener.reconnect()
        for journal in (self._journal, self._refill_journal):
            journal.close()  # it opens again by itself

    def last(self, ticker: str) -> PriceMessage | None:
        """The last price: the newest trade that may set it; None if the journal has none.

        Raises:
            RedisUnavailable: the journal cannot be read now.
        """
        return self._journal.last(ticker)

    def orders(self, ticker: str) -> Iterator[OrderMessage]:
        """The ticker's order messages of the last days, oldest first, page by page.

        Raises:
            RedisUnavailable: the journal cannot be read now.
        """
        return self._journal.orders(ticker)

    @property
    def counters(self) -> dict[str, int]:
        """What happened so far, by name."""
        board = self._board
        with board.lock:
            outlets = (outlet.counts for outlet in board.outlets + board.retired)
            return dict(sum(outlets, Counter(board.counters)))

    @property
    def skipped(self) -> dict[str, int]:
        """By ticker: how many messages the policy `latest` replaced by newer ones."""
        with self._board.lock:
            return dict(sum((outlet.skipped for outlet in self._board.outlets), Counter[str]()))

    def subscribe(
        self,
        channel: str,
        handler: Handler,
        *,
        start: Start = LIVE,
        policy: Policy = "all",
        capacity: int = DEFAULT_CAPACITY,
        decode: Decode | None = None,
    ) -> None:
        """Give `handler` every message of `channel`, decoded. A trailing `*` makes it a pattern.

        While listening it returns once Redis has confirmed. `start` says from where a ticker's
        messages are wanted. `policy` says what happens when the handler is slow and its queue, of
        `capacity` messages, is full: `all` catches up from the journal later; `latest` keeps only
        each ticker's newest price and quote, but every order. `decode` gets the channel and the
        payload in the handler's thread; what it turns into None is counted and left out. A handler
        on several channels has one queue and one thread.

        Raises:
            RedisUnavailable: no confirmation within the deadline; nothing was subscribed.
            NotPermitted: Redis refuses the channel to this user; nothing was subscribed.
            IllegalUse: closed; or the handler is on this channel already, or has another policy or
                capacity; or a `start` for a channel that has no journal.
            InvalidTicker: the channel is none that a ticker can have.
        """
        symbol = self._journalled_symbol(channel, start)
        while True:
            listening = self._listening
            found = self._journal.find(symbol, start) if symbol and listening else None
            with self._board.lock:
                if listening != self._listening:
                    continue  # begun or ended meanwhile: look again
                feed = self._feed(channel, symbol, handler, policy, capacity, decode, start)
                if found is not None:
                    _place(feed, found)
                if not listening:
                    return
                self._join_route(feed)
            return

    def unsubscribe(self, channel: str, handler: Handler | None = None) -> None:
        """End a handler on `channel`, or all. What was received before is still handed over."""
        board = self._board
        with board.lock:
            gone = [board.remove(channel, handler)]
            status = board.routes.get(self.names.BROKER_STATUS.encode())
            if status is not None and not status.feeds:
                gone.append(board.remove(self.names.BROKER_STATUS, None))
            if self._listening:
                self._listener.ask("UNSUBSCRIBE", [route for route in gone if route])

    def start_listening(self) -> None:
        """Start the threads; returns once Redis has confirmed all channels.

        Raises:
            IllegalUse: closed, or listening already.
            RedisUnavailable: the journals cannot be read, and nothing was started; or no
                confirmation within the deadline, and it goes on trying.
            NotPermitted: Redis refuses a channel to this user; the others are listened to.
        """
        with self._lifecycle:
            if self._closed or self._listening:
                raise IllegalUse("start_listening: closed, or listening already")
            board = self._board
            for feed in [f for f in board.feeds() if f.journalled and not f.placed]:
                _place(feed, self._journal.find(feed.delivery.symbol or "", feed.start))
            with board.lock:
                for feed in board.feeds():
                    feed.restart()
                for outlet in board.outlets:
                    outlet.start()
                self._hear_heartbeats()
                self._listening = True
            self._refiller.start()
            self._listener.start()
        with board.lock:
            self._await([route.channel for route in board.routes.values() if route.feeds])

    def stop(self, timeout_s: float = 5.0) -> list[str]:
        """Stop listening, hand over what was received, end the threads. Subscriptions stay.

        Returns the names of threads that would not end within `timeout_s`: a handler that blocks.
        """
        deadline = time.monotonic() + timeout_s
        if not self._listening:  # also for a handler, while another thread waits for its end
            return []
        with self._lifecycle:
            if not self._end_listening():
                return []
            stuck = [self._listener.stop(deadline - time.monotonic())]
            self._refiller.settle((deadline - time.monotonic()) / 2)
            stuck.append(self._refiller.stop(deadline - time.monotonic()))
            with self._board.lock:
                outlets = self._board.outlets + self._board.retired
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
            self._closed = True
            self._listener.close()
            self._journal.close()
            self._refill_journal.close()

    # -- private

    def _end_listening(self) -> bool:
        """From here on nothing is asked of Redis, and nobody waits for its answer."""
        with self._board.lock:
            was_listening, self._listening = self._listening, False
            self._board.changed.notify_all()
        return was_listening

    def _follow_primary(self) -> None:
        """A demoted primary may keep us, and tell us nothing: where no heartbeat comes, look
        whether there is another by now. Called in the refill thread."""
        now, heartbeat_at = time.monotonic(), self._board.heartbeat_at
        if now - heartbeat_at > HEARTBEAT_MISSED_S and self._listener.is_elsewhere():
            self.reconnect()
        elif self._silence.is_time_to_look(heartbeat_at, now):
            log.info("subscriber.hears_no_heartbeat", silent_s=round(now - heartbeat_at, 1))
            self.reconnect()

    def _journalled_symbol(self, channel: str, start: Start) -> str | None:
        if not self._board.is_journalled(channel):
            if start != LIVE:
                raise IllegalUse(f"{channel} has no journal: it can only be joined live")
            return None
        symbol = channel.removeprefix(self.names.TICKER_UPDATES)
        self.names.ticker_log(symbol)
        return symbol

    def _feed(
        self,
        channel: str,
        symbol: str | None,
        handler: Handler,
        policy: Policy,
        capacity: int,
        decode: Decode | None,
        start: Start,
    ) -> Feed:
        """Make a feed and hang it on its route. The board's lock is held."""
        outlet = self._outlet(handler, policy, capacity)
        route = self._board.route(channel)
        if any(feed.outlet is outlet for feed in route.feeds):
            raise IllegalUse(f"{outlet.name} is subscribed to {channel} already")
        if route.symbol is None and decode is None:
            decode = self._board.plain_decode()
        counters = self._board.counters
        delivery = Delivery(channel, outlet, counters, symbol=route.symbol, decode=decode)
        feed = Feed(delivery, self._shared, journalled=symbol is not None, start=start)
        route.add(feed)
        outlet.feeds += 1
        return feed

    def _outlet(self, handler: Handler, policy: Policy, capacity: int) -> Outlet:
        if self._closed:
            raise IllegalUse("subscribe after close")
        outlet = self._board.outlet_of(handler)
        if outlet is None:
            outlet = self._new_outlet(handler, policy, capacity)
            self._board.outlets.append(outlet)
        elif (outlet.policy, outlet.capacity) != (policy, capacity):
            raise IllegalUse(f"{outlet.name} has the policy {outlet.policy} already")
        return outlet

    def _new_outlet(self, handler: Handler, policy: Policy, capacity: int) -> Outlet:
        if isinstance(handler, Inbox):
            handler.join_bus(self._refiller.room_again)
            return handler
        return Outlet(handler, policy, capacity, self._refiller.room_again)

    def _join_route(self, feed: Feed) -> None:
        """Ask Redis for the feed's channel, and wait for the answer. The board's lock is held."""
        channel = feed.delivery.channel
        route = self._board.route(channel)
        feed.outlet.start()
        self._hear_heartbeats()
        if route.confirmed:
            feed.resume()
        elif not route.asked:
            self._listener.ask("SUBSCRIBE", [route])
        try:
            self._await([channel])
        except Exception:
            gone = self._board.remove(channel, feed.outlet.handler)
            self._listener.ask("UNSUBSCRIBE", [gone] if gone else [])
            raise

    def _hear_heartbeats(self) -> None:
        """Whoever follows a ticker hears the heartbeat, which tells of lost last messages."""
        channel = self.names.BROKER_STATUS
        if channel.encode() not in self._board.routes and self._board.is_needed_inside(channel):
            route = self._board.route(channel)
            if self._listening:
                self._listener.ask("SUBSCRIBE", [route])

    def _await(self, channels: list[str]) -> None:
        """Wait until Redis has answered for all channels. The board's lock is held."""
        routes = [self._board.route(channel) for channel in channels]
        self._board.changed.wait_for(
            lambda: (
                not self._listening or all(route.confirmed or route.refused for route in routes)
            ),
            self._confirm_timeout_s,
        )
        if not self._listening:
            return  # stopped meanwhile: it will be asked for when listening begins again
        for route in routes:
            if not route.confirmed:
                raise route.refused or RedisUnavailable(
                    self._config.address,
                    f"{route.channel} was not confirmed within {self._confirm_timeout_s:g} s",
                )


def _place(feed: Feed, found: Found) -> None:
    feed.place_at(found.place, feed.start.timestamp if found.trimmed else None)
