"""Pure: scale trading on one ticker. In come prices, order events and time; out come intents.

The rungs are fixed prices from the starting price on: each next one is an increment lower (higher,
for a short ladder). `working_entries` of them (one) have an entry at a time, the first that are not
full. What an entry takes is offered at a profit as portions execute. When a profit fills and
`restore` is set, the quantity returns to its own rung, and the entry below is cancelled for it.

Nothing here remembers what to do next: `decide` compares what works with what is wanted, and asks
for the difference. So it does not matter in which order, or how often, events arrive. The rule
that is kept at every moment: own position, plus working entries, plus entries whose fate is not
known, never exceeds the maximum position; and never more is offered than is owned.

All times are seconds of one monotonic clock that the caller chooses.
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from enum import Enum, auto

from .book import ZERO, Book, OwnOrder
from .intents import Cancel, Intent, LookUp, Place, Stage
from .modes import Mode
from .order_fates import OrderFates
from .order_ids import OrderKind
from .profit import Profit, profit_of, total_profit
from .rungs import PriceGrid, Rung, build_rungs
from .terms import LadderTerms, Side
from .wanted import Scene, Wanted


class Gate(Enum):
    """What the shell says of entries: whether their fills would be heard of, and the hours."""

    OPEN = auto()
    NO_NEW = auto()
    TAKE_BACK = auto()  # working ones are cancelled, too


class Ladder(OrderFates):
    """The state of one ladder. Not thread-safe: one thread feeds it and asks it."""

    def __init__(self, terms: LadderTerms) -> None:
        super().__init__(Book(terms.client_id, terms.ticker, terms.fee_rate))
        self.terms = terms
        self.rungs: tuple[Rung, ...] = ()
        self.start_price: Decimal | None = None
        self.last_price: Decimal | None = None
        self.ratio = Decimal(1)  # of the splits since the starting price
        self.entry_gate = Gate.OPEN
        self.market_open = True  # while it is not, nothing is sent but cancels
        self.session_entered = ZERO  # what had been entered when this session began
        self.adopted: dict[int, Decimal] = {}  # own quantity that somebody else undid, by rung
        self.loss_reached = False
        self._keep_entries = False

    # -- in

    def see_price(self, price: Decimal) -> None:
        """A trade that may set the last price. The first one becomes the starting price."""
        if not (price.is_finite() and price > 0):
            return
        self.last_price = price
        if not self.rungs:
            self.start_at(price)
        self.judge_loss()

    def judge_loss(self) -> None:
        """End at the maximum loss, by the last price. While it is in doubt what is owned, or no
        session has begun, that says nothing: after a split overnight each price is a loss."""
        most, price = self.terms.max_loss, self.last_price
        judges = self.market_open and self.mode in (Mode.TRADING, Mode.PAUSED)
        if most is None or price is None or not judges:
            return
        profit = total_profit(self.book, self.terms.side, price)
        if profit <= -most:
            reason = f"the loss of {-profit:.2f} reached the maximum, {most}"
            self.loss_reached = True
            if self.terms.flatten_on_loss:
                self.become(Mode.FLATTENING, reason)
            else:
                self.stop(cancel_entries=True, reason=reason)

    def start_at(self, start_price: Decimal) -> None:
        """Fix the rungs. They never move again, but for `re_anchor`."""
        grid = PriceGrid(fixed=self.terms.price_step)
        is_long = self.terms.side is Side.LONG
        self.start_price = grid.floor(start_price) if is_long else grid.ceil(start_price)
        self.rungs = build_rungs(self.terms, self.start_price, self.ratio)
        self.place_existing()

    def rescale(self, ratio: Decimal) -> None:
        """A split of `ratio` new for one old: quantities times, prices divided by it."""
        self.ratio *= ratio
        self.last_price = None  # of the old shares or of the new ones: nobody knows
        for order in self.book:
            self.book.ratios[order.client_order_id] = order.ratio = order.ratio * ratio
            order.qty *= ratio
            order.limit_price = None if order.limit_price is None else order.limit_price / ratio
            self.book.settle(order)
        self.adopted = {component: qty * ratio for component, qty in self.adopted.items()}
        if self.start_price is not None:
            self.rungs = build_rungs(self.terms, self.start_price, self.ratio)
            self.place_existing()

    def stop(self, cancel_entries: bool, reason: str = "stopped") -> None:
        """From here on nothing is placed. Profit orders keep working."""
        if self.mode is not Mode.FLATTENING:
            self._keep_entries = not cancel_entries
            self.become(Mode.STOPPING, reason)

    # -- what is known

    @property
    def position(self) -> Decimal:
        return self.book.position

    @property
    def is_flat(self) -> bool:
        """Nothing is owned, and nothing works or may work."""
        return not self.book.active() and self.owns_nothing

    @property
    def owns_nothing(self) -> bool:
        """Nothing that an order could sell."""
        return all(
            self.terms.is_dust(rung.held, self.last_price or rung.entered_at)
            for rung in self.book.rungs.values()
        )

    @property
    def dust(self) -> Decimal:
        """What is owned on the rungs of a pair and too little for an order: it is carried."""
        small = (
            rung.held
            for rung in self.book.rungs.values()
            if rung.held > 0 and self.terms.is_dust(rung.held, self.last_price or rung.entered_at)
        )
        return sum(small, ZERO)

    def profit(self) -> Profit:
        return profit_of(self.book, self.terms.side, self.last_price)

    # -- out

    def decide(self, now: float, room: int, entry_room: int | None = None) -> list[Intent]:
        """What to do now, most urgent first, at most `room` requests, and no entry beyond the
        `entry_room` first ones: a budget that is spent holds back entries, never an exit. What is
        returned counts as asked for; what found no room is wanted again the next time."""
        self._re_anchor()
        intents: list[Intent] = []
        for wanted in (self._cancels, self._exits, self._look_ups, self._entries):
            if wanted == self._entries and entry_room is not None:
                room = min(room, entry_room)
            for intent in wanted(now):
                if len(intents) >= room:
                    return intents
                self._ask(intent, now)
                intents.append(intent)
        return intents

    def wanted_entries(self) -> list[Wanted]:
        """Where the ladder wants to enter now, and how much."""
        if self._takes_entries_back() or self._anchor_is_lost():
            return []
        return self._scene.entries()

    def range_obstacle(self) -> str | None:
        """Why the last price allows no entry, or None."""
        return self._scene.range_obstacle(self.last_price)

    @property
    def lacks_price(self) -> bool:
        """Its limits are judged by the last price, and there is none: after a start, or a split."""
        limits = (self.terms.lowest, self.terms.highest, self.terms.max_loss)
        return self.last_price is None and any(limit is not None for limit in limits)

    # -- private: what is wanted

    @property
    def _scene(self) -> Scene:
        return Scene(terms=self.terms, book=self.book, rungs=self.rungs, ratio=self.ratio)

    def _takes_entries_back(self) -> bool:
        shut = not self.mode.enters or self.entry_gate is Gate.TAKE_BACK
        return shut or self.range_obstacle() is not None

    def _cancels(self, now: float) -> Iterator[Cancel]:
        for order in (*self._unwanted_entries(), *self._unwanted_exits()):
            if order.stage is Stage.SEEN and order.order_id and order.next_cancel.over(now):
                yield Cancel(client_order_id=order.client_order_id, order_id=order.order_id)

    def _unwanted_entries(self) -> list[OwnOrder]:
        if self.mode is Mode.STOPPING and self._keep_entries:
            return []
        scene = self._scene
        return scene.unwanted_entries(self.wanted_entries(), scene.entry_room(self.session_entered))

    def _unwanted_exits(self) -> list[OwnOrder]:
        if self.mode is Mode.FLATTENING:
            return [order for order in self.book.active("profit") if order.limit_price is not None]
        return self._scene.unwanted_exits()

    def _exits(self, now: float) -> Iterator[Place]:
        if self.mode is Mode.FLATTENING:
            wanted = self._closes()
        elif self.mode.exits and self.market_open and self.terms.profit_offset is not None:
            wanted = self._scene.exits()
        else:
            return
        for want in wanted:
            if self.holds.open(("profit", want.component), now):
                yield self._place("profit", want)

    def _closes(self) -> Iterator[Wanted]:
        """At the market, once nothing else works or may work."""
        if any(order.limit_price is not None for order in self.book.active()):
            return
        offered = self.book.offered()
        for component, rung in list(self.book.rungs.items()):
            missing = self.terms.orderable(rung.held - offered[component])
            if missing > 0 and not self.terms.is_dust(missing, self.last_price or rung.entered_at):
                yield Wanted(component, missing, None)

    def _look_ups(self, now: float) -> Iterator[LookUp]:
        for order in self.book.doubtful():
            if order.next_look_up.over(now):
                yield LookUp(client_order_id=order.client_order_id)

    def _entries(self, now: float) -> Iterator[Place]:
        if self.entry_gate is not Gate.OPEN or not self.market_open or self.lacks_price:
            return
        room = self._scene.entry_room(self.session_entered)
        for want in self._scene.missing_entries(self.wanted_entries(), room):
            if self.holds.open(("entry", want.component), now):
                yield self._place("entry", want)

    def _place(self, kind: OrderKind, want: Wanted) -> Place:
        enters, is_long = kind == "entry", self.terms.side is Side.LONG
        return Place(
            client_order_id=self.book.next_name(kind, want.component).text(self.book.prefix),
            kind=kind,
            ticker=self.terms.ticker,
            side="buy" if enters == is_long else "sell",
            qty=want.qty,
            limit_price=want.price,
            time_in_force=self.terms.time_in_force,
        )

    # -- private: what follows

    def place_existing(self) -> None:
        """What was owned at the start fills the rungs from the front; what was adopted away is
        missing on its own."""
        left = self.terms.existing_position * self.ratio
        prices = {rung.component: rung.entry_price for rung in self.rungs}
        sizes = {rung.component: rung.size for rung in self.rungs}
        for component in dict.fromkeys((*sizes, *self.adopted)):
            part = min(left, sizes.get(component, ZERO))
            left -= part
            price = prices.get(component) or self.book.basis(component, from_fill=True)
            self.book.set_base(component, part + self.adopted.get(component, ZERO), price)

    def adopt(self, account_qty: Decimal) -> dict[int, Decimal]:
        """The account holds less than this ladder owns: take that for the truth. What is missing
        is taken off the rungs nearest to the market. Returns `adopted`, to be kept."""
        excess = self.position - account_qty
        for component in sorted(self.book.rungs, reverse=True):
            part = min(excess, max(ZERO, self.book.held(component)))
            if part > 0:
                self.adopted[component] = self.adopted.get(component, ZERO) - part
                excess -= part
        self.place_existing()
        return self.adopted

    def _anchor_is_lost(self) -> bool:
        """The price ran away from a ladder that owns nothing."""
        times, price = self.terms.re_anchor, self.last_price
        if times is None or price is None or not self.rungs or not self.owns_nothing:
            return False
        first = self.rungs[0].entry_price
        increment = self.terms.increment
        step = increment.of(first) / (1 if increment.percent else self.ratio)
        return self.terms.side.sign * (price - first) > times * step

    def _re_anchor(self) -> None:
        """Only when nothing works any more: a late fill would belong to the old prices."""
        if self._anchor_is_lost() and not self.book.active() and self.mode is Mode.TRADING:
            assert self.last_price is not None
            self.start_at(self.last_price * self.ratio)
