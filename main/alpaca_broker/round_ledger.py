"""Pure: what a round of registrations decided: to be taken back, kept and answered."""

from __future__ import annotations

from collections.abc import Mapping

from ..utils.redis.messages import RegistrationReply
from .registration_requests import Request
from .registry import Holding, Registry
from .upstreams import Rejection


class RoundLedger:
    """Decides in the order of arrival; `take_back` what Alpaca would not follow, then answer."""

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
