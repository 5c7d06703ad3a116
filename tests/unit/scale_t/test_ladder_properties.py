"""The ladder against a venue that loses answers, and messages that are lost, late, repeated."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from main.scale_t.intents import Cancel, Intent, LookUp, Place
from main.scale_t.ladder import Gate, Ladder
from main.scale_t.order_fates import ABSENT_AFTER_S
from main.scale_t.rungs import profit_price
from main.scale_t.start_state import restore as restored
from main.scale_t.terms import Side
from main.utils.answers import Refused
from main.utils.redis.messages import OrderMessage
from tests.unit.scale_t.fake_venue import FakeVenue
from tests.unit.scale_t.terms import terms

ANSWERS = st.sampled_from(["ok", "ok", "ok", "lost", "lost_on_the_way", "refused", "slow"])

NO_MONEY = Refused(status=403, message="insufficient buying power")
EXISTS_ALREADY = Refused(status=422, message="client_order_id must be unique")


class LadderAtAnUnreliableVenue(RuleBasedStateMachine):
    """Every rule is something that the world may do next."""

    def __init__(self) -> None:
        super().__init__()
        self.venue = FakeVenue()
        self.now = 1_000.0
        self.undelivered: list[OrderMessage] = []
        self.delivered: list[OrderMessage] = []
        self.read = 0
        self.in_flight: list[Place] = []  # the answer is lost; may arrive within a few seconds

    @initialize(
        maximum=st.integers(1, 35),
        component=st.integers(1, 10),
        initial=st.integers(1, 25),
        start=st.sampled_from([100, 101]),
        side=st.sampled_from(Side),
        working=st.integers(1, 3),
        restore=st.booleans(),
        existing=st.sampled_from([0, 0, 0, 7]),
    )
    def begin(  # noqa: PLR0917
        self,
        maximum: int,
        component: int,
        initial: int,
        start: int,
        side: Side,
        working: int,
        restore: bool,
        existing: int,
    ) -> None:
        self.maximum = Decimal(maximum)
        self.existing = Decimal(min(existing, maximum) if restore else 0)
        self.start = Decimal(start)
        self.ladder = Ladder(
            terms(
                maximum,
                component=min(component, maximum),
                initial=min(initial, maximum),
                side=side,
                profit_offset="1.30",
                working_entries=working,
                restore=restore,
                existing_position=self.existing,
            )
        )
        self.ladder.see_price(self.start)

    @rule()
    def be_killed_and_started_again(self) -> None:
        """All it knew is gone; Alpaca's list says it again. What was in flight may still arrive."""
        ladder = Ladder(self.ladder.terms)
        ladder.entry_gate = self.ladder.entry_gate
        restored(ladder, [each.to_data() for each in self.venue.orders.values()], self.start)
        self.ladder = ladder

    # -- the shell's side

    @rule(room=st.integers(0, 3), answers=st.lists(ANSWERS, min_size=3, max_size=3))
    def decide(self, room: int, answers: list[str]) -> None:
        intents = self.ladder.decide(self.now, room)
        assert len(intents) <= room
        for intent, answer in zip(intents, answers, strict=False):
            self.send(intent, answer)

    @rule(answers=st.lists(ANSWERS, min_size=9, max_size=9))
    def decide_three_times(self, answers: list[str]) -> None:
        """Again while answers are missing: what is not known counts."""
        for start in (0, 3, 6):
            self.decide(room=3, answers=answers[start : start + 3])
            self.the_maximum_is_never_exceeded()
            self.never_more_is_offered_than_is_owned()

    def send(self, intent: Intent, answer: str) -> None:
        match intent:
            case Place():
                self.send_place(intent, answer)
            case Cancel():
                self.send_cancel(intent, answer)
            case LookUp(client_order_id=name):
                self.send_look_up(name, answer)

    def send_place(self, place: Place, answer: str) -> None:
        name = place.client_order_id
        if answer in ("lost", "lost_on_the_way", "slow"):
            self.ladder.see_unresolved(name, self.now)
            if answer == "lost":
                self.venue.take(place)
            elif answer == "slow":
                self.in_flight.append(place)
        elif answer == "refused":
            self.ladder.see_refused(name, NO_MONEY, self.now)
        elif (order_data := self.venue.take(place)) is not None:
            self.ladder.see_order_data(order_data, self.now)
        else:
            self.ladder.see_refused(name, EXISTS_ALREADY, self.now)

    def send_cancel(self, cancel: Cancel, answer: str) -> None:
        if answer == "lost_on_the_way":
            return
        ended = self.venue.end(cancel.client_order_id)
        if answer != "ok" or not ended:
            self.ladder.look_up(cancel.client_order_id)

    def send_look_up(self, name: str, answer: str) -> None:
        if answer != "ok":
            return
        if (order_data := self.venue.find(name)) is not None:
            self.ladder.see_order_data(order_data, self.now)
        else:
            self.ladder.see_absent(name, self.now)

    # -- the world's side

    @rule(which=st.randoms(use_true_random=False))
    def deliver_any(self, which) -> None:  # type: ignore[no-untyped-def]
        self.collect()
        if self.undelivered:
            message = self.undelivered.pop(which.randrange(len(self.undelivered)))
            self.delivered.append(message)
            self.ladder.see_order(message, self.now)

    @rule(which=st.randoms(use_true_random=False))
    def repeat_any(self, which) -> None:  # type: ignore[no-untyped-def]
        if self.delivered:
            self.ladder.see_order(which.choice(self.delivered), self.now)

    @rule(which=st.randoms(use_true_random=False))
    def lose_any(self, which) -> None:  # type: ignore[no-untyped-def]
        self.collect()
        if self.undelivered:
            self.undelivered.pop(which.randrange(len(self.undelivered)))

    @rule(seconds=st.sampled_from([0.1, 1.0, 10.0, 100.0]))
    def wait(self, seconds: float) -> None:
        self.arrive()  # a slow request is there long before it is given up
        self.now += seconds

    @rule(
        qty=st.integers(1, 12),
        which=st.randoms(use_true_random=False),
        better=st.sampled_from(["0", "0", "0.03"]),
    )
    def fill_any(self, qty: int, which, better: str) -> None:  # type: ignore[no-untyped-def]
        working = [*self.venue.open_orders("entry"), *self.venue.open_orders("profit")]
        if working:
            place = which.choice(working).place
            improvement = Decimal(better) * (-1 if place.side == "buy" else 1)
            self.venue.fill(place.client_order_id, Decimal(qty), place.limit_price + improvement)

    @rule(
        which=st.randoms(use_true_random=False),
        status=st.sampled_from(["canceled", "expired", "rejected"]),
    )
    def end_any(self, which, status: str) -> None:  # type: ignore[no-untyped-def]
        working = [*self.venue.open_orders("entry"), *self.venue.open_orders("profit")]
        if working:
            self.venue.end(which.choice(working).place.client_order_id, status)

    @rule(allowed=st.booleans())
    def change_readiness(self, allowed: bool) -> None:
        self.ladder.entry_gate = Gate.OPEN if allowed else Gate.NO_NEW

    @rule()
    def list_open_orders(self) -> None:
        expected = self.ladder.working_ids()
        orders = [*self.venue.open_orders("entry"), *self.venue.open_orders("profit")]
        self.ladder.see_open_orders([each.to_data() for each in orders], expected, self.now)

    @precondition(lambda self: hasattr(self, "ladder"))
    @rule()
    def come_to_rest(self) -> None:
        """All is delivered and answered and nothing moves: now what works is what is wanted."""
        self.ladder.entry_gate = Gate.OPEN
        for _ in range(40):
            self.arrive()
            self.collect()
            while self.undelivered:
                self.delivered.append(self.undelivered.pop())
                self.ladder.see_order(self.delivered[-1], self.now)
            self.list_open_orders()  # finds what lost messages would have told
            for intent in self.ladder.decide(self.now, 100):
                self.send(intent, "ok")
            self.now += 100 if not self.ladder.book.doubtful() else ABSENT_AFTER_S / 3
        self.check_rest()

    def check_rest(self) -> None:
        """Known is what is true, and what works is what the ladder wants."""
        book, sign = self.ladder.book, self.ladder.terms.side.sign
        assert self.ladder.position == self.venue.position + self.existing
        base = sum((rung.base * rung.base_price for rung in book.rungs.values()), Decimal(0))
        # Where messages were lost, only the average that Alpaca tells is known: it is rounded.
        wrong_by = book.flow + base - sign * self.venue.cash
        assert abs(wrong_by) < Decimal("0.000001"), "every cent of the account"
        profit = self.ladder.profit()
        assert profit.realised == sign * (book.flow + profit.cost)
        self.check_entries()
        self.check_exits()

    def check_entries(self) -> None:
        wanted = {want.price: want.qty for want in self.ladder.wanted_entries()}
        working = self.venue.open_orders("entry")
        for order in working:
            assert order.place.limit_price in wanted
            wanted[order.place.limit_price] -= order.open
        assert all(left >= 0 for left in wanted.values())
        if any(wanted.values()):  # only when there is no room: a rung took more than its size
            total = self.ladder.position + sum(order.open for order in working)
            assert total == self.maximum

    def check_exits(self) -> None:
        rungs = {rung.component: rung for rung in self.ladder.rungs}
        for component, state in self.ladder.book.rungs.items():
            offered = [
                each
                for each in self.venue.open_orders("profit")
                if each.place.client_order_id.split(":")[3] == str(component)
            ]
            assert sum(each.open for each in offered) == state.held
            rung, terms_ = rungs[component], self.ladder.terms
            prices = {profit_price(terms_, rung.entry_price, part) for part in rung.slices}
            assert {each.place.limit_price for each in offered} <= prices

    def collect(self) -> None:
        self.undelivered += self.venue.messages[self.read :]
        self.read = len(self.venue.messages)

    def arrive(self) -> None:
        while self.in_flight:
            self.venue.take(self.in_flight.pop())

    def coming(self, kind: str) -> Decimal:
        """What may still arrive; the venue takes each id only once."""
        new = {
            each.client_order_id: each.qty
            for each in self.in_flight
            if each.kind == kind and each.client_order_id not in self.venue.orders
        }
        return sum(new.values(), Decimal(0))

    # -- what holds at every moment, at the venue itself

    @invariant()
    def the_maximum_is_never_exceeded(self) -> None:
        if not hasattr(self, "ladder"):
            return
        working = sum((each.open for each in self.venue.open_orders("entry")), Decimal(0))
        coming = self.coming("entry")
        assert self.existing + self.venue.position + working + coming <= self.maximum

    @invariant()
    def never_more_is_offered_than_is_owned(self) -> None:
        offered = sum((each.open for each in self.venue.open_orders("profit")), Decimal(0))
        coming = self.coming("profit")
        assert offered + coming <= self.venue.position + getattr(self, "existing", 0)

    @invariant()
    def the_ladder_never_counts_less_than_may_happen(self) -> None:
        if hasattr(self, "ladder"):
            book = self.ladder.book
            assert book.position + book.pending_entries <= self.maximum


LadderAtAnUnreliableVenue.TestCase.settings = settings(
    max_examples=30,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestLadderAtAnUnreliableVenue = LadderAtAnUnreliableVenue.TestCase
