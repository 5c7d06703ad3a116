"""Events to bytes and back, and the typed values of a state hash."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from main.trade_events import TradeEvent, TradeEventType
from main.trade_events.describe import describe_event, event_json
from main.trade_events.wire import (
    decode_logged,
    decode_published,
    encode_body,
    hash_to_state,
    pack_event,
    pack_events,
    text_to_value,
    value_to_text,
)

JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(min_value=-(2**53), max_value=2**53)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc"), inner, max_size=3),
    max_leaves=5,
)
TEXTS = st.sampled_from(
    ["true", "null", "1", "-0.5e3", '"', "[]", "{", "2026-11-21", "", "01", "+1"]
)


@given(JSON_VALUES | TEXTS)
def test_any_value_comes_back_from_a_hash_as_it_was(value: Any) -> None:
    assert text_to_value("note", value_to_text("note", value)) == value


@given(TEXTS)
def test_ids_stand_plainly_in_a_hash(text: str) -> None:
    assert value_to_text("order_id", text) == text
    assert text_to_value("order_id", text) == text


def test_a_hash_reads_well_for_people_and_typed_for_programs() -> None:
    fields = {"order_id": "12345", "price": 2000.5, "order_type": "BUY", "note": "5"}
    texts = {name: value_to_text(name, value) for name, value in fields.items()}
    assert texts == {"order_id": "12345", "price": "2000.5", "order_type": "BUY", "note": '"5"'}
    assert hash_to_state({k.encode(): v.encode() for k, v in texts.items()}) == fields


def test_a_hash_that_somebody_else_wrote_into_can_still_be_read() -> None:
    assert hash_to_state({b"note": b"[half", b"x": b"\xff"}) == {"note": "[half", "x": "�"}


def event(**more: Any) -> TradeEvent:
    return TradeEvent.create_order_created("XAUUSD", "1", "BUY", 2000.5, Decimal("0.10"), **more)


def test_a_decimal_goes_out_as_the_exact_number() -> None:
    assert b'"volume":0.10}' in encode_body(event())


def test_the_body_is_json_with_every_field_of_the_document() -> None:
    body = json.loads(encode_body(event(sl=1995, correlation_id="c", source="s")))
    assert body["event_type"] == "order.created"
    assert body["data"]["sl"] == 1995
    assert set(body) >= {"symbol", "timestamp", "correlation_id", "source", "event_id"}


def test_an_event_comes_back_from_its_channel_and_from_the_log() -> None:
    made = event(account="PA1", note="ü", legs=[1, {"a": None}])
    body = encode_body(made)
    published = decode_published(body[:-1] + b',"log_id":"5-1"}')
    logged = decode_logged(b"5-1", {b"m": body})
    for back in (published, logged):
        assert back.data == {**made.data, "volume": 0.1}
        assert (back.event_id, back.timestamp, back.account) == (
            made.event_id,
            made.timestamp,
            "PA1",
        )
        assert (back.log_id, back.anomaly) == ("5-1", None)
    assert decode_logged("5-1", {b"m": body, b"a": b"order_ended"}).anomaly == "order_ended"


NO_EVENT = r"not a trade event|not a valid TradeEventType"


@pytest.mark.parametrize(
    "payload", [b"", b"{", b"[]", b"5", b'{"event_type":"order.created"}', b'{"event_type":"x"}']
)
def test_what_is_no_event_is_told_as_such(payload: bytes) -> None:
    with pytest.raises(ValueError, match=NO_EVENT):
        decode_published(payload)
    with pytest.raises(ValueError, match=NO_EVENT):
        decode_logged(b"1-1", {b"m": payload})


def test_a_reader_ignores_fields_that_it_does_not_know() -> None:
    body = encode_body(event())[:-1] + b',"log_id":"5-1","new":[1]}'
    assert decode_published(body).log_id == "5-1"


HEAD = 10  # parts of an event before its fields: see functions.lua


def test_events_are_packed_as_one_flat_array_that_msgpack_reads() -> None:
    many = {f"note{number}": number for number in range(30)}
    parts = msgspec.msgpack.decode(
        pack_events([pack_event(event()), pack_event(event(note="x")), pack_event(event(**many))])
    )
    for names in ({"order_id"}, {"note"}, set(many)):
        assert parts[:3] == ["order.created", "XAUUSD", event().event_id]
        assert json.loads(parts[5])["symbol"] == "XAUUSD"
        end = HEAD + parts[HEAD - 1]
        assert names <= set(parts[HEAD:end:2])
        parts = parts[end:]
    assert parts == []


def test_an_executions_price_is_not_the_orders_price() -> None:
    filled = TradeEvent.create_order_filled("A", "1", 2.0, 5, filled_volume=5)
    pairs = msgspec.msgpack.decode(pack_events([pack_event(filled)]))[HEAD:]
    assert dict(zip(pairs[::2], pairs[1::2], strict=True)) == {
        "order_id": "1",
        "last_fill_price": "2.0",
        "last_fill_volume": "5",
    }


def test_a_line_for_people_holds_no_control_character() -> None:
    hostile = "a\x1b[31mb\nc"
    line = describe_event(TradeEvent.create_order_created("XAUUSD", "1", hostile, 2000.5, 0.1))
    assert line.isprintable()
    assert "a�[31mb�c 0.1 @ 2000.5" in line


def test_a_line_for_people_says_what_how_much_at_what_price_and_which_one() -> None:
    order_id = "cd25670a-e8ae-4cac-bcfb-bc0d3f1c9a55"
    at = {"timestamp": "2026-11-21T14:30:05.123456Z"}
    more = {"owner": "bot", "average_price": 187.2, "trade_id": f"{order_id}:8", **at}
    filled = TradeEvent.create_order_partially_filled(
        "AAPL", order_id, 187.25, 4, filled_volume=8, execution_id="e", **more
    )
    closed = TradeEvent.create_position_closed(
        "AAPL", f"{order_id}:8", 188.5, 12.5, closed_volume=10, direction="LONG", **at
    )
    assert re.split(r" {2,}", describe_event(filled)) == [
        "14:30:05.123",
        "AAPL",
        "order.partially_filled",
        "4 @ 187.25 (8 in all)",
        "cd25670a bot",
    ]
    assert describe_event(closed).endswith("LONG 10 @ 188.5 pnl=12.5   cd25670a:8")
    assert len(describe_event(filled)) < 100


def test_a_line_for_people_has_an_end() -> None:
    words = TradeEvent.create_order_rejected("AAPL", "1" * 128, "because " * 200)
    assert len(describe_event(words)) < 160


def test_a_line_of_json_is_what_was_published() -> None:
    body = encode_body(event())
    back = decode_published(body[:-1] + b',"log_id":"5-1"}')
    assert json.loads(event_json(back)) == json.loads(body) | {"log_id": "5-1"}


@pytest.mark.parametrize("kind", TradeEventType)
def test_every_type_has_a_line(kind: TradeEventType) -> None:
    data = {
        "order_id": "1", "position_id": "1", "trade_id": "1", "signal_id": "1", "order_type": "x",
        "price": 1, "volume": 1, "reason": "r", "entry_price": 1, "direction": "LONG",
        "exit_price": 1, "pnl": 1, "closed_volume": 1, "remaining_volume": 1, "limit": "l",
        "value": 1, "threshold": 1,
    }  # fmt: skip
    made = TradeEvent(event_type=kind, symbol="AAPL", data=data)
    assert kind.value in describe_event(made)
