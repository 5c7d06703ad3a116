"""The trade executor over alpaca-py against the local Alpaca, and what it tells the bus."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import pytest
from alpaca.trading.client import TradingClient
from alpaca.trading.models import Order as AlpacaOrder
from alpaca.trading.requests import ReplaceOrderRequest

from main.alpaca_sim import LocalAlpaca
from main.embedded_valkey import EmbeddedValkey
from main.trade_events import RedisEventBus, TradeEvent
from main.trader import InvalidTerms, TradeExecutor
from main.trader.executor_builder import ExecutorBuilder
from main.utils.answers import Accepted, Refused
from main.utils.redis.config import RedisConfig
from tests.conftest import wait_for
from tests.integration.trader.road import Road
from tests.unit.order_events.test_maker import fill

pytestmark = pytest.mark.integration

CONFIG = {
    "client_id": "bot",
    "requests_per_minute": 200,
    "timeout_s": 0.5,
    "patience_s": 2.0,
    "absent_after_s": 0.6,
    "give_up_after_s": 1.5,
    "poll_s": 0.1,
}


class RecordingBus:
    """A bus that keeps what it is given, or fails as the test says."""

    def __init__(self) -> None:
        self.events: list[TradeEvent] = []
        self.failure: Exception | None = None
        self.open = threading.Event()
        self.open.set()
        self.positions: list[dict[str, Any]] = []

    def publish(self, event: TradeEvent) -> None:
        self.open.wait(20)
        if self.failure is not None:
            raise self.failure
        self.events.append(event)

    def get_active_positions(self, symbol: str) -> list[dict[str, Any]]:
        return self.positions

    def kinds(self) -> list[str]:
        return [event.event_type.value for event in self.events]


@pytest.fixture
def bus() -> RecordingBus:
    return RecordingBus()


Build = Callable[..., TradeExecutor]


@pytest.fixture
def build(client: TradingClient) -> Iterator[Build]:
    """`build(event_bus=…)`; what still runs at the end is closed."""
    built: list[TradeExecutor] = []

    def build(**given: Any) -> TradeExecutor:
        config = CONFIG | given.pop("config", {})
        built.append(ExecutorBuilder.build_from_config(config=config, client=client, **given))
        return built[-1]

    yield build
    for each in built:
        assert each.close() == []


def settled(executor: TradeExecutor) -> None:
    wait_for(lambda: executor.orders.settled, what="every order ended and told")


def test_a_round_trip_tells_its_whole_story(
    alpaca: LocalAlpaca, bus: RecordingBus, build: Build
) -> None:
    """Bought and sold again, with its profit: every event of the document, once, in order."""
    executor = build(event_bus=bus)
    bought = executor.buy("AAPL", qty=10)
    assert bought
    order = executor.wait(bought, timeout_s=5)
    assert order is not None
    assert (order.status, order.filled_qty, order.filled_avg_price) == (
        "filled",
        10,
        Decimal("100.02"),
    )
    settled(executor)
    alpaca.quote("AAPL", 101.02, 101.06)
    sold = executor.close_position("AAPL")
    assert sold is not None
    executor.wait(sold, timeout_s=5)
    settled(executor)
    executor.close()
    assert bus.kinds() == [
        "order.created",
        "order.filled",
        "trade.executed",
        "position.opened",
        "order.created",
        "order.filled",
        "trade.executed",
        "position.closed",
    ]
    assert bus.events[-1].data["pnl"] == 10
    assert bus.events[-1].data["owner"] == "bot"
    assert executor.orders.position("AAPL") == 0


def test_a_partly_filled_order_that_is_cancelled(
    alpaca: LocalAlpaca, bus: RecordingBus, build: Build
) -> None:
    """The cancel lost its race to a part of the quantity."""
    executor = build(event_bus=bus)
    working = executor.buy("AAPL", qty=10, limit_price="99.50")
    assert working.order_id is not None
    wait_for(lambda: bus.kinds() == ["order.created"], what="created is told")
    alpaca.lose_race("partial_fill", working.order_id)
    assert executor.cancel(working) == Accepted()
    order = executor.wait(working, timeout_s=5)
    assert order is not None
    assert order.status == "canceled"
    assert 0 < order.filled_qty < 10
    settled(executor)
    executor.close()
    assert bus.kinds() == [
        "order.created",
        "order.partially_filled",
        "trade.executed",
        "position.opened",
        "order.cancelled",
    ]


def test_a_replaced_order_goes_on_as_another_one(
    alpaca: LocalAlpaca, bus: RecordingBus, build: Build
) -> None:
    """The old one is modified and gone, the new one fills."""
    executor = build(event_bus=bus)
    old = executor.buy("AAPL", qty=10, limit_price=90)
    new = executor.replace(old, limit_price="100.05", name="higher")
    assert new.client_order_id == "bot:AAPL:higher"
    order = executor.wait(new, timeout_s=5)
    assert order is not None
    assert (order.status, order.replaces) == ("filled", old.order_id)
    settled(executor)
    executor.close()
    kinds = Counter(bus.kinds())
    assert kinds["order.modified"] == 1
    assert kinds["order.created"] == 2
    assert kinds["position.opened"] == 1


def test_a_brackets_legs_are_watched_and_close_the_position(
    alpaca: LocalAlpaca, bus: RecordingBus, build: Build
) -> None:
    """Alpaca makes their ids; the take profit fills, and the stop loss is cancelled."""
    executor = build(event_bus=bus)
    entry = executor.buy(
        "AAPL", qty=10, order_class="bracket", take_profit_price=105, stop_loss_price=95
    )
    wait_for(lambda: "position.opened" in bus.kinds(), what="the entry filled")
    alpaca.quote("AAPL", 105.10, 105.15)
    wait_for(lambda: executor.orders.settled, what="both legs ended")
    executor.close()
    kinds = Counter(bus.kinds())
    assert kinds["order.created"] == 3
    assert kinds["order.cancelled"] == kinds["risk.take_profit_hit"] == 1
    closed = next(e for e in bus.events if e.event_type.value == "position.closed")
    assert (closed.data["owner"], closed.data["pnl"] > 0) == ("bot", True)
    assert entry.order_id is not None
    assert closed.data["position_id"].startswith(entry.order_id)


def test_order_messages_of_the_ticker_tell_it_at_once(build: Build, bus: RecordingBus) -> None:
    """Its own; other strategies' are theirs."""
    executor = build(event_bus=bus)
    executor.orders.start()
    executor.orders.on_order(fill(4, 4))
    executor.orders.on_order(fill(4, 4, "o-2", client_order_id="other:1"))
    executor.orders.on_order("not an order")
    order = executor.orders.order("o-1")
    assert order is not None
    assert order.filled_qty == 4
    assert executor.orders.order("o-2") is None
    wait_for(lambda: "position.opened" in bus.kinds(), what="it is told")


def test_a_refused_order_is_a_value_and_two_events(bus: RecordingBus, build: Build) -> None:
    """No exception: it is business."""
    executor = build(event_bus=bus)
    outcome = executor.buy("AAPL", qty=10_000)
    assert not outcome
    assert (outcome.status, outcome.cause) == ("refused", "buying_power")
    executor.close()
    assert bus.kinds() == ["order.rejected", "trade.failed"]
    assert "insufficient buying power" in bus.events[0].data["reason"]
    assert bus.events[0].data["order_id"] == outcome.client_order_id


def test_a_lost_answer_doubles_nothing_and_misses_nothing(
    road: Road, bus: RecordingBus, build: Build
) -> None:
    """The order was taken, and its answer lost: it is found, filled and told like any other."""
    executor = build(event_bus=bus)
    road.lose_answers = 1
    outcome = executor.buy("AAPL", qty=10)
    assert outcome.status == "accepted"
    executor.wait(outcome, timeout_s=5)
    settled(executor)
    executor.close()
    assert bus.kinds().count("order.created") == 1
    assert executor.orders.position("AAPL") == 10


def test_a_lost_request_is_told_as_failed(road: Road, bus: RecordingBus, build: Build) -> None:
    """Looked up until it was sure; no order event, for there never was an order."""
    executor = build(event_bus=bus)
    road.lose_requests = 1
    outcome = executor.buy("AAPL", qty=10)
    assert outcome.status == "absent"
    executor.close()
    assert bus.kinds() == ["trade.failed"]


def test_an_unknown_fate_is_told_when_it_is_known(
    road: Road, bus: RecordingBus, build: Build
) -> None:
    """Nothing is told before; and nothing was sent again meanwhile."""
    executor = build(event_bus=bus)
    road.lose_answers, road.lose_looks = 1, 1_000
    outcome = executor.buy("AAPL", qty=10)
    assert outcome.status == "unknown"
    assert bus.events == []
    road.lose_looks = 0
    wait_for(lambda: "position.opened" in bus.kinds(), what="it was found and told")
    executor.close()
    assert road.counts["POST"] == 1


def test_the_same_name_is_the_same_order(build: Build) -> None:
    """Also for another executor, as after a restart."""
    first = build().buy("AAPL", qty=10, limit_price=90, name="signal-42")
    again = build().buy("AAPL", qty=10, limit_price=90, name="signal-42")
    assert first.order_id == again.order_id
    assert again.status == "accepted"


def test_a_name_that_was_refused_may_be_sent_again(road: Road, build: Build) -> None:
    """Each call is one request, with its own answer, until it is taken; then it is that order."""
    executor = build()
    poor = b'{"code": 40310000, "message": "insufficient buying power"}'
    road.answers = [(403, poor)] * 2
    causes = [executor.buy("AAPL", qty=1, limit_price=90, name="dip").cause for _ in range(2)]
    assert causes == ["buying_power"] * 2
    taken = executor.buy("AAPL", qty=1, limit_price=90, name="dip")
    assert taken
    assert executor.buy("AAPL", qty=1, limit_price=90, name="dip").order_id == taken.order_id


def test_without_a_bus_everything_works(build: Build) -> None:
    """`event_bus=None`."""
    executor = build(event_bus=None, logger=logging.getLogger("a-strategy"))
    outcome = executor.buy("AAPL", notional=500)
    order = executor.wait(outcome, timeout_s=5)
    assert order is not None
    assert order.status == "filled"
    assert order.notional == 500


def test_a_bus_that_hangs_blocks_no_trading(bus: RecordingBus, build: Build) -> None:
    """Nor does it delay what we know of our own fills; its events come when it is back."""
    bus.open.clear()
    executor = build(event_bus=bus)
    began = time.monotonic()
    bought = executor.buy("AAPL", qty=10)
    order = executor.wait(bought, timeout_s=5)
    assert order is not None
    assert order.status == "filled"
    sold = executor.close_position("AAPL")
    assert sold is not None
    executor.wait(sold, timeout_s=5)
    assert time.monotonic() - began < 4
    assert bus.events == []
    bus.open.set()
    wait_for(lambda: bus.kinds().count("position.closed") == 1, what="the events came out")


@pytest.mark.parametrize("failure", [ConnectionError("away"), ValueError("refused")])
def test_a_bus_that_raises_blocks_no_trading(
    bus: RecordingBus, build: Build, failure: Exception
) -> None:
    """What it could not take is counted."""
    bus.failure = failure
    executor = build(event_bus=bus)
    bought = executor.buy("AAPL", qty=10)
    order = executor.wait(bought, timeout_s=5)
    assert order is not None
    assert order.status == "filled"
    wait_for(lambda: executor.orders.counters["events_failed"] >= 4, what="failures are counted")


def test_redis_killed_while_it_trades_delays_events_and_nothing_else(build: Build) -> None:
    """The real bus: what happened meanwhile comes out in order when Redis is there again."""
    with EmbeddedValkey(None, "--appendonly", "yes", "--appendfsync", "always") as server:
        config = RedisConfig(host="127.0.0.1", port=server.port)
        with RedisEventBus(config, publish_timeout_s=0.2) as event_bus:
            executor = build(event_bus=event_bus)
            executor.wait(executor.buy("AAPL", qty=10), timeout_s=5)
            settled(executor)
            server.kill()
            sold = executor.close_position("AAPL")
            assert sold is not None
            order = executor.wait(sold, timeout_s=5)
            assert order is not None
            assert order.status == "filled"
            settled(executor)
            server.start()
            wait_for(lambda: event_bus.is_connected, what="Redis answers again")
            wait_for(lambda: len(list(event_bus.replay("AAPL"))) == 8, what="every event came out")
            kinds = [event.event_type.value for event in event_bus.replay("AAPL")]
            assert kinds[-1] == "position.closed"
            assert event_bus.get_active_positions("AAPL") == []


def test_looks_leave_a_quarter_of_the_budget_to_orders(road: Road, build: Build) -> None:
    """Whoever only watches must not make an order wait a minute."""
    executor = build(config={"requests_per_minute": 12})
    executor.buy("AAPL", qty=1, limit_price=90)
    wait_for(lambda: road.counts["GET"] >= 8, what="looks took their share")
    began = time.monotonic()
    assert executor.buy("MSFT", qty=1, limit_price=40)
    assert time.monotonic() - began < 2
    assert road.counts["GET"] + road.counts["POST"] <= 12


@pytest.mark.parametrize("refused_look", [0, 1])
def test_a_look_that_is_refused_by_the_limit_is_not_repeated_before_it_is_over(
    road: Road, build: Build, refused_look: int
) -> None:
    """Whether the list or a single order was asked for; it goes on when Alpaca lets it."""
    executor = build(config={"poll_s": 0.02})
    busy = (429, b'{"code": 42910000, "message": "rate limit exceeded"}')
    road.look_answers = [*[None] * refused_look, busy] * 20
    began = time.monotonic()
    executor.buy("AAPL", qty=1)
    wait_for(lambda: road.counts["GET answered"], what="a look was refused")
    asked = road.counts.total()
    road.look_answers.clear()
    wait_for(lambda: executor.orders.counters["looks_put_off"] > 5, what="it goes on")
    if time.monotonic() - began < 2:  # a loaded machine may have slept through the two seconds
        assert road.counts.total() == asked
    settled(executor)


def test_a_question_waits_for_the_limit_to_be_over(road: Road, build: Build) -> None:
    """It is asked once more then, and answered."""
    executor = build(config={"patience_s": 5.0})
    road.look_answers = [(429, b'{"code": 42910000, "message": "rate limit exceeded"}')]
    began = time.monotonic()
    assert executor.orders.position("AAPL") == 0
    assert time.monotonic() - began >= 2
    assert road.counts == {"GET answered": 1, "GET": 1}


def test_a_cancel_is_never_held_back(road: Road, build: Build) -> None:
    """Also when the whole budget is spent."""
    executor = build(config={"requests_per_minute": 1})
    resting = executor.buy("AAPL", qty=1, limit_price=90)
    began = time.monotonic()
    assert executor.cancel(resting) == Accepted()
    assert time.monotonic() - began < 2


def test_a_position_of_an_earlier_run_is_closed_under_its_own_name(
    bus: RecordingBus, build: Build
) -> None:
    """The bus remembers it, so a restart need not."""
    bus.positions = [
        {
            "position_id": "old:10",
            "owner": "bot",
            "volume": 10.0,
            "entry_price": 99.0,
            "direction": "LONG",
        },
        {"position_id": "x", "owner": "other", "volume": 5.0, "entry_price": 1.0},
    ]
    with build() as earlier:
        earlier.wait(earlier.buy("AAPL", qty=10), timeout_s=5)
    executor = build(event_bus=bus)
    sold = executor.sell("AAPL", qty=10)
    executor.wait(sold, timeout_s=5)
    settled(executor)
    executor.close()
    closed = bus.events[-1]
    assert (closed.event_type.value, closed.data["position_id"]) == ("position.closed", "old:10")
    assert closed.data["pnl"] == Decimal("9.80"), "sold at 99.98 what was bought at 99"


def test_what_the_bus_remembers_is_asked_before_the_first_order(
    road: Road, bus: RecordingBus, build: Build
) -> None:
    """Asked after it, the bridge may have counted that order in, and it would count twice."""
    executor = build(event_bus=bus)
    orders_sent: list[int] = []

    def ask(_symbol: str) -> list[dict[str, Any]]:
        orders_sent.append(road.counts["POST"])
        return []

    bus.get_active_positions = ask  # type: ignore[method-assign]
    executor.buy("AAPL", qty=1)
    executor.buy("AAPL", qty=1)
    assert orders_sent == [0]


def test_cancel_all_takes_ours_and_leaves_the_others(alpaca: LocalAlpaca, build: Build) -> None:
    """Also those of an earlier run."""
    build().buy("AAPL", qty=1, limit_price=90)
    by_hand = alpaca.order_by_hand(
        symbol="AAPL", side="buy", qty="1", type="limit", limit_price="90", time_in_force="day"
    )
    executor = build()
    executor.buy("MSFT", qty=1, limit_price=40)
    answers = executor.cancel_all()
    assert list(answers.values()) == [Accepted(), Accepted()]
    assert by_hand not in answers


@pytest.mark.parametrize("restarted", [False, True])
def test_cancel_all_takes_legs_and_what_was_replaced_by_hand(
    client: TradingClient, alpaca: LocalAlpaca, build: Build, restarted: bool
) -> None:
    """Alpaca made their ids; after a restart nothing but its own list says whose they are."""
    alpaca.order_by_hand(
        symbol="MSFT", side="buy", qty="1", type="limit", limit_price="30", time_in_force="day",
        order_class="bracket", take_profit={"limit_price": "60"}, stop_loss={"stop_price": "20"},
    )  # fmt: skip
    theirs = listed(client)
    executor = build()
    entry = executor.buy(
        "AAPL", qty=10, order_class="bracket", take_profit_price=105, stop_loss_price=95
    )
    executor.wait(entry, timeout_s=5)
    resting = executor.buy("MSFT", qty=1, limit_price=40)
    by_hand = ReplaceOrderRequest(limit_price=41, client_order_id="by-hand")
    replaced = client.replace_order_by_id(str(resting.order_id), by_hand)
    assert isinstance(replaced, AlpacaOrder)

    def ours() -> set[str]:
        return set(listed(client)) - set(theirs)

    wait_for(
        lambda: str(replaced.id) in ours() and len(ours()) == 3,
        what="both legs and the replacement work",
    )
    if restarted:
        executor = build()
    executor.cancel_all()
    wait_for(lambda: not ours(), what="all of ours are cancelled")
    assert sorted(listed(client)) == sorted(theirs)


def listed(client: TradingClient) -> list[str]:
    """Alpaca's ids of what works, by whomever it was sent."""
    found = client.get_orders()
    return [str(each.id) for each in found if isinstance(each, AlpacaOrder)]


def test_what_cannot_be_is_refused_before_anything_leaves(road: Road, build: Build) -> None:
    """By name; no request was made."""
    executor = build()
    with pytest.raises(InvalidTerms, match="qty must be > 0"):
        executor.buy("AAPL", qty=-5)
    with pytest.raises(InvalidTerms, match="1 to 128 printable"):
        executor.buy("AAPL", qty=5, name="x" * 200)
    with pytest.raises(InvalidTerms, match="must be a Decimal, not str"):
        executor.buy("AAPL", qty="ten")
    assert not road.counts
    assert executor.close_position("MSFT") is None
    assert isinstance(executor.cancel("no-such-order"), Refused)
