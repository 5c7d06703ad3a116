"""What a pair's executions cost: assumed, then listed, in any order and with repeats."""

from __future__ import annotations

import itertools
from decimal import ROUND_CEILING, Decimal
from typing import Any, cast

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from main.scale_t.config import ScaleTConfig
from main.scale_t.fees import ListedFees, cents_of, coins_of
from main.scale_t.intents import Place
from main.scale_t.ladder import Ladder
from main.scale_t.modes import Mode
from main.scale_t.plan import lines_of
from main.scale_t.rungs import build_rungs, profit_price
from main.scale_t.session_check import Facts, compare
from main.scale_t.start_state import restore
from main.scale_t.starting import Ends, Start
from main.utils.redis.messages import rfc3339
from tests.unit.scale_t.fake_venue import FakeVenue
from tests.unit.scale_t.terms import terms

MAKER, TAKER = Decimal("0.0015"), Decimal("0.0025")
NOON_NS = 1_790_000_000_000_000_000
SECOND_NS = 1_000_000_000


def pair_terms(**others: Any) -> Any:
    given: dict[str, Any] = {
        "max_position": "0.3",
        "component": "0.1",
        "increment": "1000",
        "ticker": "BTC/USD",
        "price_step": Decimal("0.01"),
        "qty_step": Decimal("0.000000001"),
        "least_qty": Decimal("0.000000001"),
    }
    return terms(**given | others)


class PairAccount:
    """What Alpaca would say of an account that trades the pair: positions, cash, activities."""

    def __init__(self) -> None:
        self.venue = FakeVenue()
        self.coins = self.cash = Decimal(0)
        self.activities: list[dict[str, Any]] = []
        self._unlisted: list[dict[str, Any]] = []
        self._ids = itertools.count(1)

    def fill(self, name: str, qty: Decimal, rate: Decimal) -> None:
        order = self.venue.orders[name]
        executed, price = min(qty, order.open), order.place.limit_price or Decimal(60_000)
        if executed <= 0:
            return
        self.venue.fill(name, executed, price)
        number, buys = next(self._ids), order.place.side == "buy"
        moment = rfc3339(NOON_NS + number * SECOND_NS)
        self.activities.append(
            {
                "id": f"fill-{number}",
                "activity_type": "FILL",
                "transaction_time": moment,
                "order_id": order.order_id,
                "symbol": "BTC/USD",
                "side": order.place.side,
                "qty": str(executed),
                "price": str(price),
            }
        )
        fee = {"id": f"fee-{number}", "activity_type": "CFEE", "created_at": moment}
        if buys:
            coins = (executed * rate).quantize(Decimal("1e-9"), ROUND_CEILING)
            self.coins += executed - coins
            self.cash -= executed * price
            fee |= {"symbol": "BTCUSD", "qty": f"{-coins:f}", "net_amount": "0"}
        else:
            dollars = (executed * price * rate).quantize(Decimal("0.01"), ROUND_CEILING)
            self.coins -= executed
            self.cash += executed * price - dollars
            fee |= {"net_amount": f"{-dollars:f}"}
        self._unlisted.append(fee)

    def list_fees(self, count: int = 1_000) -> None:
        self.activities += self._unlisted[:count]
        del self._unlisted[:count]


class PairTrade:
    """A ladder and its account, with nothing lost between them."""

    def __init__(self, **others: Any) -> None:
        self.terms = pair_terms(**others)
        self.account = PairAccount()
        self.ladder = Ladder(self.terms)
        self.ladder.see_price(Decimal(60_000))
        self.now, self._read = 1_000.0, 0

    def run(self) -> None:
        for _ in range(10):
            for message in self.account.venue.messages[self._read :]:
                self.ladder.see_order(message, self.now)
            self._read = len(self.account.venue.messages)
            for intent in self.ladder.decide(self.now, 20):
                if isinstance(intent, Place):
                    self.account.venue.take(intent)
                    self.check()
                elif hasattr(intent, "order_id"):
                    self.account.venue.end(intent.client_order_id)
            self.now += 400

    def fill(self, name: str, qty: str = "1", rate: Decimal = MAKER) -> None:
        self.account.fill(f"bot:BTC/USD:{name}", Decimal(qty), rate)
        self.run()

    def learn(self) -> None:
        self.account.list_fees()
        self.ladder.book.see_fees(self.account.activities)
        self.run()

    def restart(self, *, knows_fees: bool = True) -> None:
        ladder = Ladder(self.terms)
        if knows_fees:
            ladder.book.see_fees(self.account.activities)
        orders = [each.to_data() for each in self.account.venue.orders.values()]
        restore(ladder, orders, Decimal(60_000))
        ladder.see_price(Decimal(60_000))
        self.ladder, self._read = ladder, len(self.account.venue.messages)
        self.run()

    def working(self, kind: str) -> dict[str, tuple[Decimal, Decimal | None]]:
        return {
            each.place.client_order_id.split(":", 2)[2]: (each.open, each.place.limit_price)
            for each in self.account.venue.open_orders(kind)
        }

    def check(self) -> None:
        """At every order that is sent: nothing that Alpaca would refuse, nothing beyond the end."""
        offered = sum((qty for qty, _ in self.working("profit").values()), Decimal(0))
        entering = sum((qty for qty, _ in self.working("entry").values()), Decimal(0))
        assert offered <= self.account.coins
        assert self.account.coins + entering <= self.terms.max_position
        assert self.ladder.position <= self.account.coins


def test_what_is_offered_is_what_was_received_at_the_dearest_rate() -> None:
    trade = PairTrade()
    trade.run()
    trade.fill("entry:0:1", rate=TAKER)
    assert trade.working("profit") == {"profit:0:1": (Decimal("0.099749991"), Decimal(61_000))}
    assert set(trade.working("entry")) == {"entry:1:1"}, "the rung is full, though it owns less"


def test_a_listed_fee_replaces_what_was_assumed_and_the_surplus_is_offered_too() -> None:
    trade = PairTrade(max_position="3", component="1")
    trade.run()
    trade.fill("entry:0:1")
    assert trade.ladder.position < trade.account.coins
    trade.learn()
    assert trade.ladder.position == trade.account.coins == Decimal("0.9985")
    offered = sum(qty for qty, _ in trade.working("profit").values())
    assert offered == Decimal("0.9985")


@pytest.mark.parametrize("coin_fee", ["0", "0.001"])
def test_a_fee_that_was_assumed_too_low_is_taken_from_the_list(coin_fee: str) -> None:
    """Also where none was assumed. Alpaca had let it sell all, of what else the account held."""
    trade = PairTrade(max_position="3", component="1", coin_fee=Decimal(coin_fee))
    trade.account.coins = Decimal("0.01")
    trade.run()
    trade.fill("entry:0:1", rate=TAKER)
    assert trade.ladder.book.fees_awaited(), "so it is asked for"
    for name in list(trade.working("profit")):
        trade.fill(name, rate=TAKER)
    trade.learn()
    assert trade.ladder.position == trade.account.coins - Decimal("0.01") < 0
    trade.restart()
    assert trade.ladder.position == trade.account.coins - Decimal("0.01")


def test_what_is_too_little_for_an_order_waits_for_the_rungs_next_round() -> None:
    trade = PairTrade()
    trade.run()
    trade.fill("entry:0:1")
    trade.learn()
    trade.fill("profit:0:1")
    dust = trade.account.coins
    assert trade.ladder.dust == dust == Decimal("0.000100009")
    assert trade.ladder.owns_nothing
    assert trade.working("profit") == {}
    trade.fill("entry:0:2")
    trade.learn()
    (offered,) = (qty for qty, _ in trade.working("profit").values())
    bought = Decimal("0.099899991") * (1 - TAKER)
    assert offered - bought > dust * Decimal("0.99"), "with what was left of the first round"


def test_profit_is_the_accounts_to_the_cent_and_the_unit() -> None:
    trade = PairTrade()
    trade.run()
    for round_ in (1, 2, 3):
        trade.fill(f"entry:0:{round_}", "0.04", TAKER)
        trade.fill(f"entry:0:{round_}", "0.06")
        trade.learn()
        for name in list(trade.working("profit")):
            trade.fill(name)
        trade.learn()
    assert trade.ladder.book.flow == trade.account.cash
    assert trade.ladder.position == trade.account.coins
    profit = trade.ladder.profit()
    assert profit.realised - profit.cost == trade.account.cash


def test_a_restart_knows_it_all_again_and_without_the_list_assumes_the_worst() -> None:
    """What was sold beyond the assumption makes no rung negative in a way that holds it."""
    trade = PairTrade(max_position="3", component="1")
    trade.run()
    trade.fill("entry:0:1")
    trade.learn()
    for name in list(trade.working("profit")):
        trade.fill(name)
    trade.restart()
    assert trade.ladder.position == trade.account.coins
    trade.restart(knows_fees=False)
    assert trade.ladder.mode is Mode.TRADING
    assert trade.ladder.position <= trade.account.coins


def test_flatten_sells_what_can_be_sold_and_is_done_with_dust() -> None:
    trade = PairTrade()
    trade.run()
    trade.fill("entry:0:1")
    trade.ladder.become(Mode.FLATTENING, "a test")
    trade.run()
    (name,) = trade.working("profit")
    trade.fill(name)
    assert trade.ladder.is_flat
    assert 0 < trade.account.coins < Decimal("0.0002")


def test_a_coarse_step_leaves_the_rest_unsold() -> None:
    trade = PairTrade(qty_step=Decimal("0.0001"), least_qty=Decimal("0.0001"))
    trade.run()
    trade.fill("entry:0:1", rate=TAKER)
    assert trade.working("profit")["profit:0:1"][0] == Decimal("0.0997")


class Assets:
    """Of a venue only what Alpaca says of an asset."""

    def asset(self, ticker: str) -> dict[str, Any]:
        """With a coarse step."""
        return {"min_order_size": "0.01", "min_trade_increment": "0.001", "price_increment": "0.5"}


def test_the_steps_of_a_pair_are_its_assets() -> None:
    config = ScaleTConfig.from_text(ticker="BTC/USD", max_position="0.5", component="0.01")
    found = Start(config, lambda: False).terms(cast(Any, Assets()))
    assert (found.price_step, found.qty_step) == (Decimal("0.5"), Decimal("0.001"))
    assert found.orderable(Decimal("0.0999")) == Decimal("0.099")


def test_a_component_that_alpaca_takes_no_order_for_is_refused() -> None:
    config = ScaleTConfig.from_text(ticker="BTC/USD", max_position="0.5", component="0.009")
    with pytest.raises(Ends, match=r"at least 0\.01, in steps of 0\.001") as refused:
        Start(config, lambda: False).terms(cast(Any, Assets()))
    assert refused.value.code == 2


def test_no_round_is_offered_for_less_than_its_fees() -> None:
    """An offset of ten dollars at 60,000 would cost 290."""
    tight = pair_terms(increment="10")
    (first, *_) = build_rungs(tight, Decimal(60_000))
    price = profit_price(tight, first.entry_price, first.slices[0])
    assert price == Decimal("60301.13")
    assert all(line.profit_cents > Decimal("-0.02") for line in lines_of(tight, Decimal(60_000)))


def test_a_fee_that_is_not_listed_holds_nothing_but_a_sale_by_hand_does() -> None:
    own = Decimal("0.1")
    for missing, problems in ((Decimal("0.00025"), 0), (Decimal("0.0003"), 1)):
        facts = Facts(session="2026-11-21", account_qty=own - missing)
        verdict = compare(pair_terms(coin_fee=Decimal(0)), own, None, None, facts)
        assert len(verdict.problems) == problems


def test_a_coin_does_not_split() -> None:
    facts = Facts(session="2026-11-21", account_qty=Decimal(2))
    assert compare(pair_terms(), Decimal("0.2"), None, None, facts).ratio is None


def test_fees_as_paper_accounts_of_2026_list_them_are_recognised() -> None:
    """Three executions of one order, one of them a maker's, and a sale of another pair's."""
    fees = ListedFees(TAKER)
    executions = [
        ("GRT/USD", "buy", "8578.621", "0.08", "-21.4465525", None),
        ("GRT/USD", "buy", "463.56819833", "0.08", "-0.695352298", None),
        ("GRT/USD", "buy", "8495.93", "0.08", "-12.743895", None),
        ("LTC/USD", "sell", "10", "88.043", None, "-2.21"),
    ]
    rows: list[dict[str, Any]] = []
    for number, (symbol, side, qty, price, coins, dollars) in enumerate(executions):
        moment = rfc3339(NOON_NS + number * SECOND_NS)
        rows.append(
            {
                "id": f"f{number}",
                "activity_type": "FILL",
                "transaction_time": moment,
                "order_id": symbol,
                "symbol": symbol,
                "side": side,
                "qty": qty,
                "price": price,
            }
        )
        fee = {"id": f"c{number}", "activity_type": "CFEE", "created_at": moment}
        if coins:
            fee |= {"symbol": symbol.replace("/", ""), "qty": coins, "net_amount": "0"}
        else:
            fee |= {"net_amount": str(dollars)}
        rows.append(fee)
    assert fees.take(reversed(rows)) == {"GRT/USD", "LTC/USD"}
    assert fees.take(rows) == set(), "repeats change nothing"
    assert fees.by_order["GRT/USD"].fee == Decimal("34.885799798")
    assert fees.by_order["LTC/USD"].fee == Decimal("2.21")


def test_a_fee_that_tells_its_day_alone_is_matched_and_one_of_nobody_waits() -> None:
    fees = ListedFees(TAKER)
    fill = {
        "id": "f",
        "activity_type": "FILL",
        "transaction_time": "2022-08-12T14:00:00Z",
        "order_id": "o",
        "symbol": "ETH/USD",
        "side": "buy",
        "qty": "0.078",
        "price": "1884.5",
    }
    fee = {
        "id": "20220812000000000::53be51ba",
        "activity_type": "CFEE",
        "date": "2022-08-12",
        "net_amount": "0",
        "symbol": "ETHUSD",
        "qty": "-0.000195",
        "price": "1884.5",
    }
    stranger = {**fee, "id": "other", "qty": "-0.5"}
    assert fees.take([fee, stranger]) == set()
    assert fees.take([fill]) == {"o"}
    assert fees.by_order["o"].qty == Decimal("0.078")


parts = st.lists(
    st.tuples(
        st.integers(1, 200_000_000).map(lambda units: Decimal(units) / 1_000_000_000),
        st.sampled_from([MAKER, TAKER, Decimal("0.0022"), Decimal("0.0012")]),
    ),
    min_size=1,
    max_size=12,
)


@settings(max_examples=25, deadline=None)
@given(parts, st.integers(0, 12), st.randoms(use_true_random=False))
def test_never_is_less_assumed_than_is_charged_and_all_listed_is_exact(
    executions: list[tuple[Decimal, Decimal]], listed: int, chance: Any
) -> None:
    """Whatever part of the fees is known, in whatever order it came."""
    trade = PairTrade(max_position="3", component="3")
    trade.run()
    for qty, rate in executions:
        trade.account.fill("bot:BTC/USD:entry:0:1", qty, rate)
    trade.account.list_fees(listed)
    shuffled = list(trade.account.activities)
    chance.shuffle(shuffled)
    trade.ladder.book.see_fees(shuffled)
    trade.run()
    assert trade.ladder.position <= trade.account.coins
    trade.account.list_fees()
    trade.ladder.book.see_fees(trade.account.activities)
    assert trade.ladder.position == trade.account.coins
    assert not trade.ladder.book.fees_awaited()


def test_the_smallest_fee_is_one_unit() -> None:
    assert coins_of(Decimal("0.000000001"), TAKER) == Decimal("0.000000001")
    assert cents_of(Decimal("0.01"), TAKER) == Decimal("0.01")


ACTIONS = st.one_of(
    st.tuples(
        st.just("fill"),
        st.integers(0, 20),
        st.sampled_from(["0.003", "0.04", "0.1", "1"]),
        st.sampled_from([MAKER, TAKER]),
    ),
    st.tuples(st.just("list"), st.integers(1, 4)),
    st.tuples(st.just("learn")),
    st.tuples(st.just("end"), st.integers(0, 20)),
    st.tuples(st.just("restart"), st.booleans()),
)


def play(trade: PairTrade, action: tuple[Any, ...]) -> None:
    """One thing that the world does; `trade` checks at each order what must always hold."""
    venue = trade.account.venue
    working = [*venue.open_orders("entry"), *venue.open_orders("profit")]
    match action:
        case ("fill", which, qty, rate) if working:
            name = working[which % len(working)].place.client_order_id
            trade.account.fill(name, Decimal(qty), rate)
        case ("list", count):
            trade.account.list_fees(count)
        case ("learn",):
            trade.ladder.book.see_fees(trade.account.activities)
        case ("end", which) if working:
            venue.end(working[which % len(working)].place.client_order_id)
        case ("restart", knows):
            trade.restart(knows_fees=knows)
    trade.run()


@settings(max_examples=25, deadline=None)
@given(st.lists(ACTIONS, max_size=25), st.sampled_from(["0.000000001", "0.0001"]))
def test_whatever_happens_nothing_is_oversold_and_in_the_end_all_adds_up(
    actions: list[tuple[Any, ...]], step: str
) -> None:
    trade = PairTrade(qty_step=Decimal(step), least_qty=Decimal(step))
    trade.run()
    for action in actions:
        play(trade, action)
        trade.check()
    trade.learn()
    ladder, account = trade.ladder, trade.account
    assert ladder.position == account.coins
    assert abs(ladder.book.flow - account.cash) < Decimal("0.000001"), "every cent"
    assert not ladder.book.fees_awaited()
    offered = ladder.book.offered()
    for component, rung in ladder.book.rungs.items():
        left = rung.held - offered[component]
        assert ladder.terms.is_dust(left, Decimal(60_000)), "offered, or too little for it"
    ladder.become(Mode.FLATTENING, "the end")
    for _ in range(5):
        trade.run()
        for name in list(trade.working("profit")):
            trade.fill(name)
    assert ladder.is_flat
    assert 0 <= account.coins == ladder.position == ladder.dust
