"""Messages become rows: the payload stays as it is, the columns are taken from it."""

from __future__ import annotations

import pyarrow as pa
import pytest

from main.recorder.table import SCHEMA, Row, to_table
from tests.unit.recorder.rows import NOON_NS, payload, row


def test_a_trade_fills_every_column_to_the_nanosecond() -> None:
    table = to_table([row(7)])
    assert table.schema.equals(SCHEMA)
    (found,) = table.to_pylist()
    moments = {name: table.column(name)[0].value for name in ("recorded_at", "timestamp")}
    assert moments == {
        "recorded_at": NOON_NS + 7_000_000,
        "timestamp": NOON_NS + 7_123_456_789,
    }
    del found["recorded_at"], found["timestamp"]
    assert found == {
        "channel": "TICKER_UPDATES_AAPL",
        "symbol": "AAPL",
        "type": "price",
        "epoch": 17,
        "seq": 7,
        "price": 0.07,
        "volume": 10.0,
        "last_eligible": True,
        "payload": payload(7),
    }


def test_what_a_message_does_not_have_is_null() -> None:
    text = '{"type":"order","symbol":"AAPL","epoch":17,"seq":1,"event":"fill"}'
    (found,) = to_table([Row(1, "TICKER_UPDATES_AAPL", text)]).to_pylist()
    assert [found[name] for name in ("timestamp", "price", "volume", "last_eligible")] == [None] * 4
    assert found["payload"] == text


@pytest.mark.parametrize(
    "strange",
    ["{", "7", "[]", '{"type":7}', '{"epoch":"x"}', '{"price":"1.5"}', ""],
)
def test_a_payload_of_another_shape_is_kept_and_spoils_no_other_row(strange: str) -> None:
    table = to_table([row(1), Row(NOON_NS, "TICKER_UPDATES_AAPL", strange), row(2)])
    assert table.column("payload").to_pylist() == [payload(1), strange, payload(2)]
    assert table.column("seq").to_pylist() == [1, 0, 2]


def test_a_timestamp_that_is_none_is_null_and_spoils_no_other_row() -> None:
    late = Row(1, "TICKER_UPDATES_AAPL", payload(3, timestamp="yesterday"))
    moments = to_table([row(1), late]).column("timestamp")
    assert moments[0].value == NOON_NS + 1_123_456_789
    assert not moments[1].is_valid


def test_rows_without_a_message_are_a_table_too() -> None:
    assert to_table([]).schema.equals(SCHEMA)
    assert pa.concat_tables([to_table([]), to_table([row(1)])]).num_rows == 1
