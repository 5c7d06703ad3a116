"""State that cannot disagree with events: the table, on real servers."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from main.trade_events import PublishRefused, RedisEventBus, TradeEvent, TradeEventType
from main.utils.redis.config import RedisConfig

pytestmark = pytest.mark.integration

Maker = Callable[[], TradeEvent]


def created(**more: Any) -> TradeEvent:
    return TradeEvent.create_order_created("XAUUSD", "1", "BUY", 2000.5, 10, **more)


def partly(total: float | None = None, volume: float = 4, **more: Any) -> TradeEvent:
    if total is not None:
        more["filled_volume"] = total
    return TradeEvent.create_order_partially_filled("XAUUSD", "1", 2000.25, volume, **more)


def filled(total: float | None = None, volume: float = 6, **more: Any) -> TradeEvent:
    if total is not None:
        more["filled_volume"] = total
    return TradeEvent.create_order_filled("XAUUSD", "1", 2000.75, volume, **more)


def cancelled(**more: Any) -> TradeEvent:
    return TradeEvent.create_order_cancelled("XAUUSD", "1", **more)


def rejected(**more: Any) -> TradeEvent:
    return TradeEvent.create_order_rejected("XAUUSD", "1", "no money", **more)


def modified(**more: Any) -> TradeEvent:
    return TradeEvent.create_order_modified("XAUUSD", "1", **more)


def opened(**more: Any) -> TradeEvent:
    return TradeEvent.create_position_opened("XAUUSD", "p1", 2000.5, 10, "LONG", **more)


def closed(pnl: float = 95.0) -> TradeEvent:
    return TradeEvent.create_position_closed("XAUUSD", "p1", 2010.0, pnl)


def changed(**more: Any) -> TradeEvent:
    return TradeEvent.create_position_modified("XAUUSD", "p1", **more)


def reduced(pnl: float = 5.0) -> TradeEvent:
    return TradeEvent.create_position_partially_closed("XAUUSD", "p1", 2005.0, 4, 6, pnl)


# How each status is come to.
ROADS: dict[str, tuple[Maker, ...]] = {
    "none": (),
    "pending": (created,),
    "partially_filled": (created, lambda: partly(4)),
    "filled": (created, lambda: filled(10)),
    "cancelled": (created, cancelled),
    "rejected": (created, rejected),
    "replaced": (created, lambda: modified(replaced_by="2")),
    "position none": (),
    "active": (opened,),
    "closed": (opened, closed),
}
ORDER_EVENTS: dict[str, Maker] = {
    "created": lambda: created(event_id="again"),
    "partially filled": lambda: partly(11, event_id="again"),
    "filled": lambda: filled(12, event_id="again"),
    "cancelled": lambda: cancelled(event_id="again"),
    "rejected": lambda: rejected(event_id="again"),
    "modified": lambda: modified(price=1999.0, event_id="again"),
    "replaced": lambda: modified(replaced_by="3", event_id="again"),
}
POSITION_EVENTS: dict[str, Maker] = {
    "opened": opened,
    "modified": lambda: changed(sl=1.0),
    "partially closed": reduced,
    "closed": closed,
}
LEGAL: dict[tuple[str, str], str] = {
    ("none", "created"): "pending",
    ("none", "rejected"): "rejected",
    ("pending", "partially filled"): "partially_filled",
    ("pending", "filled"): "filled",
    ("pending", "cancelled"): "cancelled",
    ("pending", "rejected"): "rejected",
    ("pending", "modified"): "pending",
    ("pending", "replaced"): "replaced",
    ("partially_filled", "partially filled"): "partially_filled",
    ("partially_filled", "filled"): "filled",
    ("partially_filled", "cancelled"): "cancelled",
    ("partially_filled", "rejected"): "rejected",
    ("partially_filled", "modified"): "partially_filled",
    ("partially_filled", "replaced"): "replaced",
    ("position none", "opened"): "active",
    ("active", "modified"): "active",
    ("active", "partially closed"): "active",
    ("active", "closed"): "closed",
}
OPEN = {"pending", "partially_filled", "active"}
POSITION_STATUSES = {"position none", "active", "closed"}
EVERY_MOVE = [
    (status, name)
    for status in ROADS
    for name in (POSITION_EVENTS if status in POSITION_STATUSES else ORDER_EVENTS)
]


def state_of(bus: RedisEventBus, event: TradeEvent) -> dict[str, Any] | None:
    if "order_id" in event.data:
        return bus.get_order("XAUUSD", "1")
    return bus.get_position("XAUUSD", "p1")


@pytest.mark.parametrize(("status", "name"), EVERY_MOVE)
def test_every_event_in_every_status_makes_the_tables_move_or_none(
    bus: RedisEventBus, status: str, name: str
) -> None:
    bus.publish_many(make() for make in ROADS[status])
    event = (POSITION_EVENTS if status in POSITION_STATUSES else ORDER_EVENTS)[name]()
    before = state_of(bus, event)
    receipt = bus.publish(event)
    after = state_of(bus, event)
    wanted = LEGAL.get((status, name))
    if wanted is None:
        assert receipt.status == "anomaly"
        assert after == before, "an illegal move leaves no trace in the state"
    else:
        assert receipt.status == "published"
        assert after is not None
        assert after["status"] == wanted
    is_open = [*bus.get_open_orders("XAUUSD"), *bus.get_active_positions("XAUUSD")]
    status_now = after["status"] if after else None
    assert [state["status"] for state in is_open] == ([status_now] if status_now in OPEN else [])


@pytest.mark.parametrize(
    ("road", "event", "reason"),
    [
        ((), lambda: filled(10), "unknown_order"),
        ((created, cancelled), lambda: filled(10), "order_ended"),
        ((created,), lambda: created(event_id="b"), "already_exists"),
        ((), closed, "unknown_position"),
        ((opened, closed), reduced, "position_ended"),
        ((opened,), lambda: opened(event_id="b"), "already_exists"),
    ],
)
def test_an_illegal_move_is_kept_counted_and_told_with_its_reason(
    bus: RedisEventBus, road: Iterable[Maker], event: Maker, reason: str
) -> None:
    bus.publish_many(make() for make in road)
    receipt = bus.publish(event())
    assert (receipt.status, receipt.reason) == ("anomaly", reason)
    counters = bus.server_counters()
    assert counters["anomalies"] == counters[f"anomalies.{reason}"] == 1
    (entry,) = bus._client.xrange(bus.names.anomalies)
    assert entry[1][b"a"].decode() == reason
    assert entry[1][b"log_id"].decode() == receipt.log_id
    assert [e.anomaly for e in bus.replay("XAUUSD")][-1] == reason


def test_the_same_event_twice_changes_nothing(bus: RedisEventBus) -> None:
    bus.publish(created())
    first = bus.publish(partly(4))
    before = bus.get_order("XAUUSD", "1")
    again = bus.publish(partly(4, source="another witness", note="new"))
    assert (first.status, again.status) == ("published", "duplicate")
    assert bus.get_order("XAUUSD", "1") == before
    assert len(list(bus.replay("XAUUSD"))) == 2
    assert bus.server_counters()["duplicates"] == 1


def begin_generation(bus: RedisEventBus, number: int, age_s: float, age_before_s: float) -> None:
    """As if so much time had passed: the newest set of ids, and the one before it."""
    now_ms = time.time() * 1_000
    born, before = now_ms - age_s * 1_000, now_ms - age_before_s * 1_000
    bus._client.set("trades:seen", f"{number} {born:.0f} {before:.0f}")


def test_an_event_id_is_known_for_its_retention_and_not_for_long_after(bus: RedisEventBus) -> None:
    bus.configure(event_id_retention_s=60)
    event = created()
    bus.publish(event)
    begin_generation(bus, 1, 31, 90)
    bus.publish(partly(1))  # half of the retention is over: it begins the second generation
    assert 50 < bus._client.ttl("trades:seen:1") <= 60, "the first one's ids are known as long"
    begin_generation(bus, 2, 31, 62)
    bus.publish(partly(2))
    assert bus.publish(event).status == "duplicate", "the third is the newest"
    begin_generation(bus, 3, 31, 62)
    bus.publish(partly(3))
    assert bus.publish(event).reason == "already_exists"
    assert bus._client.exists("trades:seen:1") == 0
    assert bus._client.exists("trades:seen:2", "trades:seen:3", "trades:seen:4") == 3
    assert "event_ids_forgotten" not in bus.server_counters(), "they had their time"


def test_known_ids_are_bounded_and_those_that_go_before_their_time_are_counted(
    bus: RedisEventBus,
) -> None:
    bus.configure(event_ids_max=3_000)
    bus.publish_many(TradeEvent.create_signal_validated("A", n) for n in range(20_000))
    client = bus._client
    known = sum(client.scard(key) for key in client.scan_iter("trades:seen:*"))
    assert 2_000 <= known <= 3_000 + 3 * 200, "a generation is counted after each 100 or so"
    assert bus.server_counters()["event_ids_forgotten"] == 20_000 - known
    newest = [event.event_id for event in bus.replay("A")][-2_000:]
    assert all(
        any(client.sismember(key, event_id) for key in client.scan_iter("trades:seen:*"))
        for event_id in newest[:: len(newest) // 20]
    )


def test_old_news_of_a_fill_is_told_but_moves_nothing(bus: RedisEventBus) -> None:
    """Reordered: the last fill came first."""
    bus.publish_many([created(), filled(10)])
    before = bus.get_order("XAUUSD", "1")
    assert bus.publish(partly(4)).status == "published"
    assert bus.publish(partly(10)).status == "published"
    assert bus.get_order("XAUUSD", "1") == before


def test_what_is_filled_never_falls_and_a_fills_price_is_not_the_orders(bus: RedisEventBus) -> None:
    bus.publish_many([created(), partly(8), partly(4), modified(price=1999.5)])
    order = bus.get_order("XAUUSD", "1")
    assert order is not None
    assert order["filled_volume"] == 8
    assert (order["price"], order["last_fill_price"], order["last_fill_volume"]) == (
        1999.5,
        2000.25,
        4,
    )


def test_fills_that_tell_no_total_are_added_up(bus: RedisEventBus) -> None:
    bus.publish_many([created(), partly(volume=0.1), partly(volume=0.2)])
    order = bus.get_order("XAUUSD", "1")
    assert order is not None
    assert order["filled_volume"] == 0.3
    bus.publish(filled(volume=9.7))
    order = bus.get_order("XAUUSD", "1")
    assert order is not None
    assert order["filled_volume"] == 10


def test_a_positions_profit_is_the_sum_of_its_parts(bus: RedisEventBus) -> None:
    bus.publish_many([opened(), reduced(pnl=5.1)])
    position = bus.get_position("XAUUSD", "p1")
    assert position is not None
    assert (position["volume"], position["pnl"], position["status"]) == (6, 5.1, "active")
    bus.publish(closed(pnl=-0.2))
    position = bus.get_position("XAUUSD", "p1")
    assert position is not None
    assert (position["volume"], position["pnl"], position["status"]) == (0, 4.9, "closed")


def test_state_is_typed_and_holds_what_the_events_said(bus: RedisEventBus) -> None:
    event = created(sl=1995.0, account="PA1", comment="123", legs=[{"a": 1}], client_order_id="9")
    receipt = bus.publish(event)
    assert bus.get_order("XAUUSD", 1) == {
        "order_id": "1",
        "order_type": "BUY",
        "price": 2000.5,
        "volume": 10,
        "sl": 1995.0,
        "comment": "123",
        "legs": [{"a": 1}],
        "client_order_id": "9",
        "symbol": "XAUUSD",
        "account": "PA1",
        "status": "pending",
        "filled_volume": 0,
        "created_at": event.timestamp,
        "updated_at": event.timestamp,
        "last_event": "order.created",
        "log_id": receipt.log_id,
        "first_log_id": receipt.log_id,
    }


def test_keys_and_channels_are_the_documents(bus: RedisEventBus) -> None:
    bus.publish_many([created(), opened()])
    assert bus._client.hget("order:XAUUSD:1", "status") == b"pending"
    assert bus._client.hget("position:XAUUSD:p1", "status") == b"active"
    assert bus._client.zrange("positions:active:XAUUSD", 0, -1) == [b"p1"]
    assert bus.names.channel("BTCUSD", TradeEventType.SIGNAL_GENERATED) == (
        "trades:BTCUSD:signal.generated"
    )


def test_what_ended_expires_and_what_is_open_stays(bus: RedisEventBus) -> None:
    bus.configure(ended_order_ttl_s=100, open_order_ttl_s=1_000, closed_position_ttl_s=50)
    bus.publish_many([created(), opened()])
    client = bus._client
    assert 900 < client.ttl("order:XAUUSD:1") <= 1_000
    assert client.ttl("position:XAUUSD:p1") == -1, "a position may be held for years"
    bus.publish_many([cancelled(), closed()])
    assert 0 < client.ttl("order:XAUUSD:1") <= 100
    assert 0 < client.ttl("position:XAUUSD:p1") <= 50
    bus.configure(open_order_ttl_s=0)
    bus.publish(TradeEvent.create_order_created("XAUUSD", "2", "BUY", 1, 1))
    assert client.ttl("order:XAUUSD:2") == -1


def test_the_log_is_bounded_as_configured(bus: RedisEventBus) -> None:
    bus.configure(log_max_events=1_000)
    bus.publish_many(TradeEvent.create_signal_validated("A", n) for n in range(2_500))
    assert 1_000 <= bus._client.xlen(bus.names.log) < 1_500


def test_a_foreign_key_of_the_same_name_is_refused_and_nothing_is_written(
    bus: RedisEventBus,
) -> None:
    bus._client.set("order:XAUUSD:1", "somebody else's")
    with pytest.raises(PublishRefused, match="order:XAUUSD:1 is no hash of the bus"):
        bus.publish(created())
    assert bus._client.xlen(bus.names.log) == 0
    assert bus._client.keys("trades:seen:*") == []
    bus._client.delete("order:XAUUSD:1")
    assert bus.publish(created()).status == "published"


def test_a_foreign_log_refuses_everything_and_says_so(bus: RedisEventBus) -> None:
    bus._client.set("trades:log", "x")
    with pytest.raises(PublishRefused, match="trades:log holds a string"):
        bus.publish(created())
    assert bus._client.keys("*") == [b"trades:log"]


def test_two_prefixes_on_one_server_know_nothing_of_each_other(
    config: RedisConfig, buses: Callable[..., RedisEventBus]
) -> None:
    paper = buses(RedisConfig(host=config.host, port=config.port, bus_prefix="PAPER_"))
    live = buses(config)
    assert paper.publish(created()).status == "published"
    assert live.get_order("XAUUSD", "1") is None
    assert live.publish(created()).status == "published"
    assert paper.rebuild().is_equal
    assert all(key.startswith(b"PAPER_") for key in live._client.keys("PAPER_*"))
    assert len(list(live.replay(None))) == 1
