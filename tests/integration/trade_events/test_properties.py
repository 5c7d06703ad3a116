"""Any interleaving, with duplicates and out of order: state is what the log says, every time."""

from __future__ import annotations

import random
from collections.abc import Iterator
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from main.embedded_valkey import EmbeddedValkey
from main.trade_events import RedisEventBus, TradeEvent
from tests.integration.trade_events.conftest import emptied
from tests.integration.trade_events.reference import Reference

pytestmark = pytest.mark.integration

SYMBOLS = st.sampled_from(["XAUUSD", "BTC/USD"])
IDS = st.sampled_from(["1", "a:b"])
WHOLE_CENTS = st.integers(-99_999, 99_999)
TENTHS = st.integers(1, 40)
# A float, or a Decimal as REST and the bridge have it: 0.50, 2E+1.
CENTS = WHOLE_CENTS.map(lambda cents: cents / 100) | WHOLE_CENTS.map(
    lambda cents: Decimal(cents).scaleb(-2)
)
QUANTITIES = TENTHS.map(lambda tenths: tenths / 10) | TENTHS.map(
    lambda tenths: (Decimal(tenths) / 10).normalize()
)
EXTRAS = st.fixed_dictionaries(
    {},
    optional={
        "sl": CENTS,
        "note": st.sampled_from(["true", "1.5", "text", "", "ü"]),
        "tags": st.just(["a", {"b": None, "c": Decimal("1.50")}]),
        "big": st.sampled_from([1e16, 2.5e22, 1e-7, Decimal("2E+1"), 2**60]),
    },
)


@st.composite
def order_events(draw: st.DrawFn) -> TradeEvent:
    symbol, order_id, more = draw(SYMBOLS), draw(IDS), draw(EXTRAS)
    if draw(st.booleans()):
        more["account"] = "PA1"
    kind = draw(st.integers(0, 5))
    if kind == 0:
        volume = draw(st.none() | QUANTITIES)
        more["event_id"] = draw(st.sampled_from(["c1", "c2"])) + order_id.replace(":", "") + symbol
        return TradeEvent.create_order_created(symbol, order_id, "BUY", 2.5, volume, **more)
    if kind in (1, 2):
        if draw(st.booleans()):
            more["filled_volume"] = draw(QUANTITIES)
        elif draw(st.booleans()):
            more["execution_id"] = draw(st.sampled_from(["e1", "e2"]))
        create = (TradeEvent.create_order_filled, TradeEvent.create_order_partially_filled)[
            kind - 1
        ]
        return create(symbol, order_id, draw(CENTS), draw(QUANTITIES), **more)
    if kind == 3:
        return TradeEvent.create_order_cancelled(symbol, order_id, **more)
    if kind == 4:
        return TradeEvent.create_order_rejected(symbol, order_id, "no", **more)
    if draw(st.booleans()):
        more["replaced_by"] = "9"
    return TradeEvent.create_order_modified(symbol, order_id, price=draw(CENTS), **more)


@st.composite
def position_events(draw: st.DrawFn) -> TradeEvent:
    symbol, position_id, more = draw(SYMBOLS), draw(IDS), draw(EXTRAS)
    kind = draw(st.integers(0, 3))
    if kind == 0:
        volume = draw(QUANTITIES)
        return TradeEvent.create_position_opened(symbol, position_id, 2.5, volume, "LONG", **more)
    if kind == 1:
        return TradeEvent.create_position_modified(
            symbol, position_id, volume=draw(QUANTITIES), **more
        )
    if kind == 2:
        volumes = draw(QUANTITIES), draw(QUANTITIES)
        return TradeEvent.create_position_partially_closed(
            symbol, position_id, 2.5, *volumes, draw(CENTS), **more
        )
    return TradeEvent.create_position_closed(symbol, position_id, 2.5, draw(CENTS), **more)


OTHERS = st.builds(TradeEvent.create_signal_validated, SYMBOLS, IDS)
EVENTS = st.lists(order_events() | position_events() | OTHERS, min_size=15, max_size=50)


@pytest.fixture(scope="module")
def property_bus(trade_server: EmbeddedValkey) -> Iterator[RedisEventBus]:
    with RedisEventBus(emptied(trade_server)) as bus:
        yield bus


def assert_agreement(bus: RedisEventBus) -> None:
    """Live state, the log told by another program, and the rebuilt state are the same."""
    told = Reference().take_all(bus.replay(None))
    found = {(o["symbol"], o["order_id"]): o for o in bus.get_orders()}
    assert _without_places(found) == told.orders
    found = {(p["symbol"], p["position_id"]): p for p in bus.get_positions()}
    assert _without_places(found) == told.positions
    assert {e.event_id: e.anomaly for e in bus.replay(None) if e.anomaly} == told.anomalies
    for symbol in ("XAUUSD", "BTC/USD"):
        orders = {order["order_id"] for order in bus.get_open_orders(symbol)}
        positions = {position["position_id"] for position in bus.get_active_positions(symbol)}
        assert (orders, positions) == told.open_ids(symbol)
    rebuilt = bus.rebuild()
    assert rebuilt.is_equal, rebuilt
    assert rebuilt.compared == len(told.orders) + len(told.positions)


def _without_places(
    states: dict[tuple[str, str], dict[str, object]],
) -> dict[tuple[str, str], dict[str, object]]:
    places = {"log_id", "first_log_id", "account"}
    return {
        key: {name: value for name, value in state.items() if name not in places}
        for key, state in states.items()
    }


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(events=EVENTS, seed=st.integers(0, 2**32))
def test_any_interleaving_with_duplicates_gives_the_state_that_the_log_tells(
    property_bus: RedisEventBus, events: list[TradeEvent], seed: int
) -> None:
    bus, chance = property_bus, random.Random(seed)
    bus._client.flushdb()
    again = chance.sample(events, chance.randint(0, len(events)))
    arriving = events + again
    chance.shuffle(arriving)
    while arriving:
        size = chance.randint(1, 15)
        some, arriving = arriving[:size], arriving[size:]
        receipts = bus.publish_many(some)
        assert all(each.status in ("published", "duplicate", "anomaly") for each in receipts)
    assert len(list(bus.replay(None))) == len({event.event_id for event in events})
    assert_agreement(bus)


@settings(
    max_examples=8, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(events=EVENTS)
def test_a_rebuild_puts_right_whatever_was_done_to_the_state(
    property_bus: RedisEventBus, events: list[TradeEvent]
) -> None:
    bus, client = property_bus, property_bus._client
    client.flushdb()
    bus.publish_many(events)
    keys = sorted([*client.keys("order:*"), *client.keys("position:*")])
    for number, key in enumerate(keys):
        if number % 3 == 0:
            client.delete(key)
        elif number % 3 == 1:
            client.hset(key, mapping={"status": "filled", "invented": "1"})
    client.delete("positions:active:XAUUSD")
    bus.rebuild(apply=True)
    assert_agreement(bus)
    assert client.keys("trades:rebuild:*") == [], "it leaves nothing behind"
