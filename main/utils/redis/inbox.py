"""A queue without a worker: whoever reads takes from it, in its own thread or event loop."""

from __future__ import annotations

import contextlib
import time
from collections import Counter
from collections.abc import Callable
from queue import Empty
from typing import TYPE_CHECKING, Any, Final

from .errors import IllegalUse
from .outlet import Outlet, Policy, Undecoded

if TYPE_CHECKING:
    import asyncio

_NOTHING: Final = object()  # no message now, but there may be one later


class Finished(Exception):
    """All was taken, and nothing will come any more."""


class Inbox(Outlet):
    """An outlet that hands nothing over by itself. One reader at a time; `post` from any thread.

    It is given to `RedisSubscriber.subscribe` in place of a handler. The bound and the policies
    are the outlet's: a slow reader falls behind and catches up from the journal.
    """

    has_worker = False

    def __init__(self, policy: Policy, capacity: int) -> None:
        super().__init__(self, policy, capacity, _no_room_wanted)
        self.taken = 0
        self.finished = False
        self._half = capacity // 2
        self._alarm: Callable[[], object] | None = None  # wakes an event loop

    def __call__(self, message: object) -> None:
        self.post(message)

    def post(self, item: object) -> None:
        """Put in what does not come from the bus. An exception is raised where it is taken."""
        self.queue.extend([item])
        self._rouse()

    def finish(self) -> None:
        """Nothing is put in any more: what is there can still be taken. Any thread."""
        self.finished = True
        self._rouse()

    def take(self, timeout_s: float | None = None) -> Any:
        """The next message; waits for it.

        Raises:
            TimeoutError: nothing came within `timeout_s` (None: wait for ever).
            Finished: there will be none.
            IllegalUse: another thread or task waits already.
        """
        deadline = None if timeout_s is None else time.monotonic() + timeout_s
        while (item := self._take_now()) is _NOTHING:
            left_s = None if deadline is None else deadline - time.monotonic()
            if left_s is not None and left_s <= 0:
                raise TimeoutError
            self._wait(left_s)
        return item

    async def take_async(self) -> Any:
        """The same in an event loop, without a deadline: `asyncio.timeout` gives it one."""
        while (item := self._take_now()) is _NOTHING:
            await self._wait_async()
        return item

    def _take_now(self) -> Any:
        while True:
            finished = self.finished  # looked at first: what came before it is not to be missed
            try:
                item = self.queue.popleft()
            except IndexError:
                if finished:
                    raise Finished from None
                return _NOTHING
            if self.parked and len(self.queue) <= self._half:
                self._room_again(self)
            if isinstance(item, Exception):
                raise item
            if type(item) is Undecoded:
                item = item.decode(item.channel, item.payload)
                if item is None:
                    self.undecodable += 1
                    continue
            self.taken += 1
            return item

    def _wait(self, timeout_s: float | None) -> None:
        if not self._lie_down():
            return
        try:
            self._wake.get(timeout=timeout_s)
        except Empty:
            pass
        finally:
            self._asleep = False

    async def _wait_async(self) -> None:
        import asyncio  # who has no event loop need not wait for it

        loop = asyncio.get_running_loop()
        woken = loop.create_future()
        self._alarm = lambda: loop.call_soon_threadsafe(_wake_up, woken)
        try:
            if self._lie_down():
                await woken
        finally:
            self._asleep, self._alarm = False, None

    def _lie_down(self) -> bool:
        """Whether there is nothing to do but to sleep."""
        if self._asleep:
            raise IllegalUse("another thread or task waits for these messages: one reader a stream")
        self._asleep = True
        # What came before we said so would not wake us. A wake-up too many does no harm.
        if len(self.queue) or self.finished:
            self._asleep = False
        return self._asleep

    # -- the outlet's side

    def _rouse(self) -> None:
        if not self._asleep:
            return
        self._asleep = False
        alarm = self._alarm
        if alarm is None:
            self._wake.put(None)
            return
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody is left to be woken
            alarm()

    def join_bus(self, room_again: Callable[[Outlet], None]) -> None:
        """From now on `room_again` is called when half of the queue is free again."""
        self._room_again = room_again

    @property
    def counts(self) -> Counter[str]:
        return Counter()  # its owner outlives its subscriptions, and counts itself

    @property
    def skipped(self) -> Counter[str]:
        return Counter()

    @property
    def replaced(self) -> Counter[str]:
        """By ticker: what the policy `latest` replaced."""
        return super().skipped

    @property
    def alive(self) -> bool:
        return False

    def start(self) -> None:
        """There is no worker."""

    def end_when_empty(self) -> None:
        """Its owner says when it ends: tickers may be left and others joined."""

    def join(self, timeout_s: float) -> str | None:
        return None


def _no_room_wanted(_outlet: Outlet) -> None:
    """Until the inbox joins a bus nothing waits for room."""


def _wake_up(woken: asyncio.Future[None]) -> None:
    if not woken.done():
        woken.set_result(None)
