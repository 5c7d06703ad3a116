"""What a running scale_t does on a person's command, and what it says to it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import structlog

from ..utils.decimals import decimal_or_none
from ..utils.redis.messages import now_rfc3339
from .control import ControlRequest
from .desk import Listed, NoAnswer, Told
from .modes import IllegalMode, Mode
from .state import plain, state_of

if TYPE_CHECKING:
    from .engine import Engine
    from .ladder import Ladder

log: Final = structlog.get_logger("tickerbus.scale_t")

Answer = Callable[[ControlRequest, bool, str, dict[str, Any]], object]


def _lacks(ladder: Ladder) -> str | None:
    return "no price is known yet to judge its limits by" if ladder.lacks_price else None


class Obey:
    """The engine's own; in its thread."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.answer: Answer = lambda *_: None

    def see(self, request: ControlRequest, now: float) -> None:
        """Do it, and answer; `update` is answered when Alpaca has."""
        if request.command != "status":
            log.info("scale_t.command", command=request.command, arguments=request.arguments)
        try:
            words = self._do(request, now)
        except (IllegalMode, ValueError) as error:
            self._tell(request, False, str(error))
            return
        if words is not None:
            self._tell(request, True, words)

    def tell_updated(self, request: ControlRequest, answer: Told) -> None:
        """Alpaca answered an `update`."""
        if isinstance(answer, Listed):
            count = len(self._engine.ladder.working_ids())
            self._tell(request, True, f"Alpaca lists {len(answer.orders)} open orders, {count} own")
        else:
            why = answer.reason if isinstance(answer, NoAnswer) else "no answer"
            self._tell(request, False, f"Alpaca did not tell its orders: {why}")

    def _do(self, request: ControlRequest, now: float) -> str | None:
        ladder, engine = self._engine.ladder, self._engine
        match request.command:
            case "status":
                return ""
            case "pause":
                ladder.become(Mode.PAUSED, "by hand")
                return "paused: entries are taken back, exits go on"
            case "resume":
                return self._resume(request.arguments)
            case "stop":
                engine.stop()
                return "stopping: entries are taken back, exits stay at Alpaca"
            case "flatten":
                # What holds it is known: the shares after a split, no more than the account has.
                engine.session.confirm(ladder, now_rfc3339(), adopt=True, ratio=None)
                ladder.become(Mode.FLATTENING, "by hand")
                engine.save()  # killed in the middle, it goes on with that
                return f"flattening: own orders first, then {plain(ladder.position)} at the market"
            case "update":
                engine.asked_updates[request.request_id] = request
                engine.update(now, asked_by=request.request_id)
                return None
            case "price":
                return self._price(request.arguments)

    def _resume(self, arguments: dict[str, Any]) -> str:
        ladder, session = self._engine.ladder, self._engine.session
        if ladder.mode is Mode.HELD:
            if not arguments.get("confirm"):
                raise ValueError(f"held: {ladder.reason}. Look first, then resume --confirm")
            given = arguments.get("split")
            ratio = decimal_or_none(given)
            if given is not None and (ratio is None or ratio <= 0):
                raise ValueError(f"{given!r} is no ratio of a split: give new shares for one old")
            refusal = session.confirm(
                ladder, now_rfc3339(), adopt=bool(arguments.get("adopt")), ratio=ratio
            )
            if refusal is not None:
                raise ValueError(refusal)
        if not ladder.become(Mode.TRADING, ""):
            return "it trades already"
        self._engine.save()
        return f"trading again, owns {plain(ladder.position)}"

    def _price(self, arguments: dict[str, Any]) -> str:
        given = arguments.get("price")
        price = decimal_or_none(given)
        if price is None or price <= 0:
            raise ValueError(f"{given!r} is no price: give dollars above 0")
        self._engine.prices.give(price)
        return f"took {plain(price)} for the last price, until the next trade"

    def _tell(self, request: ControlRequest, ok: bool, words: str) -> None:
        self.answer(request, ok, words, self._state())

    def _state(self) -> dict[str, Any]:
        engine, now = self._engine, time.time()
        age_s = engine.prices.age_s(now)
        return {
            **state_of(engine.ladder),
            "account": engine.parts.account,
            "entries_held": engine.obstacle,
            "price_age_s": None if age_s is None else round(age_s, 1),
            "price_is_stale": engine.prices.is_stale(now),
            "price_by_hand": engine.prices.by_hand,
            "market_open": engine.session.is_open,
            "range": engine.ladder.range_obstacle() or _lacks(engine.ladder),
            "requests": engine.counters["requests"],
            "refused": engine.counters["refused"],
        }
