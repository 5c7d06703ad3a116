"""TickerClient: follow tickers in a `for`, in an `async for`, or by callbacks.

    with TickerClient.from_env(client_id="my-bot") as client:
        for message in client.follow("AAPL", "MSFT"):
            ...

All three read through one `RedisSubscriber`. A lease thread registers the tickers with the broker
and renews them; when the block is left they are given back. A broker that is away is waited for.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from types import FrameType, TracebackType
from typing import Any, Final

from .broker_watch import BrokerView
from .callbacks import Callback, Callbacks, check_callbacks, data_of
from .config import RedisConfig
from .constants import CLIENT_ID_PATTERN, DEFAULT_LEASE_S, MAX_LEASE_S, normalize_ticker
from .errors import IllegalUse, InvalidClientId, RedisUnavailable
from .follow_options import FollowOptions, Orders, check_policy, follow_options
from .leases import DataKind
from .messages import PriceMessage
from .outlet import Policy
from .own_orders import new_order_id
from .stream import Stream
from .subscriber import RedisSubscriber
from .tap import Tap

TRUE_WORDS: Final = ("1", "true", "yes", "on")
LOOK_S: Final = 0.2  # how soon `run` sees that it is over
NOBODY_THERE: Final = (
    "Say where Redis is with REDIS_URL, or REDIS_HOST and REDIS_PORT; or start one: tickerbus up"
)


class TickerClient:
    """One consumer's tap. Any thread may call it; a stream is read by one at a time."""

    def __init__(
        self,
        config: RedisConfig,
        client_id: str,
        *,
        secured: bool = False,
        lease_s: int = DEFAULT_LEASE_S,
        policy: Policy = "all",
    ) -> None:
        """Connects nothing; `open`, `with` or the first `follow` does.

        `secured`: register on the client's own channel (`REGISTRATION_SECURED`). `policy`, of all
        streams and callbacks that name none: `all` hands over every message, and a slow consumer
        catches up from the journal; `latest` only each ticker's newest trade and quote, but every
        order.

        Raises:
            ValueError: an argument cannot be meant so; `InvalidClientId` is one.
        """
        if not (isinstance(client_id, str) and re.fullmatch(CLIENT_ID_PATTERN, client_id)):
            raise InvalidClientId(client_id)
        if not 1 <= lease_s <= MAX_LEASE_S:
            raise ValueError(f"lease_s must be from 1 to {MAX_LEASE_S} seconds, not {lease_s}")
        self.client_id = client_id
        self._policy: Policy = check_policy(policy)
        self._config, self._secured, self._lease_s = config, secured, lease_s
        self._lock = threading.RLock()
        self._tap: Tap | None = None
        self._closed = self._is_async = False
        self._ended = threading.Event()
        self._streams: list[Stream] = []
        self._ended_counters, self._ended_skipped = Counter[str](), Counter[str]()
        self._callbacks: dict[Policy, Callbacks] = {}
        self._turn = threading.RLock()  # callbacks of both policies take turns

    @classmethod
    def from_env(
        cls, *, client_id: str, env: Mapping[str, str] | None = None, **options: Any
    ) -> TickerClient:
        """From the environment: `REDIS_URL`, or `REDIS_HOST` and the others, `BUS_PREFIX` and
        `REGISTRATION_SECURED`; `options` as in the constructor. Redis shows the connections as
        `tickerbus-<client_id>`.

        Raises:
            ValueError: a value is not what its name promises.
        """
        env = os.environ if env is None else env
        options.setdefault("secured", env.get("REGISTRATION_SECURED", "").lower() in TRUE_WORDS)
        # A space would end the connection's name; that it is no client_id is told below.
        name = f"tickerbus-{client_id}".replace(" ", "_")
        return cls(RedisConfig.from_env(env, client_name=name), client_id, **options)

    # -- opening and closing

    def __enter__(self) -> TickerClient:
        self.open()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    async def __aenter__(self) -> TickerClient:
        self._is_async = True
        await asyncio.to_thread(self.open)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await asyncio.to_thread(self.close)

    def open(self) -> None:
        """Connect, and start the threads.

        Raises:
            RedisUnavailable: nobody answers there, or refuses us.
            IllegalUse: it was closed.
        """
        self._opened()

    def close(self, timeout_s: float = 5.0) -> list[str]:
        """Let go of the tickers and end the threads; what was received is still handed over.

        Callbacks are called for all that waits; what a stream has not been asked for can be read
        from it afterwards. Returns the names of threads that would not end in time: a callback
        that blocks.
        """
        with self._lock:
            self._closed = True
            tap = self._tap
            streams = list(self._streams)
        self._ended.set()
        stuck = tap.close(timeout_s) if tap else []
        for stream in streams:
            stream.finish()
        return stuck

    # -- following

    def follow(
        self,
        *tickers: str,
        orders: Orders = "mine",
        policy: Policy | None = None,
        from_last: bool = False,
        since: str | datetime | None = None,
        from_id: str | Mapping[str, str] | None = None,
        data: Sequence[DataKind] = ("trades",),
    ) -> Stream:
        """A stream of the tickers' messages; in `async with` it begins with the first step.

        `orders`: only those that are this client's own, or `"all"` of the account. From where:
        what is published from now on; or also `from_last`, the last price; `since` a moment;
        `from_id`, after the message of that `id` (of several tickers: a mapping). `data`: of
        `"trades"`, `"quotes"`, `"bars"`.

        Raises:
            RegistrationRejected: the broker will not follow one of them; none is followed.
            InvalidTicker, ValueError: an argument cannot be meant so.
            RedisUnavailable: Redis does not answer.
            IllegalUse: the client is closed.
        """
        options = follow_options(
            tickers, orders=orders, from_last=from_last, since=since, from_id=from_id, data=data
        )
        tap = self._opened()
        stream = Stream(tap.followed, self.client_id, check_policy(policy or self._policy))
        with self._lock:
            self._forget_ended_streams()
            self._streams.append(stream)
        tap.warn_if_unread(stream)
        if self._is_async:
            stream.begin_later(options)
        else:
            self._begin(stream, options)
        return stream

    def on(  # noqa: PLR0913  (a parameter for each kind of message)
        self,
        *tickers: str,
        price: Callback | None = None,
        order: Callback | None = None,
        gap: Callback | None = None,
        status: Callback | None = None,
        correction: Callback | None = None,
        quote: Callback | None = None,
        bar: Callback | None = None,
        orders: Orders = "mine",
        policy: Policy | None = None,
        from_last: bool = False,
        since: str | datetime | None = None,
        from_id: str | Mapping[str, str] | None = None,
    ) -> None:
        """Call functions with the tickers' messages, from now on, in a thread of the client's.

        Never two at once, so they need no locks among themselves. One that raises is logged and
        counted, and the next message comes all the same. The other options are `follow`'s.

        Raises:
            TypeError: what cannot be called, or is a coroutine function.
            RegistrationRejected, InvalidTicker, ValueError, RedisUnavailable, IllegalUse: as
                `follow`.
        """
        callbacks = check_callbacks(
            {
                "price": price,
                "order": order,
                "gap": gap,
                "status": status,
                "correction": correction,
                "quote": quote,
                "bar": bar,
            }
        )
        options = follow_options(
            tickers,
            orders=orders,
            from_last=from_last,
            since=since,
            from_id=from_id,
            data=data_of(callbacks),
        )
        self._callbacks_of(check_policy(policy or self._policy)).add(callbacks, options)

    def unfollow(self, *tickers: str) -> None:
        """Let go of tickers, for all streams and callbacks. What was received still comes.

        Raises:
            InvalidTicker: one of them is none. One that is not followed is none of our business.
        """
        names = [normalize_ticker(ticker) for ticker in tickers]
        with self._lock:
            streams, callbacks = list(self._streams), list(self._callbacks.values())
        for stream in streams:
            stream.unfollow(*names)
        for each in callbacks:
            each.leave(names)

    def run(self, seconds: float | None = None) -> None:
        """Let the callbacks work: until `close`, Ctrl-C, SIGTERM, or for so many seconds.

        Raises:
            RegistrationRejected: the broker does not follow a ticker any more.
        """
        deadline = None if seconds is None else time.monotonic() + seconds
        with contextlib.suppress(KeyboardInterrupt), _sigterm_interrupts():
            while not self._ended.wait(LOOK_S):
                with self._lock:
                    callbacks = list(self._callbacks.values())
                for each in callbacks:
                    if each.rejection is not None:
                        raise each.rejection
                if deadline is not None and time.monotonic() >= deadline:
                    return

    # -- asking

    def last(self, ticker: str) -> PriceMessage | None:
        """The last price, from the journal, at once: the newest trade that may set it. The ticker
        need not be followed. None: the journal has none.

        Raises:
            InvalidTicker: it is none.
            RedisUnavailable: the journal cannot be read now.
        """
        return self.bus.last(normalize_ticker(ticker))

    def order_id(self, *words: str) -> str:
        """A new `client_order_id` that says whose order it is: `<client_id>:<word>:…:<unique>`.

        Raises:
            ValueError: a word is not printable ASCII, or the id exceeds Alpaca's 128 characters.
        """
        return new_order_id(self.client_id, words)

    @property
    def broker(self) -> BrokerView:
        """Whether the broker and its streams are ready, and since when, by its heartbeat."""
        return (self._tap or self._opened()).broker()

    @property
    def tickers(self) -> tuple[str, ...]:
        """What is followed now, by any stream or callback."""
        tap = self._tap
        return tap.tickers if tap else ()

    @property
    def skipped(self) -> dict[str, int]:
        """By ticker: how many messages the policy `latest` replaced by newer ones."""
        with self._lock:
            tap, streams = self._tap, list(self._streams)
            found = Counter(self._ended_skipped)
        found.update(tap.bus.skipped if tap else {})
        for stream in streams:
            found.update(stream.skipped)
        return dict(found)

    @property
    def counters(self) -> dict[str, int]:
        """What happened so far, by name: `handled`, `handler_errors`, `foreign_orders`, `gaps`,
        `refilled`, `reconnects`, …"""
        with self._lock:
            tap, streams = self._tap, list(self._streams)
            found = Counter(tap.bus.counters if tap else {})
            found["handled"] = 0  # by those inside, who hear the broker
            found.update(self._ended_counters)
            for each in self._callbacks.values():
                found.update(each.counters)
        for stream in streams:
            found.update(stream.counters)
        return dict(found)

    @property
    def bus(self) -> RedisSubscriber:
        """The one reader, for channels that are no ticker's. Close it by closing the client."""
        return self._opened().bus

    # -- private

    def _opened(self) -> Tap:
        with self._lock:
            if self._closed:
                raise IllegalUse(f"the client {self.client_id} is closed: make another")
            if self._tap is None:
                with _saying_where():
                    self._tap = Tap(self._config, self.client_id, self._secured, self._lease_s)
            return self._tap

    def _forget_ended_streams(self) -> None:
        """The lock is held."""
        for stream in [stream for stream in self._streams if stream.ended]:
            self._ended_counters.update(stream.counters)
            self._ended_skipped.update(stream.skipped)
            self._streams.remove(stream)

    def _begin(self, stream: Stream, options: FollowOptions) -> None:
        try:
            stream.begin(options)
        except BaseException:
            with self._lock:
                self._streams.remove(stream)
            raise

    def _callbacks_of(self, policy: Policy) -> Callbacks:
        tap = self._opened()
        with self._lock:
            if policy not in self._callbacks:
                self._callbacks[policy] = Callbacks(
                    tap.followed, self.client_id, policy, self._turn
                )
            return self._callbacks[policy]


@contextlib.contextmanager
def _saying_where() -> Iterator[None]:
    """Where nobody listens, the traceback ends with what to do; a log line stays short."""
    try:
        yield
    except RedisUnavailable as error:
        if error.nobody_there:
            error.add_note(NOBODY_THERE)
        raise


@contextlib.contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """In the main thread, SIGTERM ends the block as Ctrl-C does."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
