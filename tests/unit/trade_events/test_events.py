"""Trade events: the 18 types, their helpers, and what may not stand in them."""

from __future__ import annotations

import copy
import inspect
import math
import pickle
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from main.trade_events import InvalidTradeEvent, TradeEvent, TradeEventType
from main.trade_events.checks import MAX_EVENT_BYTES, check_timestamp
from main.trade_events.helpers import Helpers
from main.trade_events.kinds import SHAPES, Kind
from main.trade_events.wire import encode_body, pack_event
from main.utils.redis.messages import parse_rfc3339

VALUES: dict[Kind, Any] = {
    Kind.ID: "7",
    Kind.TEXT: "BUY",
    Kind.NUMBER: -1.5,
    Kind.NUMBER_OR_NONE: None,
    Kind.QUANTITY: 0.1,
    Kind.QUANTITY_OR_NONE: None,
}
UUID_TEXT = "01234567-89ab-cdef-0123-456789abcdef"


def data_for(kind: TradeEventType) -> dict[str, Any]:
    return {name: VALUES[wanted] for name, wanted in SHAPES[kind].required.items()}


def created(**more: Any) -> TradeEvent:
    given = {"order_id": "1", "order_type": "BUY", "price": 1.0, "volume": 1.0} | more
    return TradeEvent.create_order_created("XAUUSD", **given)


# -- the types


def test_there_are_the_documents_18_types() -> None:
    assert len(TradeEventType) == 18
    assert TradeEventType.ORDER_CREATED.value == "order.created"
    assert TradeEventType.POSITION_OPENED.value == "position.opened"
    assert TradeEventType.SIGNAL_GENERATED.value == "signal.generated"
    assert set(SHAPES) == set(TradeEventType)


@pytest.mark.parametrize("kind", TradeEventType)
def test_every_type_has_a_helper_that_takes_what_the_type_demands(kind: TradeEventType) -> None:
    helper = getattr(TradeEvent, f"create_{kind.name.lower()}")
    data = data_for(kind)
    event = helper("BRK.B", **data, note="x", account="PA1", source="test", correlation_id="c")
    assert event.event_type is kind
    assert (event.symbol, event.account, event.source) == ("BRK.B", "PA1", "test")
    assert event.correlation_id == "c"
    demanded = {name: value for name, value in event.data.items() if name != "note"}
    assert data.items() <= demanded.items()
    named = inspect.signature(helper).parameters
    assert set(data) <= set(named), "each demanded field is an argument of its own"


def test_no_helper_is_without_its_type() -> None:
    helpers = {name for name in vars(Helpers) if name.startswith("create_")}
    assert helpers == {f"create_{kind.name.lower()}" for kind in TradeEventType}


# -- bad input: the field is named


@pytest.mark.parametrize("kind", TradeEventType)
def test_each_missing_field_is_named(kind: TradeEventType) -> None:
    for name in SHAPES[kind].required:
        data = data_for(kind)
        del data[name]
        with pytest.raises(InvalidTradeEvent, match="is missing") as caught:
            TradeEvent(event_type=kind, symbol="XAUUSD", data=data)
        assert caught.value.field == f"data.{name}"


@pytest.mark.parametrize(
    "symbol",
    [
        "",
        "*",
        "XAU*",
        "A?",
        "[A]",
        "A:B",
        "A B",
        "A\n",
        "A\x00B",
        "ÄPFEL",
        "A" * 33,
        None,
        7,
        "\\A",
    ],
)
def test_a_symbol_that_cannot_name_a_channel_is_refused(symbol: Any) -> None:
    with pytest.raises(InvalidTradeEvent) as caught:
        TradeEvent.create_signal_validated(symbol, "s1")
    assert caught.value.field == "symbol"


@pytest.mark.parametrize(
    "symbol", ["XAUUSD", "BRK.B", "BTC/USD", "EURUSD.r", "AAPL261218C00200000"]
)
def test_real_symbols_are_taken_as_they_are(symbol: str) -> None:
    assert TradeEvent.create_signal_validated(symbol, "s1").symbol == symbol


@pytest.mark.parametrize(
    ("name", "value", "field"),
    [
        ("price", math.nan, "data.price"),
        ("price", math.inf, "data.price"),
        ("price", Decimal("NaN"), "data.price"),
        ("price", "2000.5", "data.price"),
        ("price", True, "data.price"),
        ("volume", -0.1, "data.volume"),
        ("volume", [1], "data.volume"),
        ("order_type", "", "data.order_type"),
        ("order_type", 5, "data.order_type"),
        ("order_id", "", "data.order_id"),
        ("order_id", "a b", "data.order_id"),
        ("order_id", "a\n", "data.order_id"),
        ("order_id", 1.5, "data.order_id"),
        ("order_id", True, "data.order_id"),
        ("order_id", "x" * 129, "data.order_id"),
        ("sl", math.nan, "data.sl"),
        ("legs", [{"price": math.nan}], "data.legs[0].price"),
        ("legs", {1: 2}, "data.legs"),
        ("what", object(), "data.what"),
        ("what", {"a", "b"}, "data.what"),
        ("what", "\ud800", "data.what"),
        ("status", "pending", "data.status"),
        ("first_log_id", "0-1", "data.first_log_id"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_by_its_name(
    name: str, value: Any, field: str
) -> None:
    with pytest.raises(InvalidTradeEvent) as caught:
        created(**{name: value})
    assert caught.value.field == field
    assert str(caught.value).startswith(f"{field}: ")


def test_data_that_is_nested_too_deeply_is_refused() -> None:
    deep: list[Any] = []
    for _ in range(20):
        deep = [deep]
    with pytest.raises(InvalidTradeEvent, match="nested deeper"):
        created(deep=deep)


def test_an_unknown_type_is_refused_and_the_known_ones_are_named() -> None:
    with pytest.raises(InvalidTradeEvent, match=r"order\.created") as caught:
        TradeEvent(event_type="order.invented", symbol="XAUUSD", data={})  # type: ignore[arg-type]
    assert caught.value.field == "event_type"


def test_a_type_may_be_given_by_its_value() -> None:
    data = {"signal_id": "s1"}
    event = TradeEvent(event_type="signal.validated", symbol="A", data=data)  # type: ignore[arg-type]
    assert event.event_type is TradeEventType.SIGNAL_VALIDATED


@pytest.mark.parametrize("data", [None, [], "text", 5, {1: 2, "signal_id": "s"}])
def test_data_that_is_no_dict_with_names_is_refused(data: Any) -> None:
    with pytest.raises(InvalidTradeEvent) as caught:
        TradeEvent(event_type=TradeEventType.SIGNAL_VALIDATED, symbol="A", data=data)
    assert caught.value.field == "data"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("timestamp", "yesterday"),
        ("timestamp", 1_790_000_000),
        ("timestamp", "2026-13-01T00:00:00Z"),
        ("source", 5),
        ("source", "x" * 257),
        ("correlation_id", b"c"),
        ("event_id", "with space"),
        ("account", ""),
    ],
)
def test_each_own_field_is_checked_too(name: str, value: Any) -> None:
    with pytest.raises(InvalidTradeEvent) as caught:
        created(**{name: value})
    assert caught.value.field == name


def test_an_event_of_a_megabyte_is_refused_when_it_is_packed() -> None:
    event = created(note="x" * 1_000_000)
    with pytest.raises(InvalidTradeEvent, match="at most 65,536") as caught:
        pack_event(event)
    assert caught.value.field == "data"
    assert len(encode_body(created(note="x" * (MAX_EVENT_BYTES - 1_000)))) <= MAX_EVENT_BYTES


def test_more_fields_than_a_hash_should_hold_are_refused() -> None:
    with pytest.raises(InvalidTradeEvent, match="at most 256"):
        created(**{f"f{number}": number for number in range(300)})


# -- what is kept


def test_ids_become_text() -> None:
    data = {"order_id": 12345, "client_order_id": UUID(UUID_TEXT), "magic_id": 7}
    event = created(**data)
    assert event.data["order_id"] == "12345"
    assert event.data["client_order_id"] == UUID_TEXT
    assert event.data["magic_id"] == "7"
    assert event.subject_id == "12345"


def test_data_is_a_copy_that_does_not_change() -> None:
    given = {"signal_id": "s1"}
    event = TradeEvent(event_type=TradeEventType.SIGNAL_VALIDATED, symbol="A", data=given)
    given["signal_id"] = "s2"
    assert event.data == {"signal_id": "s1"}
    with pytest.raises(TypeError, match="make another event"):
        event.data["price"] = math.nan  # type: ignore[index]
    assert str(event.data) == "{'signal_id': 's1'}", "it reads as the dict that it is"


def test_an_event_can_be_copied_and_sent_to_another_process() -> None:
    event = created(sl=1995.0)
    assert copy.deepcopy(event) == event
    assert pickle.loads(pickle.dumps(event)) == event


# -- moments


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("2026-11-21T14:30:05", "2026-11-21T14:30:05Z"),
        ("2026-11-21T14:30:05.123456", "2026-11-21T14:30:05.123456Z"),
        ("2026-11-21 14:30:05", "2026-11-21T14:30:05Z"),
        ("2026-11-21T14:30:05.123456789Z", "2026-11-21T14:30:05.123456789Z"),
        ("2026-11-21T14:30:05+00:00", "2026-11-21T14:30:05Z"),
        ("2026-11-21T16:30:05.5+02:00", "2026-11-21T14:30:05.5Z"),
        ("2026-11-21T09:30:05.123456789-05:00", "2026-11-21T14:30:05.123456789Z"),
        (datetime(2026, 11, 21, 14, 30, 5, tzinfo=UTC), "2026-11-21T14:30:05Z"),
        (datetime(2026, 11, 21, 14, 30, 5), "2026-11-21T14:30:05Z"),  # noqa: DTZ001
    ],
)
def test_moments_are_kept_in_utc_without_losing_a_digit(given: Any, kept: str) -> None:
    assert created(timestamp=given).timestamp == kept


ODD_ZONE = st.just(timezone(timedelta(hours=-5, minutes=-30)))


@given(st.datetimes(max_value=datetime(9999, 12, 30), timezones=ODD_ZONE))  # noqa: DTZ001
def test_any_moment_stays_the_same_moment(moment: datetime) -> None:
    assert datetime.fromisoformat(check_timestamp(moment)) == moment


def test_a_moment_that_leaves_the_calendar_is_refused() -> None:
    with pytest.raises(InvalidTradeEvent, match="out of range"):
        created(timestamp="9999-12-31T23:30:00-05:00")


def test_an_event_without_a_moment_happens_now() -> None:
    before = datetime.now(UTC)
    event = created()
    assert before <= datetime.fromisoformat(event.timestamp) <= datetime.now(UTC)
    assert parse_rfc3339(event.timestamp) > 0


# -- redis-py


def test_events_and_the_factory_need_no_redis_and_the_factory_says_what_is_missing() -> None:
    """The document catches ImportError around the factory, not around the import."""
    script = """
import sys
sys.modules["redis"] = None
from main.trade_events import EventBusFactory, TradeEvent
TradeEvent.create_signal_validated("A", "s1")
try:
    EventBusFactory.create_from_env(object())
except ImportError as error:
    print(error)
"""
    ended = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=30, check=True
    )
    assert "pip install redis" in ended.stdout
