"""Pure: which orders a ladder wants, and which of those that work it does not want any more."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from .book import ZERO, Book, OwnOrder
from .rungs import Rung, Slice, profit_price
from .terms import LadderTerms


@dataclass(frozen=True)
class Wanted:
    """An order that should work. `price` None: at the market. `least`: fewer are not sent for."""

    component: int
    qty: Decimal
    price: Decimal | None
    least: Decimal = ZERO


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One ladder at one moment. `ratio`: of the splits since its terms were given."""

    terms: LadderTerms
    book: Book
    rungs: Sequence[Rung]
    ratio: Decimal = Decimal(1)

    def range_obstacle(self, last_price: Decimal | None) -> str | None:
        """Why the last price allows no entry, or None."""
        if last_price is None:
            return None
        lowest, highest = self.terms.lowest, self.terms.highest
        if lowest is not None and last_price * self.ratio < lowest:
            return f"the price {last_price} is below the lowest, {lowest / self.ratio}"
        if highest is not None and last_price * self.ratio > highest:
            return f"the price {last_price} is above the highest, {highest / self.ratio}"
        return None

    def entry_room(self, session_entered: Decimal) -> Decimal:
        """How much more may be entered, whatever the rungs want. `session_entered`: what had been
        entered when the session began."""
        room = self.terms.max_position * self.ratio - self.book.position
        if self.terms.session_limit is not None:
            entered = self.book.entered - session_entered
            room = min(room, self.terms.session_limit * self.ratio - entered)
        return room

    def entries(self) -> list[Wanted]:
        """The first rungs that are not full, as many as may work at a time."""
        found: list[Wanted] = []
        for rung in self.rungs:
            want = Wanted(
                rung.component, self._missing(rung), rung.entry_price, least=self._least(rung)
            )
            if self._is_worth(want, want.qty) and self._in_range(rung):
                found.append(want)
            if len(found) == self.terms.working_entries:
                break
        return found

    def unwanted_entries(self, wanted: Sequence[Wanted], room: Decimal) -> list[OwnOrder]:
        """Working entries that are not of `wanted`, or too much for what has come to be owned."""
        left = {(each.component, each.price): each.qty for each in wanted}
        unwanted = []
        for order in self.book.active("entry"):
            key = (order.name.component, order.limit_price)
            if order.pending > min(left.get(key, ZERO), room):
                unwanted.append(order)
            else:
                left[key] -= order.pending
                room -= order.pending
        return unwanted

    def missing_entries(self, wanted: Sequence[Wanted], room: Decimal) -> Iterator[Wanted]:
        """What of `wanted` does not work yet. A rung that was left in parts is topped up."""
        working: defaultdict[int, Decimal] = defaultdict(Decimal)
        for order in self.book.active("entry"):
            working[order.name.component] += order.pending  # also while it is being cancelled
            room -= order.pending
        for want in wanted:
            is_new = want.component not in working
            if is_new and len(working) >= self.terms.working_entries:
                return
            qty = self.terms.orderable(min(want.qty - working[want.component], room))
            if self._is_worth(want, qty):
                room -= qty
                yield Wanted(want.component, qty, want.price)

    def exits(self) -> Iterator[Wanted]:
        """A profit order for each portion that is held and not offered, slice by slice."""
        rungs = {rung.component: rung for rung in self.rungs}
        offered = self.book.offered()
        for component, state in list(self.book.rungs.items()):
            missing = state.held - offered[component]
            if missing > 0:
                yield from self._slice(component, rungs.get(component), missing)

    def unwanted_exits(self) -> list[OwnOrder]:
        """The newest ones, where more is offered than the rung holds."""
        unwanted = []
        left = {component: state.held for component, state in self.book.rungs.items()}
        for order in self.book.active("profit"):
            component = order.name.component
            if order.pending > left.get(component, ZERO):
                unwanted.append(order)
            else:
                left[component] -= order.pending
        return unwanted

    # -- private

    def _least(self, rung: Rung) -> Decimal:
        """A pair's rung is full although its fees are missing: no entry for those alone."""
        return rung.size * self.terms.fee_rate * 2

    def _is_worth(self, want: Wanted, qty: Decimal) -> bool:
        is_enough = want.price is not None and qty * want.price >= self.terms.least_cost
        return is_enough and qty >= want.least

    def _missing(self, rung: Rung) -> Decimal:
        state, terms = self.book.rungs[rung.component], self.terms
        missing = rung.size - (state.held if terms.restore else state.entered)
        if rung.component == 0 and terms.filled_initial is not None:
            # An earlier run had bought so much of it: its rest comes first, then what was sold.
            rest = (terms.initial - terms.filled_initial) * self.ratio
            rest -= state.entered - state.base
            missing = min(missing, rest) if rest > 0 else missing
        return missing

    def _in_range(self, rung: Rung) -> bool:
        price = rung.entry_price * self.ratio
        lowest, highest = self.terms.lowest, self.terms.highest
        return (lowest is None or price >= lowest) and (highest is None or price <= highest)

    def _slice(self, component: int, rung: Rung | None, missing: Decimal) -> Iterator[Wanted]:
        from_fill = self.terms.profit_from == "fill"
        basis = self.book.basis(component, from_fill=from_fill)
        # A rung of other terms than today's is left in one piece.
        parts = rung.slices if rung is not None else (Slice(size=missing, nearer=ZERO),)
        prices = [profit_price(self.terms, basis, part, self.ratio) for part in parts]
        free = self._free(component, parts, prices)
        for number, price in enumerate(prices):
            is_last = number == len(prices) - 1
            qty = self.terms.orderable(missing if is_last else min(missing, free[number]))
            if qty > 0 and qty * price >= self.terms.least_cost:
                yield Wanted(component, qty, price)
            missing -= qty

    def _free(
        self, component: int, parts: Sequence[Slice], prices: Sequence[Decimal]
    ) -> list[Decimal]:
        """What of each slice is not offered yet. A working order belongs to the nearest slice."""
        free = [part.size for part in parts]
        for order in self.book.active("profit"):
            if order.name.component == component and order.limit_price is not None:
                limit = order.limit_price
                nearest = min(range(len(prices)), key=lambda n: abs(prices[n] - limit))
                free[nearest] = max(ZERO, free[nearest] - order.pending)
        return free
