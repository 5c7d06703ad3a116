"""What `TickerClient.follow` gives: the messages of some tickers, for a `for` or an `async for`."""

from __future__ import annotations

import asyncio
import time
from collections import Counter, deque
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, cast

from .constants import normalize_ticker
from .errors import IllegalUse, RegistrationRejected
from .follow_options import FollowOptions, Orders, follow_options
from .followed import Followed
from .inbox import Finished, Inbox
from .leases import DataKind
from .messages import BarMessage, OrderMessage, QuoteMessage, TickerMessage
from .outlet import Policy
from .own_orders import OwnOrders
from .subscriber import DEFAULT_CAPACITY

StreamMessage = TickerMessage | QuoteMessage | BarMessage

TURN: Final = 100  # messages in a row, before other tasks of the event loop get a turn


class Stream:
    """The messages of its tickers, in the order of their arrival. Ends when its client closes.

    One thread or task reads; any thread may follow, unfollow and close.
    """

    def __init__(self, followed: Followed, client_id: str, policy: Policy) -> None:
        """Made by `TickerClient.follow`."""
        self._followed = followed
        self._inbox = Inbox(policy, DEFAULT_CAPACITY)
        self._own_orders = OwnOrders(client_id)
        self._all_orders: set[str] = set()
        self._ready: deque[OrderMessage] = deque()  # own orders that waited for their parent
        self._to_begin: FollowOptions | None = None
        self._turn = 0
        self.foreign_orders = 0  # left out, for they are not the client's
        self.began_at = time.monotonic()

    # -- reading

    def __iter__(self) -> Stream:
        return self

    def __next__(self) -> StreamMessage:
        """The next message; waits for it.

        Raises:
            StopIteration: the stream or its client was closed, and all is read.
            RegistrationRejected: the broker does not follow a ticker (any more). The stream goes
                on with the others.
            IllegalUse: another thread or task reads this stream.
        """
        self._begin()
        try:
            while True:
                if self._ready:
                    return self._ready.popleft()
                if (message := self._admit(self._inbox.take())) is not None:
                    return message
        except Finished:
            raise StopIteration from None

    def get(self, timeout_s: float) -> StreamMessage | None:
        """The next message, or None: nothing came within `timeout_s`, or the stream has `ended`.

        Raises:
            RegistrationRejected, IllegalUse: as in a `for`.
        """
        self._begin()
        deadline = time.monotonic() + timeout_s
        try:
            while True:
                if self._ready:
                    return self._ready.popleft()
                left_s = max(0.0, deadline - time.monotonic())
                if (message := self._admit(self._inbox.take(left_s))) is not None:
                    return message
        except (TimeoutError, Finished):
            return None

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> StreamMessage:
        if self._to_begin is not None:
            await asyncio.to_thread(self._begin)
        self._turn = (self._turn + 1) % TURN
        if self._turn == 0:
            await asyncio.sleep(0)
        try:
            while True:
                if self._ready:
                    return self._ready.popleft()
                if (message := self._admit(await self._inbox.take_async())) is not None:
                    return message
        except Finished:
            raise StopAsyncIteration from None

    @property
    def ended(self) -> bool:
        """Closed, and all is read."""
        inbox = self._inbox
        return inbox.finished and not len(inbox.queue) and not self._ready

    # -- what is followed

    @property
    def tickers(self) -> tuple[str, ...]:
        """What this stream follows now."""
        return self._followed.tickers_of(self)

    def follow(
        self,
        *tickers: str,
        orders: Orders = "mine",
        from_last: bool = False,
        since: str | datetime | None = None,
        from_id: str | Mapping[str, str] | None = None,
        data: Sequence[DataKind] = ("trades",),
    ) -> None:
        """More tickers for this stream, also while it is read; as `TickerClient.follow`."""
        self.begin(
            follow_options(
                tickers,
                orders=orders,
                from_last=from_last,
                since=since,
                from_id=from_id,
                data=data,
            )
        )

    def unfollow(self, *tickers: str) -> None:
        """Let go of tickers. What was received before can still be read."""
        self._followed.leave(self, [normalize_ticker(ticker) for ticker in tickers])

    def close(self) -> None:
        """Let go of all tickers. What was received before can still be read, then it ends."""
        self._followed.leave(self, self.tickers)
        self.finish()

    # -- the client's side

    @property
    def handler(self) -> Inbox:
        return self._inbox

    @property
    def policy(self) -> Policy:
        return self._inbox.policy

    def begin_later(self, options: FollowOptions) -> None:
        """At the first step of the iteration: this thread must not be blocked."""
        self._to_begin = options

    def begin(self, options: FollowOptions) -> None:
        if self._inbox.finished:
            raise IllegalUse("this stream is closed: ask the client for another")
        self._followed.join(self, options)

    def learn_orders(self, ticker: str, all_orders: bool) -> None:
        """Which of the ticker's orders are handed out; whose each is, its order journal tells."""
        if all_orders:
            self._all_orders.add(ticker)
            return
        for order in self._followed.order_log(ticker):
            self._own_orders.learn(order)

    def reject(self, ticker: str, error: RegistrationRejected) -> None:
        self._followed.unsubscribe(self, ticker)
        self._inbox.post(error)

    def finish(self) -> None:
        self._inbox.finish()

    @property
    def was_read(self) -> bool:
        return self._inbox.taken > 0

    @property
    def skipped(self) -> Counter[str]:
        """By ticker, what the policy `latest` replaced."""
        return self._inbox.replaced

    @property
    def counters(self) -> Counter[str]:
        return Counter(handled=self._inbox.taken, foreign_orders=self.foreign_orders)

    def is_unread(self, now: float, patience_s: float) -> bool:
        """Whether messages have waited for long, and nobody ever took one."""
        inbox = self._inbox
        return len(inbox.queue) > 0 and not self.was_read and now - self.began_at > patience_s

    # -- private

    def _begin(self) -> None:
        options, self._to_begin = self._to_begin, None
        if options is not None:
            self.begin(options)

    def _admit(self, item: Any) -> StreamMessage | None:
        """The message to hand out, or None: it is a foreign order."""
        if type(item) is not OrderMessage or item.symbol in self._all_orders:
            return cast(StreamMessage, item)
        picked = self._own_orders.pick(item)
        if not picked:
            self.foreign_orders += 1
            return None
        self._ready.extend(picked[1:])
        return picked[0]
