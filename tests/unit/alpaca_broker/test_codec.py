"""Alpaca's frames to typed messages: nothing cut, nothing lost with what is malformed."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.msgpack import Ext

from main.alpaca_broker.codec import (
    CancelError,
    Correction,
    DailyBar,
    MinuteBar,
    Quote,
    Trade,
    TradingStatus,
    UpdatedBar,
    decode_control,
    decode_frame,
    timestamp_text,
    unix_ns,
)
from tests.unit.alpaca_broker.wire import (
    NOON_NS,
    ext32,
    ext64,
    ext96,
    packed,
    rfc3339_of,
    text,
    trade,
)

UNTIL_9999 = 253_402_300_799_999_999_999
BAR = {"S": "SPY", "o": 388.985, "h": 389.13, "l": 388.975, "c": 389.12, "v": 49378, "n": 461}


@given(st.integers(0, UNTIL_9999))
def test_a_12_byte_timestamp_keeps_every_nanosecond(moment_ns: int) -> None:
    assert unix_ns(ext96(moment_ns)) == moment_ns
    assert timestamp_text(ext96(moment_ns)) == rfc3339_of(moment_ns)


@given(st.integers(0, (1 << 34) * 1_000_000_000 - 1))
def test_an_8_byte_timestamp_keeps_every_nanosecond(moment_ns: int) -> None:
    assert unix_ns(ext64(moment_ns)) == moment_ns


@given(st.integers(0, 2**32 - 1))
def test_a_4_byte_timestamp_is_read_in_whole_seconds(seconds: int) -> None:
    assert unix_ns(ext32(seconds)) == seconds * 1_000_000_000


@given(st.integers(0, UNTIL_9999))
def test_a_timestamp_as_text_keeps_every_nanosecond(moment_ns: int) -> None:
    assert unix_ns(rfc3339_of(moment_ns)) == moment_ns


def test_a_timestamp_with_an_offset_becomes_utc() -> None:
    assert timestamp_text("2021-02-22T10:51:44.208-05:00") == "2021-02-22T15:51:44.208000000Z"


@pytest.mark.parametrize(
    "timestamp",
    [
        Ext(-1, b"\x00" * 5),
        Ext(5, b"\x00" * 8),
        ext96(-1),
        ext96(UNTIL_9999 + 1),
        Ext(-1, b"\x00" * 4 + b"\x7f" + b"\xff" * 7),
        "2021-02-22T15:51:44",
        "yesterday",
        "0001-01-01T00:00:00+23:00",
        "",
    ],
)
def test_what_is_no_moment_of_our_time_raises_value_error(timestamp: Ext | str) -> None:
    """ValueError alone: any other error would end the producer."""
    with pytest.raises(ValueError, match=r"."):
        timestamp_text(timestamp)


@pytest.mark.parametrize("frame", [packed(trade()), text(trade(t="2026-11-21T16:00:05.1Z"))])
def test_a_trade_is_read_from_both_encodings(frame: bytes | str) -> None:
    (message,), malformed = decode_frame(frame)
    assert malformed == 0
    assert isinstance(message, Trade)
    assert (message.S, message.p, message.s, message.i) == ("AAPL", 126.55, 1, 96921)
    assert (message.x, message.c, message.z) == ("D", ("@", "I"), "C")


@pytest.mark.parametrize(
    ("letter", "kind", "fields"),
    [
        ("q", Quote, {"S": "AMD", "bp": 87.66, "bs": 1, "ap": 87.68, "as": 4}),
        ("b", MinuteBar, BAR),
        ("u", UpdatedBar, BAR),
        ("d", DailyBar, BAR),
        ("s", TradingStatus, {"S": "AAPL", "sc": "H", "sm": "Trading Halt"}),
        ("c", Correction, {"S": "A", "oi": 1, "op": 1.5, "os": 2, "ci": 2, "cp": 1.6, "cs": 2}),
        ("x", CancelError, {"S": "A", "i": 1, "p": 1.5, "s": 2, "a": "C"}),
    ],
)
@pytest.mark.parametrize("pack", [packed, text])
def test_each_kind_of_message_becomes_its_own_type(letter, kind, fields, pack) -> None:
    stamp = ext64(NOON_NS) if pack is packed else "2026-11-21T16:00:05Z"
    (message,), malformed = decode_frame(pack({"T": letter, **fields, "t": stamp}))
    assert (type(message), malformed) == (kind, 0)


@pytest.mark.parametrize(
    "bad",
    [
        {"T": "n", "headline": "news"},
        {"T": "t", "S": "AAPL"},
        trade(p="126.55"),
        trade(t=5),
        trade(S=None),
        {"no": "type"},
        {"T": 7},
        None,
        17,
        [],
    ],
)
@pytest.mark.parametrize("pack", [packed, text])
def test_one_malformed_element_loses_no_other(bad, pack) -> None:
    stamp = ext64(NOON_NS) if pack is packed else "2026-11-21T16:00:05Z"
    if isinstance(bad, dict) and isinstance(bad.get("t"), Ext):
        bad = bad | {"t": stamp}
    frame = pack(trade(i=1, t=stamp), bad, trade(i=2, t=stamp))
    messages, malformed = decode_frame(frame)
    assert [message.i for message in messages] == [1, 2]
    assert malformed == 1


def test_text_that_is_not_utf8_loses_no_other_trade() -> None:
    """Such bytes raise UnicodeDecodeError, which is no error of the decoder's own."""
    bad = b"\x85\xa1T\xa1t\xa1S\xa2\xff\xff\xa1p\x01\xa1s\x01\xa1t\xc0"
    frame = b"\x93" + msgspec.msgpack.encode(trade(i=1)) + bad + msgspec.msgpack.encode(trade(i=2))
    messages, malformed = decode_frame(frame)
    assert ([message.i for message in messages], malformed) == ([1, 2], 1)


def test_an_unknown_field_is_ignored() -> None:
    (message,), malformed = decode_frame(packed(trade(r=ext64(NOON_NS), tks="B")))
    assert (message.i, malformed) == (96921, 0)


def test_what_alpaca_did_not_send_stays_unset() -> None:
    (message,), _ = decode_frame(packed(trade(i=..., x=..., c=..., z=...)))
    assert {message.i, message.x, message.c, message.z} == {msgspec.UNSET}


@given(st.floats(min_value=1e-9, max_value=1e9), st.integers(1, 2**63 - 1))
def test_a_price_keeps_its_shortest_form(price: float, size: int) -> None:
    (message,), _ = decode_frame(packed(trade(p=price, s=size)))
    assert (message.p, message.s) == (price, size)
    assert float(repr(message.p)) == price


@pytest.mark.parametrize(
    "control",
    [
        {"T": "success", "msg": "connected"},
        {"T": "error", "code": 405, "msg": "symbol limit exceeded"},
        {"T": "subscription", "trades": ["AAPL"] * 50},
        {"msg": "connected", "T": "success"},
    ],
)
@pytest.mark.parametrize("pack", [packed, text])
def test_a_control_message_is_told_from_data(control, pack) -> None:
    assert decode_control(pack(control)) == control


@pytest.mark.parametrize("pack", [packed, text])
@pytest.mark.parametrize("letter", list("tqbudscxlin"))
def test_data_is_never_taken_for_control(letter, pack) -> None:
    assert decode_control(pack({"T": letter, "S": "success", "msg": "connected"})) is None
    assert decode_control(pack({"S": "success", "T": letter})) is None
    assert decode_control(pack({"T": "success"}, {"T": letter})) is None


HOSTILE = [
    b"",
    b"\x91",
    b"\xc1",
    b"\x91\x81\xa1T\x90",
    b"\x91\x81\xa1T\x80",
    b"\x91\x81\xa2\xff\xff\x01",
    b"\x91\x82\xa1T\xa1t\xa1S\xa2\xff\xff",
    b"\x91" * 5_000,
    b"\x91\x82\xa1T\xa1t\xa1Q" + b"\x91" * 5_000 + b"\x01",
    "",
    "null",
    "{}",
    "[NaN]",
    '[{"T":[]}]',
    "[" * 50_000,
    '[{"T":"t","S":"\\ud800","p":1,"s":1,"t":"x"}]',
]


@pytest.mark.parametrize("frame", HOSTILE)
def test_a_hostile_frame_raises_nothing(frame: bytes | str) -> None:
    """An exception here would end the only thread that reads from Alpaca."""
    assert decode_control(frame) is None
    assert decode_frame(frame)[0] == []


@given(st.one_of(st.binary(max_size=200), st.text(max_size=200)))
def test_no_bytes_at_all_make_the_codec_raise(frame: bytes | str) -> None:
    decode_control(frame)
    messages, malformed = decode_frame(frame)
    assert malformed >= 0
    assert isinstance(messages, list)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
    ),
    max_leaves=8,
)


@given(st.lists(st.one_of(st.just(None), json_values), max_size=6))
def test_every_good_element_survives_any_company(company: list[object]) -> None:
    elements = [trade(i=number) if e is None else e for number, e in enumerate(company)]
    expected = [number for number, e in enumerate(company) if e is None]
    messages, malformed = decode_frame(packed(*elements))
    found = [m.i for m in messages if isinstance(m, Trade) and m.S == "AAPL"]
    assert found == expected
    assert malformed + len(messages) == len(elements)
