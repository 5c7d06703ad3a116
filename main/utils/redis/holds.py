"""Which tickers a client holds at the broker, and for whom in the client.

A ticker is registered once, for as long as a stream or a callback wants it. What the broker
answers goes to those who wait for it, and a later rejection to all that follow the ticker.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from .errors import IllegalUse, RegistrationRejected
from .leases import PASSING_REASONS, DataKind, LeaseKeeper
from .messages import RegistrationReply

ANSWER_S: Final = 10.0  # a broker that is there answers within 5 s, and is asked twice
LOOK_AGAIN_S: Final = 0.1  # while an answer is awaited: is there a broker at all?
ALL_KINDS: Final[tuple[DataKind, ...]] = ("trades", "quotes", "bars")


class Owner(Protocol):
    """A stream, or the callbacks: whoever wants tickers."""

    def reject(self, ticker: str, error: RegistrationRejected) -> None:
        """The broker does not follow the ticker any more. Called in the keeper's thread."""


@dataclass(kw_only=True)
class _Hold:
    owners: dict[Owner, frozenset[DataKind]] = field(default_factory=dict)
    waiting: set[Owner] = field(default_factory=set)
    reply: RegistrationReply | None = None  # to what is asked now; None: not answered yet

    @property
    def data(self) -> tuple[DataKind, ...]:
        wanted = frozenset[DataKind]().union(*self.owners.values())
        return tuple(kind for kind in ALL_KINDS if kind in wanted)

    @property
    def rejection(self) -> RegistrationReply | None:
        reply = self.reply
        if reply is None or reply.status == "accepted" or reply.reason in PASSING_REASONS:
            return None
        return reply


class Holds:
    """Any thread may call it."""

    def __init__(self, keeper: LeaseKeeper, broker_is_away: Callable[[], bool]) -> None:
        self._keeper, self._broker_is_away = keeper, broker_is_away
        self._changed = threading.Condition()
        self._holds: dict[str, _Hold] = {}
        self._closed = False

    @property
    def tickers(self) -> tuple[str, ...]:
        with self._changed:
            return tuple(self._holds)

    def acquire(self, owner: Owner, tickers: Sequence[str], data: Iterable[DataKind]) -> None:
        """Hold `tickers` for `owner`, and wait for the broker's answers, while there is a broker.

        Raises:
            RegistrationRejected: the broker will not; none of the tickers is held.
            IllegalUse: closed, before or meanwhile.
        """
        kinds = frozenset(data)
        with self._changed:
            self._check_open()
            before = [self._kinds_of(owner, ticker) for ticker in tickers]
            holds = [self._want(owner, ticker, kinds) for ticker in tickers]
            try:
                self._await_answers(holds)
            except BaseException:
                self._take_back(owner, tickers, before)
                raise
            finally:
                for hold in holds:
                    hold.waiting.discard(owner)
            if rejections := [hold.rejection for hold in holds if hold.rejection]:
                self._take_back(owner, tickers, before)
                raise RegistrationRejected(rejections)

    def release(self, owner: Owner, tickers: Iterable[str]) -> None:
        """Let go. The broker is told in the keeper's thread, once nobody wants the ticker."""
        with self._changed:
            for ticker in tickers:
                self._set(owner, ticker, None)

    def note(self, ticker: str, reply: RegistrationReply) -> None:
        """The broker has answered. Called in the keeper's thread."""
        with self._changed:
            hold = self._holds.get(ticker)
            if hold is None:
                return
            hold.reply = reply
            self._changed.notify_all()
            # While somebody waits, the rejection is of what he asked for, and not of what was.
            late = list(hold.owners) if hold.rejection and not hold.waiting else []
        for owner in late:
            self.release(owner, [ticker])
            owner.reject(ticker, RegistrationRejected([reply]))

    def close(self) -> None:
        """End all waiting; nothing is held any more, and nothing can be."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    # -- private; the condition's lock is held

    def _check_open(self) -> None:
        if self._closed:
            raise IllegalUse("the client is closed: it cannot follow any more")

    def _kinds_of(self, owner: Owner, ticker: str) -> frozenset[DataKind] | None:
        hold = self._holds.get(ticker)
        return hold.owners.get(owner) if hold else None

    def _want(self, owner: Owner, ticker: str, kinds: frozenset[DataKind]) -> _Hold:
        hold = self._holds.setdefault(ticker, _Hold())
        hold.waiting.add(owner)
        self._set(owner, ticker, hold.owners.get(owner, frozenset()) | kinds)
        return hold

    def _take_back(
        self,
        owner: Owner,
        tickers: Sequence[str],
        before: Sequence[frozenset[DataKind] | None],
    ) -> None:
        for ticker, kinds in zip(tickers, before, strict=True):
            self._set(owner, ticker, kinds)

    def _set(self, owner: Owner, ticker: str, kinds: frozenset[DataKind] | None) -> None:
        """What an owner wants of a ticker from now on; None: nothing."""
        hold = self._holds.get(ticker)
        if hold is None or (kinds is None and owner not in hold.owners):
            return
        before = hold.data
        if kinds is not None:
            hold.owners[owner] = kinds
        else:
            del hold.owners[owner]
        if not hold.owners:
            del self._holds[ticker]
            self._keeper.remove(ticker, unregister=hold.rejection is None)
        elif hold.data != before:
            self._ask(ticker, hold)

    def _ask(self, ticker: str, hold: _Hold) -> None:
        hold.reply = None
        self._keeper.add(ticker, hold.data)

    def _await_answers(self, holds: Sequence[_Hold]) -> None:
        deadline = time.monotonic() + ANSWER_S
        while any(hold.reply is None and hold.owners for hold in holds):
            if self._broker_is_away() or time.monotonic() > deadline:
                return  # it is asked again and again, and its answer counts when it comes
            self._changed.wait(LOOK_AGAIN_S)
            self._check_open()
