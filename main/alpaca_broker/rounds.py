"""The registration thread: it gathers the requests that wait into one round, and carries it out.

A round decides in the order of arrival, changes upstream and producers once for all, keeps what
came of it in Redis, and answers every request. Requests that arrive meanwhile make the next round.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Final, Protocol

import redis
import structlog

from ..utils.redis.errors import BusError
from ..utils.redis.messages import RegistrationReply
from ..utils.tracebacks import plain_traceback
from ..utils.turns import next_turn_s, until_turn_s
from .assets import AssetList
from .errors import BrokerError, BrokerNotReady
from .lease_store import LeaseStore
from .lease_time import LeaseTime, now_ms
from .pending_change import PendingChange
from .registration_requests import Request
from .registry import Holding, Registry
from .rest import RestRefused, RestUnavailable
from .round_ledger import RoundLedger
from .streams import UNANSWERED
from .upstreams import Rejection
from .workers import Worker

log: Final = structlog.get_logger("tickerbus.registration")

MAX_WAITING: Final = 10_000
REPLY_S: Final = 5.0  # a request is answered after this with what is known
LOOK_UP_S: Final = 2.5  # of that: for what Alpaca knows of new tickers
_EXPIRY_TICK_S: Final = 1.0
_ASK_AGAIN_S: Final = (1.0, 30.0)  # first, and at the most


class Conductor(Protocol):
    """What a round asks of the broker."""

    def subscribe_symbols(
        self, symbols: Mapping[str, frozenset[str]], timeout_s: float | None = None
    ) -> Mapping[str, Rejection]: ...

    def unsubscribe_symbols(
        self, symbols: Mapping[str, frozenset[str]], *, wait: bool = True
    ) -> None: ...

    def forget_losses(self, wanted: Collection[str]) -> None: ...

    def lapsed(self, tickers: Collection[str]) -> None: ...

    def following(self) -> Mapping[str, frozenset[str]]: ...

    def drop_symbols(self, symbols: Collection[str]) -> None: ...


class RegistrationThread(Worker):
    """Owns the registry. `put` is for any thread; everything else happens in its own."""

    name = "registration"

    def __init__(
        self,
        conductor: Conductor,
        registry: Registry,
        assets: AssetList,
        store: LeaseStore,
        reply: Callable[[RegistrationReply], None],
        on_failure: Callable[[str, BaseException], None],
        redis_hears: Callable[[], bool] = lambda: True,
    ) -> None:
        """`redis_hears` says whether clients can reach us at present."""
        super().__init__()
        self._redis_hears = redis_hears
        self._conductor, self._registry, self._assets = conductor, registry, assets
        self._store, self._reply, self._on_failure = store, reply, on_failure
        self._waiting: deque[Request] = deque()
        self._wake = threading.Condition()
        self._lost: set[str] = set()  # told by the streams, and not seen to yet
        self._unfollowed: set[str] = set()  # registered, and Alpaca follows it no more
        self._restored: list[PendingChange] = []
        self._rewrite = False
        self._rewrite_after_s = self._ask_again_s = 0.0
        self._ask_again_after_s = _ASK_AGAIN_S[0]
        self._unwritten: list[Holding] = []  # releases that Redis did not take yet
        self._lease_time = LeaseTime()
        self.rounds = 0

    def await_restored(self, changes: Sequence[PendingChange]) -> None:
        """Before the start: the requests for what was held before, whose answers are to come."""
        self._restored = list(changes)

    def put(self, request: Request) -> bool:
        """Queue a request for the next round; False when too many wait."""
        with self._wake:
            if len(self._waiting) >= MAX_WAITING:
                return False
            self._waiting.append(request)
            self._wake.notify()
            return True

    def figures(self) -> tuple[int, int]:
        """How many requests wait, and how many registrations there are."""
        return len(self._waiting), self._registry.count()

    def lost(self, symbol: str) -> None:
        """Alpaca no longer follows a ticker that it once accepted: it is asked again.

        The producers go on with it: what came of it before is not published yet, and what is
        missing is told by its stream as soon as Alpaca follows it again.
        """
        with self._wake:
            self._lost.add(symbol)
            self._wake.notify()

    def rewrite(self) -> None:
        """Redis was emptied: write all registrations again."""
        with self._wake:
            self._rewrite = True
            self._wake.notify()

    def begin_stop(self) -> None:
        with self._wake:
            super().begin_stop()
            self._wake.notify()

    def _run(self) -> None:
        while not self._stopping:
            requests = self._gather()
            self._registry.shift(self._lease_time.shift_ms(self._redis_hears()))
            expired = self._registry.expire(now_ms())
            try:
                self._see_to_restored()
                self._see_to_losses()
                if requests or expired:
                    self._run_round(requests, expired)
                elif self._due_again():
                    self._follow_what_is_wanted()
            except BrokerNotReady as error:
                # It ends, for a reason that is told elsewhere; we are about to be stopped.
                log.info("registration.round_left", reason=str(error), requests=len(requests))
                return
            except (BusError, BrokerError) as error:
                # Stopped, superseded or stuck in the middle of a change: this run is over.
                log.error("registration.round_failed", error=str(error), requests=len(requests))
                if not self._stopping:
                    self._on_failure(self.name, error)
                return
            except Exception as error:  # the supervisor of this thread
                log.error("registration.failed", traceback=plain_traceback())
                self._on_failure(self.name, error)
                return

    def _gather(self) -> list[Request]:
        with self._wake:
            if not (self._waiting or self._lost or self._rewrite or self._stopping):
                self._wake.wait(until_turn_s(_EXPIRY_TICK_S))
            requests = list(self._waiting)
            self._waiting.clear()
            return requests

    def _due_again(self) -> bool:
        """Whether to ask again for what is registered, and Alpaca let go of."""
        if not self._unfollowed and self._registry.wanted() == self._conductor.following():
            self._ask_again_after_s = _ASK_AGAIN_S[0]
            self._ask_again_s = time.monotonic() + self._ask_again_after_s
            return False
        due = time.monotonic() >= self._ask_again_s
        if due:
            self._ask_again_after_s = min(_ASK_AGAIN_S[1], 2 * self._ask_again_after_s)
            self._ask_again_s = time.monotonic() + self._ask_again_after_s
        return due

    def _see_to_restored(self) -> None:
        """What was held before, and Alpaca refuses now, is let go of, and told; what merely lacks
        in its answer is asked for again."""
        answered = [change for change in self._restored if not change.open]
        self._restored = [change for change in self._restored if change.open]
        rejected = {t: why for change in answered for t, why in change.rejected.items()}
        refused = {ticker: why for ticker, why in rejected.items() if why[0] != UNANSWERED}
        self._unfollowed |= rejected.keys() - refused.keys()
        gone = [h for h in self._registry.holdings() if h.ticker in refused]
        for holding in gone:
            self._registry.release(holding.ticker, holding.client_id)
            log.error(
                "registration.not_restored",
                ticker=holding.ticker,
                client_id=holding.client_id,
                reason=str(refused[holding.ticker]),
            )
        if gone:
            self._conductor.drop_symbols(refused)
            self._write([], gone)

    def _see_to_losses(self) -> None:
        with self._wake:
            lost, self._lost = self._lost, set()
            rewrite, self._rewrite = self._rewrite, False
        if 0 < self._rewrite_after_s <= time.monotonic():
            rewrite, self._rewrite_after_s = True, 0.0
        self._unfollowed |= lost
        if rewrite:
            held = {holding.key for holding in self._registry.holdings()}
            released = [h for h in self._unwritten if h.key not in held]
            self._write(self._registry.holdings(), released)

    def _run_round(self, requests: list[Request], expired: list[Holding]) -> None:
        self.rounds += 1
        answer_by_s = time.monotonic() + REPLY_S
        for holding in expired:
            log.info("lease.expired", ticker=holding.ticker, client_id=holding.client_id)
        ledger = RoundLedger(self._registry, released=expired)
        refusals = self._judge_new_tickers(requests)
        for request in requests:
            ledger.decide(request, refusals.get(request.ticker), now_ms())
        self._tell_lapsed(expired)
        rejections = self._follow_what_is_wanted(answer_by_s - time.monotonic())
        ledger.take_back(rejections)
        self._write(ledger.held(), ledger.released())
        for reply in ledger.replies():
            self._reply(reply)

    def _tell_lapsed(self, expired: Sequence[Holding]) -> None:
        lapsed = {h.ticker for h in expired if not self._registry.follows(h.ticker)}
        if lapsed:
            self._conductor.lapsed(lapsed)

    def _judge_new_tickers(self, requests: list[Request]) -> dict[str, Rejection]:
        """Which of the tickers asked for Alpaca does not know, or does not let us ask about."""
        asked = dict.fromkeys(r.ticker for r in requests if r.action == "subscribe")
        new = [ticker for ticker in asked if not self._registry.follows(ticker)]
        if not new:
            return {}
        try:
            reasons = self._assets.judge(new, LOOK_UP_S)
        except (RestUnavailable, RestRefused) as error:
            detail = f"the asset list could not be asked: {error}"
            return dict.fromkeys(new, Rejection(reason="upstream_unavailable", detail=detail))
        return {
            ticker: Rejection(reason=reason, detail=self._detail(reason, ticker))
            for ticker, reason in reasons.items()
        }

    def _detail(self, reason: str, ticker: str) -> str:
        meant = self._assets.meant(ticker)
        told = _DETAILS[reason].format(ticker=ticker)
        return f"{told}: did you mean {meant}?" if meant else told

    def _follow_what_is_wanted(self, timeout_s: float = REPLY_S) -> Mapping[str, Rejection]:
        """Bring upstream and producers to what the registry wants."""
        wanted, has = self._registry.wanted(), self._conductor.following()
        self._unfollowed.intersection_update(wanted)
        leave = {
            ticker: data - wanted.get(ticker, frozenset())
            for ticker, data in has.items()
            if data - wanted.get(ticker, frozenset())
        }
        follow = {
            ticker: data if ticker in self._unfollowed else data - has.get(ticker, frozenset())
            for ticker, data in wanted.items()
            if ticker in self._unfollowed or data - has.get(ticker, frozenset())
        }
        # Leaving comes first: it makes room under the symbol limit.
        if leave:
            self._conductor.unsubscribe_symbols(leave, wait=not follow)
        self._conductor.forget_losses(wanted)
        if not follow:
            return {}
        rejections = self._conductor.subscribe_symbols(follow, timeout_s)
        self._unfollowed.difference_update(follow.keys() - rejections.keys())
        return rejections

    def _write(self, held: Sequence[Holding], released: Sequence[Holding]) -> None:
        """Keep it in Redis. What could not be written is written whole at the next turn."""
        try:
            self._store.write(held, released)
        except redis.RedisError as error:
            log.error("lease.not_saved", error=str(error))
            self._unwritten += released
            self._rewrite_later()
        else:
            self._unwritten = []

    def _rewrite_later(self) -> None:
        self._rewrite_after_s = next_turn_s(time.monotonic(), _EXPIRY_TICK_S)


_DETAILS: Final = {
    "unknown_ticker": "Alpaca does not know {ticker}, or it is not active",
    "unsupported_asset_class": "{ticker} is neither a stock nor a crypto pair",
}
