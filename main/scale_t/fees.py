"""Pure: what the executions of a crypto pair cost, assumed until Alpaca lists it.

Alpaca takes a pair's fee from what is received: of a buy in coins, of a sale in dollars. Neither
orders nor executions tell of it; activities of type CFEE do, one for each execution, seconds or
hours later, and they name no order. So until a fee is listed the dearest rate that may apply is
assumed: never more is offered than is owned. A listed fee is recognised by its amount, which is one
of the published rates times an execution, rounded up to the ninth decimal or to the cent.

Sources: https://docs.alpaca.markets/docs/crypto-fees (rates, which side pays in what, CFEE). That
it is each execution that is charged, and the rounding, is what paper accounts of 2026 list.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import ROUND_CEILING, Decimal
from typing import Any, Final

from ..utils.decimals import decimal_or_none
from ..utils.redis.messages import parse_rfc3339

ZERO: Final = Decimal(0)
COIN_UNIT: Final = Decimal("0.000000001")
CENT: Final = Decimal("0.01")
# Maker's and taker's of all tiers.
RATES: Final = tuple(
    Decimal(points) / 10_000 for points in (25, 22, 20, 18, 15, 13, 12, 10, 8, 5, 2)
)
HIGHEST_RATE: Final = RATES[0]
_UNLISTED_PARTS: Final = 10  # each of an order's executions may round up; so many are assumed
_SECOND_NS: Final = 1_000_000_000
_DAY_NS: Final = 86_400 * _SECOND_NS
_CLOCKS_DIFFER_NS: Final = 5 * _SECOND_NS
_FORGET_AFTER_NS: Final = 7 * _DAY_NS


def coins_of(qty: Decimal, rate: Decimal) -> Decimal:
    """The fee of a buy, in coins."""
    return (qty * rate).quantize(COIN_UNIT, rounding=ROUND_CEILING)


def cents_of(value: Decimal, rate: Decimal) -> Decimal:
    """The fee of a sale, in dollars."""
    return (value * rate).quantize(CENT, rounding=ROUND_CEILING)


def listed_since_ns(moment_ns: int) -> int:
    """From when on the fees of executions from `moment_ns` on are listed: a fee's own time may be
    the beginning of its day, in New York."""
    return moment_ns // _DAY_NS * _DAY_NS - _DAY_NS


@dataclass
class Listed:
    """What Alpaca has listed of one order: fees, and of how much of it."""

    qty: Decimal = ZERO
    value: Decimal = ZERO
    fee: Decimal = ZERO


@dataclass(frozen=True, kw_only=True)
class _Part:
    """One execution of the account, a pair's."""

    order_id: str
    symbol: str
    buys: bool
    qty: Decimal
    price: Decimal
    at_ns: int

    def fees(self) -> Iterator[tuple[str, Decimal]]:
        """What its fee may look like: the symbol (of a sale none) and the amount."""
        for rate in RATES:
            if self.buys:
                yield self.symbol, coins_of(self.qty, rate)
            else:
                yield "", cents_of(self.qty * self.price, rate)


@dataclass
class ListedFees:
    """The fees that Alpaca has listed, by order. Fed with the account's activities of the types
    FILL and CFEE, in any order and with repeats."""

    rate: Decimal  # what is assumed of an execution whose fee is not listed
    by_order: dict[str, Listed] = field(default_factory=lambda: defaultdict(Listed))
    _seen: dict[str, int] = field(default_factory=dict)
    _waiting: list[_Part] = field(default_factory=list)
    _unmatched: list[tuple[int, str, Decimal]] = field(default_factory=list)
    _newest_ns: int = 0

    def take(self, activities: Iterable[Mapping[str, Any]]) -> set[str]:
        """Match what is new. Returns the ids of the orders of which more is known now."""
        for activity in activities:
            self._see(activity)
        self._waiting.sort(key=lambda part: part.at_ns)
        self._unmatched.sort(key=lambda fee: fee[0])
        changed = self._match()
        self._forget()
        return changed

    def asked_since_ns(self, own_orders: frozenset[str]) -> int | None:
        """Since when activities have to be asked for, for these orders; None before the first
        ones."""
        if not self._newest_ns:
            return None
        waiting = [part.at_ns for part in self._waiting if part.order_id in own_orders]
        return listed_since_ns(min([self._newest_ns, *waiting]))

    def coins(self, order_ids: Iterable[str], qty: Decimal, parts: int) -> Decimal:
        """The fee of a buy of which `qty` has filled, in at least `parts` executions."""
        listed = self._sum(order_ids)
        rest = qty - listed.qty
        if rest <= 0 or not self.rate:
            return listed.fee
        rounded_up = COIN_UNIT * (max(parts, _UNLISTED_PARTS) - 1)
        return listed.fee + min(rest, coins_of(rest, self.rate) + rounded_up)

    def dollars(self, order_ids: Iterable[str], qty: Decimal, value: Decimal) -> Decimal:
        """The fee of a sale of `qty` for `value` dollars."""
        listed = self._sum(order_ids)
        if qty <= listed.qty or not self.rate:
            return listed.fee
        return listed.fee + cents_of(max(ZERO, value - listed.value), self.rate)

    def of(self, order_ids: Iterable[str]) -> Decimal:
        """How much of these orders' executions has its fee listed."""
        return self._sum(order_ids).qty

    # -- private

    def _sum(self, order_ids: Iterable[str]) -> Listed:
        total = Listed()
        for order_id in order_ids:
            if (listed := self.by_order.get(order_id)) is not None:
                total.qty += listed.qty
                total.value += listed.value
                total.fee += listed.fee
        return total

    def _see(self, activity: Mapping[str, Any]) -> None:
        name, at_ns = str(activity.get("id")), _moment_ns(activity)
        if name in self._seen:
            return
        kind = activity.get("activity_type")
        if kind == "FILL" and (part := _part(activity, at_ns)) is not None:
            self._waiting.append(part)
            self._newest_ns = max(self._newest_ns, at_ns)
        elif kind == "CFEE" and (fee := _fee(activity)) is not None:
            self._unmatched.append((at_ns, *fee))
        else:
            return
        self._seen[name] = at_ns

    def _match(self) -> set[str]:
        """Each fee is that of the earliest execution before it that it fits."""
        fitting: defaultdict[tuple[str, Decimal], list[_Part]] = defaultdict(list)
        for part in self._waiting:
            for key in part.fees():
                fitting[key].append(part)
        taken, left, changed = set[int](), list[tuple[int, str, Decimal]](), set[str]()
        for at_ns, symbol, amount in self._unmatched:
            until_ns = at_ns + _CLOCKS_DIFFER_NS
            found = next(
                (
                    part
                    for part in fitting.get((symbol, amount), ())
                    if id(part) not in taken and part.at_ns <= until_ns
                ),
                None,
            )
            if found is None:
                left.append((at_ns, symbol, amount))
                continue
            taken.add(id(found))
            changed.add(found.order_id)
            listed = self.by_order[found.order_id]
            listed.qty += found.qty
            listed.value += found.qty * found.price
            listed.fee += amount
        self._unmatched = left
        self._waiting = [part for part in self._waiting if id(part) not in taken]
        return changed

    def _forget(self) -> None:
        """What found nothing within days stays as it was assumed."""
        until_ns = self._newest_ns - _FORGET_AFTER_NS
        self._waiting = [part for part in self._waiting if part.at_ns >= until_ns]
        self._unmatched = [fee for fee in self._unmatched if fee[0] >= until_ns]
        known_until_ns = until_ns - 2 * _DAY_NS
        self._seen = {name: ns for name, ns in self._seen.items() if ns >= known_until_ns}


def _part(activity: Mapping[str, Any], at_ns: int) -> _Part | None:
    symbol = str(activity.get("symbol") or "")
    qty, price = decimal_or_none(activity.get("qty")), decimal_or_none(activity.get("price"))
    if "/" not in symbol or qty is None or price is None:
        return None
    return _Part(
        order_id=str(activity.get("order_id")),
        symbol=symbol.replace("/", ""),
        buys=activity.get("side") == "buy",
        qty=qty,
        price=price,
        at_ns=at_ns,
    )


def _fee(activity: Mapping[str, Any]) -> tuple[str, Decimal] | None:
    """The symbol and the coins, or no symbol and the dollars."""
    coins = decimal_or_none(activity.get("qty"))
    symbol = str(activity.get("symbol") or "").replace("/", "")
    if coins and symbol:
        return symbol, -coins
    dollars = decimal_or_none(activity.get("net_amount"))
    return ("", -dollars) if dollars else None


def _moment_ns(activity: Mapping[str, Any]) -> int:
    """When it happened; of what tells only its day, the end of that."""
    for name in ("transaction_time", "created_at"):
        if told := activity.get(name):
            try:
                return parse_rfc3339(str(told))
            except ValueError:
                break
    try:
        return parse_rfc3339(f"{activity.get('date')}T00:00:00-05:00") + _DAY_NS
    except ValueError:
        return 0
