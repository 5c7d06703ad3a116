"""Properties of the venue's books that hold whatever happens, in whatever order."""

from __future__ import annotations

from collections import defaultdict
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Context, Decimal
from typing import Any

from hypothesis import HealthCheck, Phase, given, settings

from main.alpaca_sim.activities import ActivityFilter
from main.alpaca_sim.margin import held_of, held_qty, reserve_of
from main.alpaca_sim.order_states import CLOSED, OPEN, is_legal, next_status
from tests.unit.alpaca_sim.venue_actions import Action, Player, all_actions, trading_actions

# Shrinking replays whole histories and takes minutes: add Phase.shrink to hunt a failure down.
small = settings(
    phases=[Phase.explicit, Phase.generate],
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
EXACT = Context(prec=60)
NINE = Decimal("0.000000001")
RATES = (Decimal("0.0015"), Decimal("0.0025"))


class Oracle:
    """What the stream's events and the fees' activities imply, without the venue's code."""

    def __init__(self, player: Player) -> None:
        self.cash = Decimal(100_000)
        self.qty: dict[str, Decimal] = defaultdict(Decimal)
        listed = player.driver.venue.activities.select(
            ActivityFilter(types=frozenset({"CFEE"}), ascending=True, page_size=100_000)
        )
        self.fees: list[Any] = list(listed)
        splits = list(player.splits)
        for place, event in enumerate(player.driver.events):
            while splits and splits[0][0] <= place:
                self._split(*splits.pop(0)[1:])
            if event["event"] in {"fill", "partial_fill"}:
                self._execute(event)
        for _, symbol, ratio in splits:
            self._split(symbol, ratio)

    def _execute(self, event: dict[str, Any]) -> None:
        sign = 1 if event["order"]["side"] == "buy" else -1
        qty, price = sign * Decimal(event["qty"]), Decimal(event["price"])
        self.cash = EXACT.subtract(self.cash, EXACT.multiply(qty, price))
        symbol = event["order"]["symbol"]
        self.qty[symbol] += qty
        if "/" in symbol:
            self._charge(self.fees.pop(0), symbol, qty, price)
        assert Decimal(event["position_qty"]) == self.qty[symbol]

    def _charge(self, fee: dict[str, Any], symbol: str, qty: Decimal, price: Decimal) -> None:
        """Each execution of a pair has one fee: of a buy in coins, of a sale in cents."""
        if qty > 0:
            amount, base, unit = -Decimal(fee["qty"]), qty, NINE
            assert (fee["net_amount"], fee["symbol"]) == ("0", symbol.replace("/", ""))
            self.qty[symbol] -= amount
        else:
            amount, base, unit = -Decimal(fee["net_amount"]), -qty * price, Decimal("0.01")
            assert "symbol" not in fee
            self.cash = EXACT.subtract(self.cash, amount)
        possible = [(base * rate).quantize(unit, ROUND_CEILING, EXACT) for rate in RATES]
        assert amount in possible

    def _split(self, symbol: str, ratio: Decimal) -> None:
        self.qty[symbol] = (self.qty[symbol] * ratio).quantize(NINE, ROUND_HALF_EVEN)


def check_books(player: Player) -> None:
    """Cash, positions, activities and reserves are what the executions and open orders imply."""
    venue = player.driver.venue
    oracle = Oracle(player)
    assert venue.ledger.cash == oracle.cash
    assert not oracle.fees
    for symbol, qty in oracle.qty.items():
        assert venue.ledger.qty(symbol) == qty
    assert {p.asset.symbol for p in venue.ledger.positions()} == {
        symbol for symbol, qty in oracle.qty.items() if qty
    }
    margin = venue.margin()
    values = sum((venue.ledger.market_value(p) for p in venue.ledger.positions()), Decimal(0))
    assert abs(margin.equity - (venue.ledger.cash + values)) < Decimal("1e-15")
    orders = list(venue.store)
    assert venue.desk.reserved == sum((order.reserved for order in orders), Decimal(0))
    for order in orders:
        assert (order.reserved, order.held_qty) == (reserve_of(order), held_of(order)), order
        assert order.status in OPEN | CLOSED
    open_ids = {order.id for order in venue.store.open_orders()}
    assert open_ids == {order.id for order in orders if order.is_open}


def check_events(player: Player) -> None:
    """Every event follows legally, and quantities of an order only grow."""
    status: dict[str, str] = defaultdict(str)
    filled: dict[str, Decimal] = defaultdict(Decimal)
    for event in player.driver.events:
        order, name = event["order"], event["event"]
        before = status[order["id"]]
        assert is_legal(before, name), (before, name)
        after = next_status(order["id"], before, name, has_executions=order["filled_qty"] != "0")
        assert order["status"] == after
        status[order["id"]] = after
        done = Decimal(order["filled_qty"])
        assert done >= filled[order["id"]]
        if name in {"fill", "partial_fill"}:
            assert done == filled[order["id"]] + Decimal(event["qty"])
            if order["limit_price"] is not None:
                gain = Decimal(order["limit_price"]) - Decimal(event["price"])
                assert (gain if order["side"] == "buy" else -gain) >= 0
        filled[order["id"]] = done
        if order["qty"] is not None:
            assert done <= Decimal(order["qty"])
            assert (done == Decimal(order["qty"])) == (after in {"filled", "calculated"}) or (
                after == "calculated"
            )
    for order_id, last in status.items():
        assert player.driver.venue.store.find(order_id).status == last  # type: ignore[union-attr]


def check_activities(player: Player) -> None:
    """The FILL activities are the executions that the stream told of."""
    told = [
        (e["execution_id"], e["order"]["id"], e["qty"], e["price"], e["event"])
        for e in player.driver.events
        if e["event"] in {"fill", "partial_fill"}
    ]
    listed: list[dict[str, Any]] = []
    query = {"direction": "asc", "page_size": "7"}
    while page := player.driver.get("/v2/account/activities/FILL", **query):
        listed += page
        query["page_token"] = page[-1]["id"]
    assert [
        (a["id"].split("::")[1], a["order_id"], a["qty"], a["price"], a["type"]) for a in listed
    ] == told


@small
@given(trading_actions)
def test_the_books_are_what_the_executions_imply(actions: list[Action]) -> None:
    player = Player()
    for action in actions:
        player.play(action)
        check_books(player)
    player.driver.settle()
    check_books(player)
    check_events(player)
    check_activities(player)


@small
@given(trading_actions)
def test_orders_never_hold_more_than_there_is_nor_turn_a_position_round(
    actions: list[Action],
) -> None:
    player = Player()
    venue = player.driver.venue
    before: dict[str, Decimal] = defaultdict(Decimal)
    for action in actions:
        player.play(action)
        for symbol in ("AAPL", "MSFT", "BTC/USD"):
            qty = venue.ledger.qty(symbol)
            orders = venue.store.open_orders(symbol)
            notional = any(order.notional is not None for order in orders)
            assert notional or held_qty(orders) <= abs(qty)
            assert qty * before[symbol] >= 0
            before[symbol] = qty


@small
@given(all_actions)
def test_the_books_hold_under_every_fault_that_a_test_can_cause(actions: list[Action]) -> None:
    player = Player()
    for action in actions:
        player.play(action)
        check_books(player)
    player.driver.settle()
    check_books(player)
    check_events(player)
    check_activities(player)


@small
@given(all_actions)
def test_the_same_calls_give_the_same_events_and_replies(actions: list[Action]) -> None:
    first, second = Player(), Player()
    for action in actions:
        first.play(action)
        second.play(action)
    assert first.driver.events == second.driver.events
    assert first.driver.get("/v2/account") == second.driver.get("/v2/account")
    query = {"status": "all", "nested": "true", "limit": "500"}
    assert first.driver.get("/v2/orders", **query) == second.driver.get("/v2/orders", **query)


@small
@given(trading_actions)
def test_a_long_only_cash_account_never_overdraws(actions: list[Action]) -> None:
    player = Player(multiplier=1)
    for action in actions:
        fields = action[1].get("fields", {})
        if fields.get("type") in {"market", "stop", "trailing_stop"}:
            continue  # these may cost more than the quote at which they were admitted
        player.play(action)
        assert player.driver.venue.ledger.cash >= 0
