"""The registration thread: it gathers the requests that wait into one round, and carries it out.

A round decides in the order of arrival, changes upstream and producers once for all, keeps what
came of it in Redis, and answers every request. Requests that arrive meanwhile make the next round.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, Protocol

import redis
import structlog

from ..utils.redis.errors import BusError
from ..utils.redis.messages import RegistrationReply
from .assets import AssetList
from .errors import BrokerError
from .lease_store import LeaseStore
from .registration_requests import Request
from .registry import Holding, Registry
from .rest import RestRefused, RestUnavailable

log: Final = structlog.get_logger("tickerbus.registration")

MAX_WAITING: Final = 10_000
_EXPIRY_TICK_S: Final = 1.0


@dataclass(frozen=True, kw_only=True)
class Rejection:
    """Why a symbol is not followed."""

    reason: str
    detail: str


class Conductor(Protocol):
    """What a round asks of the broker."""

    def subscribe_symbols(
        self, symbols: Mapping[str, frozenset[str]]
    ) -> Mapping[str, Rejection]: ...

    def unsubscribe_symbols(self, symbols: Mapping[str, frozenset[str]]) -> None: ...

    def following(self) -> Mapping[str, frozenset[str]]: ...


class RegistrationThread:
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
    ) -> None:
        self._conductor, self._registry, self._assets = conductor, registry, assets
        self._store, self._reply, self._on_failure = store, reply, on_failure
        self._waiting: deque[Request] = deque()
        self._wake = threading.Condition()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self.rounds = 0

    def start(self) -> None:
        self._thread.start()

    def put(self, request: Request) -> bool:
        """Queue a request for the next round; False when too many wait."""
        with self._wake:
            if len(self._waiting) >= MAX_WAITING:
                return False
            self._waiting.append(request)
            self._wake.notify()
            return True

    def begin_stop(self) -> None:
        with self._wake:
            self._stopping = True
            self._wake.notify()

    def join(self, timeout_s: float) -> bool:
        """Whether it ended within the time."""
        if self._thread.ident is None:
            return True
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while not self._stopping:
            requests = self._gather()
            expired = self._registry.expire(_now_ms())
            if not requests and not expired:
                continue
            try:
                self._run_round(requests, expired)
            except (BusError, BrokerError) as error:
                # Stopping, fenced or faulted in the middle: the broker's state tells it.
                log.error("registration.round_failed", error=str(error), requests=len(requests))
            except Exception as error:  # the supervisor of this thread
                log.exception("registration.failed")
                self._on_failure(self.name, error)
                return

    def _gather(self) -> list[Request]:
        with self._wake:
            if not self._waiting and not self._stopping:
                self._wake.wait(_EXPIRY_TICK_S)
            requests = list(self._waiting)
            self._waiting.clear()
            return requests

    def _run_round(self, requests: list[Request], expired: list[Holding]) -> None:
        self.rounds += 1
        for holding in expired:
            log.info("lease.expired", ticker=holding.ticker, client_id=holding.client_id)
        ledger = _RoundLedger(self._registry, released=expired)
        refusals = self._judge_new_tickers(requests)
        for request in requests:
            ledger.decide(request, refusals.get(request.ticker), _now_ms())
        rejections = self._follow_what_is_wanted()
        ledger.take_back(rejections)
        self._save(ledger)
        for reply in ledger.replies():
            self._reply(reply)

    def _judge_new_tickers(self, requests: list[Request]) -> dict[str, Rejection]:
        """Which of the tickers asked for Alpaca does not know, or does not let us ask about."""
        asked = dict.fromkeys(r.ticker for r in requests if r.action == "subscribe")
        new = [ticker for ticker in asked if not self._registry.follows(ticker)]
        if not new:
            return {}
        try:
            reasons = self._assets.judge(new)
        except (RestUnavailable, RestRefused) as error:
            detail = f"the asset list could not be asked: {error}"
            return dict.fromkeys(new, Rejection(reason="upstream_unavailable", detail=detail))
        return {
            ticker: Rejection(reason=reason, detail=_DETAILS[reason].format(ticker=ticker))
            for ticker, reason in reasons.items()
        }

    def _follow_what_is_wanted(self) -> Mapping[str, Rejection]:
        """Bring upstream and producers to what the registry wants."""
        wanted, has = self._registry.wanted(), self._conductor.following()
        leave = {
            ticker: data - wanted.get(ticker, frozenset())
            for ticker, data in has.items()
            if data - wanted.get(ticker, frozenset())
        }
        follow = {
            ticker: data - has.get(ticker, frozenset())
            for ticker, data in wanted.items()
            if data - has.get(ticker, frozenset())
        }
        # Leaving comes first: it makes room under the symbol limit.
        if leave:
            self._conductor.unsubscribe_symbols(leave)
        return self._conductor.subscribe_symbols(follow) if follow else {}

    def _save(self, ledger: _RoundLedger) -> None:
        try:
            self._store.write(ledger.held(), ledger.released())
        except redis.RedisError as error:
            log.error("lease.not_saved", error=str(error))


_DETAILS: Final = {
    "unknown_ticker": "Alpaca does not know {ticker}, or it is not active",
    "unsupported_asset_class": "{ticker} is neither a stock nor a crypto pair",
}


class _RoundLedger:
    """What one round decided, so that it can be taken back, kept and answered."""

    def __init__(self, registry: Registry, released: list[Holding]) -> None:
        self._registry = registry
        self._touched: dict[tuple[str, str], Holding | None] = {h.key: None for h in released}
        self._before: dict[tuple[str, str], Holding | None] = {}
        self._outcomes: list[tuple[Request, Rejection | None]] = []

    def decide(self, request: Request, refusal: Rejection | None, now_ms: int) -> None:
        if request.action == "unsubscribe":
            outcome = self._release(request)
        else:
            outcome = refusal or self._hold(request, now_ms)
        self._outcomes.append((request, outcome))

    def _release(self, request: Request) -> Rejection | None:
        holding = self._registry.release(request.ticker, request.client_id)
        self._touched[request.ticker, request.client_id] = None
        if holding is not None:
            return None
        who = request.client_id or "no anonymous client"
        detail = f"{who} does not hold {request.ticker}"
        return Rejection(reason="not_registered", detail=detail)

    def _hold(self, request: Request, now_ms: int) -> Rejection | None:
        if not self._registry.has_room_for(request.ticker):
            limit = self._registry.symbol_limit
            detail = f"{limit} symbols are followed already: the plan's limit"
            return Rejection(reason="symbol_limit", detail=detail)
        holding = request.holding(now_ms)
        before = next((h for h in self._registry.holdings() if h.key == holding.key), None)
        self._before.setdefault(holding.key, before)
        self._registry.hold(holding)
        self._touched[holding.key] = holding
        return None

    def take_back(self, rejections: Mapping[str, Rejection]) -> None:
        """Undo what upstream would not follow: the holds of this round, not the older ones."""
        if not rejections:
            return
        for number, (request, outcome) in enumerate(self._outcomes):
            rejection = rejections.get(request.ticker)
            if rejection is None or outcome is not None or request.action == "unsubscribe":
                continue
            key = (request.ticker, request.client_id)
            before = self._before.get(key)
            if before is not None and before.data >= request.data:
                continue  # only renewed: what it holds is merely away for the moment
            self._registry.release(*key)
            if before is not None:
                self._registry.hold(before)
            self._touched[key] = before
            self._outcomes[number] = (request, rejection)

    def held(self) -> list[Holding]:
        return [holding for holding in self._touched.values() if holding is not None]

    def released(self) -> list[Holding]:
        return [
            Holding(ticker=ticker, client_id=client_id, until_ms=None)
            for (ticker, client_id), holding in self._touched.items()
            if holding is None
        ]

    def replies(self) -> list[RegistrationReply]:
        return [
            request.accepted(self._registry.holders(request.ticker))
            if outcome is None
            else request.rejected(
                outcome.reason, outcome.detail, self._registry.holders(request.ticker)
            )
            for request, outcome in self._outcomes
        ]


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
