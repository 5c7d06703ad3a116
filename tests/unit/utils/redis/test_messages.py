"""Structs and schemas say the same, and what is written can be read."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from main.utils.redis import constants, messages
from main.utils.redis.constants import CHANNELS, SCHEMAS, TICKER_UPDATE_SCHEMA
from tests.unit.utils.redis.strategies import by_schema, price_messages, ticker_messages

VALIDATORS = {name: Draft202012Validator(schema) for name, schema in SCHEMAS.items()}
TYPES: dict[str, type[msgspec.Struct]] = {
    "price": messages.PriceMessage,
    "order": messages.OrderMessage,
    "gap": messages.GapMessage,
    "status": messages.StatusMessage,
    "correction": messages.CorrectionMessage,
    "quote": messages.QuoteMessage,
    "bar": messages.BarMessage,
    "registration": messages.RegistrationReply,
    "broker_status": messages.BrokerStatus,
    "registration_request": messages.RegistrationRequest,
}


def test_every_schema_is_a_valid_one() -> None:
    for schema in (*SCHEMAS.values(), TICKER_UPDATE_SCHEMA):
        Draft202012Validator.check_schema(schema)


@pytest.mark.parametrize("name", by_schema)
def test_every_struct_fits_its_schema_and_is_read_back_as_it_was(name: str) -> None:
    validator, kind = VALIDATORS[name], TYPES[name]

    @settings(max_examples=40)
    @given(by_schema[name])
    def check(message: Any) -> None:
        written = messages.encode(message)
        assert not list(validator.iter_errors(json.loads(written)))
        assert msgspec.json.decode(written, type=kind) == message

    check()


@pytest.mark.parametrize("name", by_schema)
def test_schema_and_struct_name_the_same_fields_and_require_the_same(name: str) -> None:
    fields = {field.encode_name: field for field in msgspec.structs.fields(TYPES[name])}
    schema = SCHEMAS[name]
    assert set(schema["properties"]) - {"type"} == set(fields)
    numbers = {"epoch", "seq"}  # the publisher gives them, so the struct can be without
    required = {field for field, value in fields.items() if value.required} | numbers & set(fields)
    if name == "gap":
        required -= {"seq"}  # the reading library's own gaps have none
    assert set(schema["required"]) - {"type"} == required


@given(ticker_messages)
def test_each_ticker_message_fits_the_combined_schema_as_exactly_one_kind(message: Any) -> None:
    validator = Draft202012Validator(TICKER_UPDATE_SCHEMA)
    assert validator.is_valid(json.loads(messages.encode(message)))
    assert messages.decode_typed(messages.encode(message)) == message


@pytest.mark.parametrize("name", by_schema)
def test_a_message_without_a_required_field_fits_neither_schema_nor_struct(name: str) -> None:
    @settings(max_examples=10)
    @given(by_schema[name], st.data())
    def check(message: Any, choice: st.DataObject) -> None:
        written = json.loads(messages.encode(message))
        numbers = {"epoch", "seq"} if name != "broker_status" else set()
        candidates = sorted(set(SCHEMAS[name]["required"]) - numbers)
        del written[choice.draw(st.sampled_from(candidates))]
        assert not VALIDATORS[name].is_valid(written)
        if "type" in written or name == "registration_request":
            with pytest.raises(msgspec.ValidationError):
                msgspec.json.decode(messages.encode(written), type=TYPES[name])

    check()


@given(price_messages)
def test_a_reader_ignores_fields_that_it_does_not_know(message: messages.PriceMessage) -> None:
    written = {**json.loads(messages.encode(message)), "added_later": {"x": 1}}
    assert messages.decode_typed(json.dumps(written).encode()) == message
    assert VALIDATORS["price"].is_valid(written)


def test_a_type_or_shape_that_is_unknown_reads_as_nothing() -> None:
    for payload in (b'{"type":"auction"}', b'{"type":"price"}', b"[]", b"7", b"{}"):
        assert messages.decode_for(CHANNELS, "TICKER_UPDATES_AAPL", payload) is None


@pytest.mark.parametrize(
    "channel", ["TICKER_UPDATES_AAPL", "BROKER_STATUS", "BROKER_REGISTRATION_REPLIES", "OTHER"]
)
@given(payload=st.binary(max_size=40))
def test_no_bytes_on_any_channel_can_raise(channel: str, payload: bytes) -> None:
    messages.decode_for(CHANNELS, channel, payload)


def test_other_channels_carry_plain_json() -> None:
    assert messages.decode_for(CHANNELS, "OTHER", b'{"type":"price"}') == {"type": "price"}
    assert messages.decode_for(CHANNELS, "OTHER", b"{") is None


def test_what_alpaca_did_not_send_is_not_written() -> None:
    message = messages.PriceMessage(
        symbol="AAPL",
        timestamp="2026-11-21T14:30:05Z",
        price=1.0,
        volume=1,
        feed="iex",
        last_eligible=True,
        backfilled=False,
    )
    assert set(json.loads(messages.encode(message))) == {
        "type",
        "symbol",
        "timestamp",
        "price",
        "volume",
        "feed",
        "last_eligible",
        "backfilled",
    }


def test_the_librarys_own_gap_fits_the_schema_without_a_number() -> None:
    gap = messages.GapMessage(
        symbol="AAPL",
        timestamp="2026-11-21T14:30:05Z",
        epoch=1,
        from_="2026-11-21T14:30:04Z",
        to="2026-11-21T14:30:05Z",
        cause="journal_expired",
        backfilled=False,
        lost=None,
    )
    written = json.loads(messages.encode(gap))
    assert "seq" not in written
    assert VALIDATORS["gap"].is_valid(written)


@given(st.integers(0, 4_000_000_000 * 10**9))
def test_timestamps_keep_every_nanosecond(unix_ns: int) -> None:
    text = messages.rfc3339(unix_ns)
    assert text.endswith("Z")
    assert int(text[-10:-1]) == unix_ns % 10**9
    assert VALIDATORS["price"].schema["properties"]["timestamp"] == constants._TIMESTAMP


@pytest.mark.parametrize(
    "request_", [{}, {"action": "buy", "ticker": "A"}, {"action": "subscribe"}]
)
def test_a_bad_request_fits_no_schema(request_: dict[str, object]) -> None:
    assert not VALIDATORS["registration_request"].is_valid(request_)


def test_a_lease_needs_a_client() -> None:
    request = {"action": "subscribe", "ticker": "AAPL", "lease_s": 60}
    assert not VALIDATORS["registration_request"].is_valid(request)
    assert VALIDATORS["registration_request"].is_valid({**request, "client_id": "me"})


@pytest.mark.parametrize("client_id", ["a b", "", "x" * 65, "a\n", "\na", "ok\u2028"])
def test_a_client_id_holds_nothing_that_could_bend_a_channels_name(client_id: str) -> None:
    request = {"action": "subscribe", "ticker": "AAPL", "client_id": client_id}
    assert not VALIDATORS["registration_request"].is_valid(request)
