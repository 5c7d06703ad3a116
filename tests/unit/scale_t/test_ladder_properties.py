"""The ladder against a venue that loses answers, and messages that are lost, late, repeated."""

from __future__ import annotations

from decimal import Decimal

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from main.scale_t.intents import Cancel, Intent, LookUp, Place
from main.scale_t.ladder import ABSENT_AFTER_S, HOLD_CAP_S, Ladder, LadderTerms
from main.utils.redis.messages import OrderMessage
from tests.unit.scale_t.fake_venue import FakeVenue

ANSWERS = st.sampled_from(["ok", "ok", "ok", "lost", "lost_on_the_way", "refused", "slow"])


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
        maximum=st.integers(1, 35), component=st.integers(1, 10), start=st.sampled_from([100, 101])
    )
    def begin(self, maximum: int, component: int, start: int) -> None:
        self.maximum = Decimal(maximum)
        self.ladder = Ladder(
            LadderTerms(
                client_id="bot",
                ticker="AAPL",
                max_position=self.maximum,
                component=Decimal(min(component, maximum)),
                increment=Decimal("0.05"),
            )
        )
        self.ladder.see_price(Decimal(start))

    # -- the shell's side

    @rule(room=st.integers(0, 3), answers=st.lists(ANSWERS, min_size=3, max_size=3))
    def decide(self, room: int, answers: list[str]) -> None:
        intents = self.ladder.decide(self.now, room)
        assert len(intents) <= room
        for intent, answer in zip(intents, answers, strict=False):
            self.send(intent, answer)

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
            self.ladder.see_refused(name, "403", self.now)
        elif (order_data := self.venue.take(place)) is not None:
            self.ladder.see_order_data(order_data, self.now)
        else:
            self.ladder.see_unresolved(name, self.now, refusal="422 must be unique")

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

    @rule(qty=st.integers(1, 12), which=st.randoms(use_true_random=False))
    def fill_any(self, qty: int, which) -> None:  # type: ignore[no-untyped-def]
        working = [*self.venue.open_orders("entry"), *self.venue.open_orders("profit")]
        if working:
            self.venue.fill(which.choice(working).place.client_order_id, Decimal(qty))

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
        self.ladder.entries_allowed = allowed

    @rule()
    def list_open_orders(self) -> None:
        expected = self.ladder.working_ids()
        orders = [*self.venue.open_orders("entry"), *self.venue.open_orders("profit")]
        self.ladder.see_open_orders([each.to_data() for each in orders], expected, self.now)

    @precondition(lambda self: hasattr(self, "ladder"))
    @rule()
    def come_to_rest(self) -> None:
        """All is delivered and answered and nothing moves: now what works is what is wanted."""
        self.ladder.entries_allowed = True
        for _ in range(40):
            self.arrive()
            self.collect()
            while self.undelivered:
                self.delivered.append(self.undelivered.pop())
                self.ladder.see_order(self.delivered[-1], self.now)
            self.list_open_orders()  # finds what lost messages would have told
            for intent in self.ladder.decide(self.now, 100):
                self.send(intent, "ok")
            self.now += HOLD_CAP_S / 3 if not self.ladder.book.doubtful() else ABSENT_AFTER_S / 3
        self.check_rest()

    def check_rest(self) -> None:
        assert self.ladder.position == self.venue.position
        entries = [(each.place.limit_price, each.open) for each in self.venue.open_orders("entry")]
        wanted = self.ladder.next_rung
        if wanted is None:
            assert entries == []
            assert self.venue.position == self.maximum
        else:
            rung, missing = wanted
            assert len(entries) == 1
            assert entries[0][0] == rung.entry_price
            assert 0 < entries[0][1] <= missing
        for rung in self.ladder.rungs:
            offered = [
                each
                for each in self.venue.open_orders("profit")
                if each.place.client_order_id.split(":")[3] == str(rung.component)
            ]
            assert sum(each.open for each in offered) == self.ladder.book.held[rung.component]
            assert all(each.place.limit_price == rung.profit_price for each in offered)

    def collect(self) -> None:
        self.undelivered += self.venue.messages[self.read :]
        self.read = len(self.venue.messages)

    def arrive(self) -> None:
        while self.in_flight:
            self.venue.take(self.in_flight.pop())

    # -- what holds at every moment, at the venue itself

    @invariant()
    def the_maximum_is_never_exceeded(self) -> None:
        if not hasattr(self, "ladder"):
            return
        working = sum((each.open for each in self.venue.open_orders("entry")), Decimal(0))
        coming = sum((each.qty for each in self.in_flight if each.kind == "entry"), Decimal(0))
        assert self.venue.position + working + coming <= self.maximum

    @invariant()
    def never_more_is_offered_than_is_owned(self) -> None:
        offered = sum((each.open for each in self.venue.open_orders("profit")), Decimal(0))
        coming = sum((each.qty for each in self.in_flight if each.kind == "profit"), Decimal(0))
        assert offered + coming <= self.venue.position

    @invariant()
    def the_ladder_never_counts_less_than_may_happen(self) -> None:
        if hasattr(self, "ladder"):
            book = self.ladder.book
            assert book.position + book.pending_entries <= self.maximum


LadderAtAnUnreliableVenue.TestCase.settings = settings(
    max_examples=80,
    stateful_step_count=50,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
TestLadderAtAnUnreliableVenue = LadderAtAnUnreliableVenue.TestCase
