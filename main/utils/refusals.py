"""Pure: what each of Alpaca's refusals means, and how long to wait before asking again.

One hot retry is one too many: whoever repeats a refused order at once is refused again, spends the
account's 200 requests a minute, and hides the cause. So each refusal has one row in a table: a wait
that grows, with a last attempt, or a stop.

* 429: the account's budget is spent. Nothing of it is done, so the same request may be sent again,
  but nothing at all is sent before Alpaca's own reset, or 2 s growing to 60 s where it tells none.
* Wash trade (403): an order of the other side could trade with this one. It goes through when that
  one has ended; `blocking_orders` names it. 5 s growing to 60 s, five times.
* Held for orders (403): the shares are owned, but promised to other orders. 1 s growing to 30 s,
  eight times. Shares that are not owned (`insufficient qty` with nothing held) are a stop.
* Price away: the price is too far from the market. It may come nearer: 30 s growing to 10 minutes,
  three times. A price that no market takes (sub-penny) is a stop.
* Not sent to the exchange yet (422 of a replace): 0.5 s growing to 4 s, eight times.
* A duplicate client_order_id (422) says that the order exists: look, do not send.
* Keys that are refused (401) stop everything.

Alpaca reuses its codes, so a row is known by the HTTP status with a key of the body (a fact), or by
words of the message. Here is the only place that reads them.
"""

from __future__ import annotations

import math
from collections.abc import Hashable
from dataclasses import dataclass, field
from decimal import Decimal
from enum import Enum, auto
from typing import Final

from .answers import Lost, Refused
from .decimals import decimal_or_none
from .waits import GrowingWait


class Remedy(Enum):
    """What follows from a refusal."""

    SEND_AGAIN = auto()  # the same order, by the same id, after the wait
    LOOK_UP = auto()  # it may exist: ask for it before anything else
    STOP = auto()  # this order never again as it is
    STOP_ALL = auto()  # nothing of this account will be taken


@dataclass(frozen=True, kw_only=True)
class Rule:
    """A row of the table. Waits double from `first_s` to `cap_s`; after `attempts` it is a stop."""

    cause: str
    remedy: Remedy
    first_s: float = 0.0
    cap_s: float = 0.0
    attempts: float = 0
    account_wide: bool = False  # the wait holds for every request of the account


def _again(cause: str, first_s: float, cap_s: float, attempts: float) -> Rule:
    return Rule(
        cause=cause,
        remedy=Remedy.SEND_AGAIN,
        first_s=first_s,
        cap_s=cap_s,
        attempts=attempts,
        account_wide=cause == "rate_limited",
    )


def _stop(cause: str, remedy: Remedy = Remedy.STOP) -> Rule:
    return Rule(cause=cause, remedy=remedy)


RATE_LIMITED: Final = _again("rate_limited", 2.0, 60.0, math.inf)
WASH_TRADE: Final = _again("wash_trade", 5.0, 60.0, 5)
HELD_FOR_ORDERS: Final = _again("held_for_orders", 1.0, 30.0, 8)
PRICE_AWAY: Final = _again("price_away", 30.0, 600.0, 3)
OPPOSITE_ORDER_OPEN: Final = _again("opposite_order_open", 5.0, 60.0, 5)
NOT_SENT_YET: Final = _again("not_sent_to_exchange_yet", 0.5, 4.0, 8)
HALTED: Final = _again("halted", 30.0, 300.0, 10)
NOT_CONNECTED: Final = _again("not_connected", 1.0, 30.0, 8)  # nothing left this machine
UNANSWERED: Final = _again("unanswered", 0.5, 4.0, 8)  # only for what may be asked twice
DUPLICATE: Final = _stop("duplicate_client_order_id", Remedy.LOOK_UP)
KEYS_REFUSED: Final = _stop("keys_refused", Remedy.STOP_ALL)
INSUFFICIENT_QTY: Final = _stop("insufficient_qty")

# The first row whose words are all in the message. Alpaca changes upper and lower case at will.
_BY_WORDS: Final[tuple[tuple[int, tuple[str, ...], Rule], ...]] = (
    (403, ("wash trade",), WASH_TRADE),
    (403, ("while a long buy order is open",), OPPOSITE_ORDER_OPEN),
    (403, ("while a short sell order is open",), OPPOSITE_ORDER_OPEN),
    (403, ("insufficient buying power",), _stop("buying_power")),
    (403, ("insufficient balance",), _stop("buying_power")),
    (403, ("insufficient qty",), INSUFFICIENT_QTY),
    (403, ("cost basis",), _stop("below_least_cost")),
    (403, ("pattern day trading",), _stop("pattern_day_trader")),
    (403, ("halted",), HALTED),
    (422, ("halted",), HALTED),
    (422, ("client_order_id must be unique",), DUPLICATE),
    (422, ("sub-penny",), _stop("price_increment")),
    (422, ("sent to exchange yet",), NOT_SENT_YET),
    (422, ("unable to replace order", "not open"), _stop("not_open")),
    (422, ("order is already in",), _stop("not_open")),
    (422, ("not cancelable",), _stop("not_open")),
    (422, ("pending cancel",), _stop("cancel_pending")),
    (422, ("not tradable",), _stop("not_tradable")),
    (422, ("not active",), _stop("not_tradable")),
    (422, ("cannot be sold short",), _stop("not_shortable")),
    (422, ("asset", "not found"), _stop("unknown_symbol")),
)
# How venues and brokers say that a price is too far from the market; Alpaca documents no text.
_PRICE_AWAY_WORDS: Final = (
    "too far",
    "away from the market",
    "away from market",
    "price away",
    "price band",
    "too aggressive",
    "outside of the allowed range",
)
_BY_STATUS: Final = {
    401: KEYS_REFUSED,
    403: _stop("forbidden"),
    404: _stop("not_found"),
    422: _stop("invalid"),
    429: RATE_LIMITED,
}


def rule_for(refused: Refused) -> Rule:
    """The row of the table for this refusal; a stop for one that nobody has seen before."""
    text = refused.message.lower()
    if refused.status == 403 and _held(refused) > 0:
        return HELD_FOR_ORDERS
    if refused.status == 403 and refused.facts.get("existing_order_id"):
        return WASH_TRADE
    if refused.status in (403, 422) and any(words in text for words in _PRICE_AWAY_WORDS):
        return PRICE_AWAY
    for status, words, rule in _BY_WORDS:
        if refused.status == status and all(word in text for word in words):
            return rule
    return _BY_STATUS.get(refused.status, _stop("refused"))


def blocking_orders(refused: Refused) -> tuple[str, ...]:
    """Alpaca's ids of the orders that are in the way. When they ended, asking again makes sense."""
    found = [refused.facts.get("existing_order_id")]
    related = refused.facts.get("related_orders")
    found += related if isinstance(related, list) else []
    return tuple(order_id for order_id in found if isinstance(order_id, str) and order_id)


def _held(refused: Refused) -> Decimal:
    held = decimal_or_none(refused.facts.get("held_for_orders"))
    return held if held is not None else Decimal(0)


@dataclass
class _Hold:
    rule: Rule
    wait: GrowingWait
    refusals: int = 0
    because: Refused | Lost | None = None

    def is_old(self, now: float) -> bool:
        """Whether it was quiet for so long that the next refusal begins anew."""
        return now - self.wait.until > self.rule.cap_s


@dataclass
class Holds:
    """Who has to wait, and until when. A key is whatever the owner repeats: a rung, an order id.

    The wait for the account (429) is one for all keys. Not thread-safe: one owner.
    """

    account: GrowingWait = field(
        default_factory=lambda: GrowingWait(RATE_LIMITED.first_s, RATE_LIMITED.cap_s)
    )
    _held: dict[Hashable, _Hold] = field(default_factory=dict)
    _paused_because: Refused | Lost | None = None

    def refuse(
        self,
        key: Hashable,
        rule: Rule,
        now: float,
        told_s: float | None = None,
        because: Refused | Lost | None = None,
    ) -> float:
        """Note a refusal; how long to wait now, in seconds: `inf` is a stop.

        `told_s` is a wait that Alpaca itself asked for; `because` is what `reason` gives back.
        """
        if rule.account_wide:
            return self.pause(now, told_s, because)
        hold = self._held.get(key)
        if hold is None or hold.rule is not rule:
            self._forget_old(now)
            wait = GrowingWait(max(rule.first_s, 0.001), max(rule.cap_s, 0.001))
            hold = self._held[key] = _Hold(rule=rule, wait=wait)
        if hold.is_old(now):
            hold.refusals = 0
        hold.refusals, hold.because = hold.refusals + 1, because
        if rule.remedy is not Remedy.SEND_AGAIN or hold.refusals > rule.attempts:
            hold.wait.until = math.inf
            return math.inf
        return hold.wait.grow(now)

    def pause(
        self, now: float, told_s: float | None = None, because: Refused | Lost | None = None
    ) -> float:
        """Nothing of the account is sent for a while; returns how long."""
        self._paused_because = because
        wait_s = self.account.grow(now)
        if told_s is not None and told_s > wait_s:
            wait_s = min(told_s, RATE_LIMITED.cap_s)
            self.account.until = now + wait_s
        return wait_s

    def open(self, key: Hashable, now: float) -> bool:
        """Whether this key may be sent now."""
        hold = self._held.get(key)
        return self.account.over(now) and (hold is None or hold.wait.over(now))

    def stopped(self, key: Hashable) -> Rule | None:
        """The rule that stopped this key for good, if one did."""
        hold = self._held.get(key)
        return hold.rule if hold is not None and hold.wait.until == math.inf else None

    def until(self, key: Hashable) -> float:
        """When it may be sent; `-inf` for at once, `inf` for never."""
        hold = self._held.get(key)
        own = float("-inf") if hold is None else hold.wait.until
        return max(own, self.account.until)

    def reason(self, key: Hashable) -> Refused | Lost | None:
        """What makes this key wait, where whoever noted it said so."""
        hold = self._held.get(key)
        if hold is None or hold.wait.until < self.account.until:
            return self._paused_because
        return hold.because

    def clear(self, key: Hashable) -> None:
        """It was taken, or what stood in its way is gone."""
        self._held.pop(key, None)

    def _forget_old(self, now: float) -> None:
        for key in [key for key, hold in self._held.items() if hold.is_old(now)]:
            del self._held[key]
