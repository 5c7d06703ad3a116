"""Both encodings of the market-data streams."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import msgpack
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from main.alpaca_sim.encoding import JSON, MSGPACK, encoding_for, pack_timestamp
from main.alpaca_sim.messages import Timestamp, Trade, rfc3339

TRADE = Trade(
    symbol="AAPL",
    trade_id=96921,
    exchange="D",
    price=126.55,
    size=1,
    conditions=("@", "I"),
    timestamp=Timestamp(1_614_009_104_208_000_000),
    tape="C",
)


def test_json_is_as_the_documentation_shows_it() -> None:
    assert json.loads(JSON.frame([JSON.encode(TRADE)])) == [
        {
            "T": "t",
            "i": 96921,
            "S": "AAPL",
            "x": "D",
            "p": 126.55,
            "s": 1,
            "t": "2021-02-22T15:51:44.208Z",
            "c": ["@", "I"],
            "z": "C",
        }
    ]


def test_t_is_the_first_key_in_both_encodings() -> None:
    assert JSON.encode(TRADE).startswith(b'{"T":"t"')
    assert next(iter(msgpack.unpackb(MSGPACK.encode(TRADE)))) == "T"


@settings(deadline=None)
@given(st.integers(min_value=0, max_value=4_000_000_000_000_000_000))
def test_timestamps_keep_every_nanosecond(ns: int) -> None:
    unpacked = msgpack.unpackb(MSGPACK.encode(Timestamp(ns)))
    assert unpacked.to_unix_nano() == ns
    text = rfc3339(ns)
    assert text.endswith("Z")
    whole = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=ns // 1_000_000_000)
    assert text[:19] == whole.isoformat()[:19]
    fraction = text[19:-1].lstrip(".")
    assert int(fraction.ljust(9, "0") or 0) == ns % 1_000_000_000
    assert not fraction.endswith("0")


@pytest.mark.parametrize("ns", [-1, 1 << 64, -(10**18)])
def test_times_beyond_64_bits_take_the_long_form(ns: int) -> None:
    assert len(pack_timestamp(ns)) == 12
    assert msgpack.Timestamp.from_bytes(pack_timestamp(ns)).to_unix_nano() == ns


@pytest.mark.parametrize("count", [0, 1, 15, 16, 300, 70_000])
def test_frames_of_every_length_are_arrays(count: int) -> None:
    assert len(msgpack.unpackb(MSGPACK.frame([b"\x01"] * count))) == count
    assert len(json.loads(JSON.frame([b"1"] * count))) == count


def test_the_content_type_chooses_the_encoding() -> None:
    assert encoding_for("application/msgpack") is MSGPACK
    assert encoding_for("application/json") is JSON
    assert encoding_for(None) is JSON


@pytest.mark.parametrize("frame", [b"\xc1", b"\x92\x01", b"\xa4abc"])
def test_garbage_is_a_value_error(frame: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011  (msgspec's words are not ours)
        MSGPACK.decode(frame)
    with pytest.raises(ValueError):  # noqa: PT011
        JSON.decode(frame)


def test_a_msgpack_client_may_send_json_text() -> None:
    assert MSGPACK.decode('{"action":"auth"}') == {"action": "auth"}
