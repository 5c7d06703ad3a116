"""Before it trades: what has to be asked of Alpaca first, and what ends a scale_t right away."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from typing import Any, Final, TypeAlias, TypeVar

import structlog

from ..utils.decimals import decimal_or_none
from ..utils.redis.messages import parse_rfc3339, rfc3339
from ..utils.waits import GrowingWait
from .config import ScaleTConfig
from .engine import Engine
from .fees import listed_since_ns
from .modes import Mode
from .saved import Saved
from .start_state import NotUnderstood, remember, restore
from .terms import LadderTerms
from .venue import ACTIVITIES_PAGE, TooManyOrders, UnknownTicker, Venue, VenueFailed

log: Final = structlog.get_logger("tickerbus.scale_t")

STOPPED, NOT_STARTED, MISCONFIGURED, REFUSED, LOSS_LIMIT = 0, 1, 2, 3, 4
_T = TypeVar("_T")
_Page: TypeAlias = list[Mapping[str, Any]]


class Ends(Exception):
    """`run` ends here, with this code; the reason is logged once."""

    def __init__(self, code: int, event: str, reason: object) -> None:
        self.code, self.event, self.reason = code, event, reason
        super().__init__(f"{event}: {reason}")


class Stopped(Exception):
    """`stop` was called while starting."""


class Start:
    """One start. `is_stopped` is looked at between any two requests."""

    def __init__(self, config: ScaleTConfig, is_stopped: Callable[[], bool]) -> None:
        self._config, self._is_stopped = config, is_stopped

    def ask(self, question: Callable[[], _T]) -> _T:
        """An answer that is needed before anything else; an Alpaca that is away is waited for.

        Raises:
            Ends: Alpaca refuses the keys.
            Stopped: while it waited.
        """
        wait, told = GrowingWait(1.0, 30.0), False
        while True:
            self.go_on()
            try:
                return question()
            except VenueFailed as error:
                if error.keys_refused:
                    raise Ends(REFUSED, "scale_t.keys_refused", error) from error
                if not told:
                    log.warning("scale_t.alpaca_away", reason=str(error))
                told = True
                self.pause(wait.grow(time.monotonic()))

    def pause(self, seconds: float) -> None:
        """A stop ends it."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.go_on()
            time.sleep(0.05)

    def go_on(self) -> None:
        """Raises:
        Stopped: it is to end.
        """
        if self._is_stopped():
            raise Stopped

    def terms(self, venue: Venue) -> LadderTerms:
        """The ladder's, with what is a pair's own: the steps of prices and quantities.

        Raises:
            Ends: Alpaca does not know the ticker, or takes no orders of this size.
        """
        terms = self._config.terms
        try:
            asset = self.ask(lambda: venue.asset(terms.ticker))
        except UnknownTicker as error:
            raise Ends(NOT_STARTED, "scale_t.unknown_ticker", error) from error
        if not terms.is_crypto:
            return terms
        terms = with_steps(terms, asset)
        if not terms.orderable(min(terms.component, terms.initial)):
            reason = (
                f"a component of {min(terms.component, terms.initial)} is less than Alpaca takes "
                f"of {terms.ticker}: at least {terms.least_qty}, in steps of {terms.qty_step}"
            )
            raise Ends(MISCONFIGURED, "scale_t.component_too_small", reason)
        return terms

    def restore(self, engine: Engine, saved: Saved | None) -> None:
        """The ladder as its own earlier orders tell it.

        Raises:
            Ends: they contradict the parameters.
        """
        config, ladder, venue = self._config, engine.ladder, engine.parts.venue
        venue.before_request = self.go_on
        try:
            orders = self.ask(lambda: venue.all_orders(config.ticker, pause=self.pause))
            if ladder.terms.is_crypto:
                charges = all_charges(venue, ladder.book.prefix, orders, self.ask)
                ladder.book.see_fees(charges)
            known = engine.session.saved = remember(ladder, orders, saved)
            start = known.start_price if known is not None else None
            restore(ladder, orders, config.start_price, start)
        except (NotUnderstood, TooManyOrders) as error:
            raise Ends(NOT_STARTED, "scale_t.start_state_not_understood", error) from error
        finally:
            venue.before_request = _nothing
        log.info(
            "scale_t.started",
            ticker=config.ticker,
            max_position=str(config.terms.max_position),
            start_price=str(ladder.start_price or "first price"),
            held=str(ladder.position),
            working=len(ladder.working_ids()),
        )
        if known is not None and known.flattening and not ladder.is_flat:
            ladder.become(Mode.FLATTENING, "it was told to, and ended before it was flat")
            log.warning("scale_t.flattens", owns=str(ladder.position), reason=ladder.reason)


def all_charges(
    venue: Venue,
    prefix: str,
    orders: Sequence[Mapping[str, Any]],
    ask: Callable[[Callable[[], _Page]], _Page] = lambda question: question(),
) -> _Page:
    """What the executions of the own ones of these orders cost, as far as Alpaca has listed it,
    among those of others."""
    since, token = charged_since(prefix, orders), None
    found: _Page = []
    while since is not None:
        page = ask(functools.partial(venue.charges, since, token))
        found += page
        if len(page) < ACTIVITIES_PAGE:
            break
        token = str(page[-1]["id"])
    return found


def with_steps(terms: LadderTerms, asset: Mapping[str, Any]) -> LadderTerms:
    """The terms of a pair, with what Alpaca's asset says of its orders."""
    return dataclasses.replace(
        terms,
        price_step=decimal_or_none(asset.get("price_increment")) or Decimal("0.01"),
        qty_step=decimal_or_none(asset.get("min_trade_increment")),
        least_qty=decimal_or_none(asset.get("min_order_size")) or Decimal(0),
    )


def charged_since(prefix: str, orders: Sequence[Mapping[str, Any]]) -> str | None:
    """From when on the fees of the own ones of these orders are listed; None without any."""
    moments = [
        parse_rfc3339(str(each["submitted_at"]))
        for each in orders
        if str(each.get("client_order_id")).startswith(prefix)
    ]
    if not moments:
        return None
    return rfc3339(listed_since_ns(min(moments)))


def _nothing() -> None:
    """Nothing stands in the way of a request."""
