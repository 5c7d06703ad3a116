"""Alpaca's messages in the trade's own words, each as the wire's schemas want it."""

from __future__ import annotations

import json
import math
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from msgspec.msgpack import Ext

from main.alpaca_broker.frame_buffer import LATE_NS, Frame, fold
from main.alpaca_broker.order_messages import order_messages
from main.alpaca_broker.rest import Account
from main.alpaca_broker.translate import MarketTranslator
from main.utils.redis.batch import JournalBounds, Packer
from main.utils.redis.constants import SCHEMAS, BusNames
from main.utils.redis.messages import BusMessage, OrderMessage
from tests.unit.alpaca_broker.wire import NOON_NS, ext64, ext96, packed, rfc3339_of, trade

ACCOUNT = Account(id="11111111-2222-3333-4444-555555555555", number="PA0001", paper=True)
AT = ext64(NOON_NS)
BAR = {"S": "SPY", "o": 388.985, "h": 389.13, "l": 388.975, "c": 389.12, "v": 49378, "n": 461}
BAR |= {"vw": 389.062639, "t": AT}


def translate(*elements: object, feed: str = "iex") -> list[BusMessage]:
    return MarketTranslator().read_frame(Frame(feed, packed(*elements), NOON_NS))


def on_the_wire(message: BusMessage) -> dict[str, Any]:
    """Numbered and encoded by the publisher's own packer."""
    batch = Packer(BusNames(), 1_700_000_000_000, JournalBounds()).pack([message])
    fields: dict[str, Any] = json.loads(re.findall(rb'{"type":.*}', batch.call())[0])
    Draft202012Validator(SCHEMAS[fields["type"]]).validate(fields)
    assert (fields["epoch"], fields["seq"]) == (1_700_000_000_000, 1)
    return fields


def test_a_trade_becomes_a_price() -> None:
    (message,) = translate(trade())
    assert on_the_wire(message) == {
        "type": "price",
        "symbol": "AAPL",
        "timestamp": rfc3339_of(NOON_NS),
        "price": 126.55,
        "volume": 1,
        "trade_id": 96921,
        "exchange": "D",
        "conditions": ["@", "I"],
        "tape": "C",
        "feed": "iex",
        "last_eligible": False,
        "backfilled": False,
        "epoch": 1_700_000_000_000,
        "seq": 1,
    }


def test_what_alpaca_did_not_send_is_absent() -> None:
    (message,) = translate(
        {"T": "t", "S": "BTC/USD", "p": 67_000.5, "s": 0.00012, "t": AT}, feed="crypto"
    )
    fields = on_the_wire(message)
    assert not {"trade_id", "exchange", "conditions", "tape"} & set(fields)
    assert (fields["volume"], fields["feed"], fields["last_eligible"]) == (0.00012, "crypto", True)


def test_null_conditions_are_absent_and_leave_the_trade_eligible() -> None:
    (message,) = translate(trade(c=None))
    fields = on_the_wire(message)
    assert "conditions" not in fields
    assert fields["last_eligible"] is True


@pytest.mark.parametrize(
    ("element", "expected"),
    [
        (
            {"T": "q", "S": "AMD", "bx": "U", "bp": 87.66, "bs": 1, "ax": "Q", "ap": 87.68, "as": 4}
            | {"t": AT, "c": ["R"], "z": "C"},
            {"type": "quote", "bid_price": 87.66, "bid_size": 1, "ask_price": 87.68, "ask_size": 4}
            | {"bid_exchange": "U", "ask_exchange": "Q", "conditions": ["R"], "tape": "C"},
        ),
        (
            {"T": "b", **BAR},
            {"type": "bar", "open": 388.985, "high": 389.13, "low": 388.975, "close": 389.12}
            | {"volume": 49378, "trade_count": 461, "vwap": 389.062639, "interval": "minute"},
        ),
        ({"T": "u", **BAR}, {"interval": "updated"}),
        ({"T": "d", **BAR}, {"interval": "day"}),
        (
            {"T": "s", "S": "AAPL", "sc": "H", "sm": "Trading Halt", "rc": "T12", "rm": "Info"}
            | {"t": AT, "z": "C"},
            {"type": "status", "code": "H", "message": "Trading Halt", "reason_code": "T12"}
            | {"reason_message": "Info", "tape": "C"},
        ),
        (
            {"T": "c", "S": "AAPL", "x": "V", "oi": 1, "op": 1.5, "os": 10, "oc": ["@"]}
            | {"ci": 2, "cp": 1.6, "cs": 10, "cc": ["@"], "t": AT, "z": "C"},
            {
                "type": "correction",
                "original": {"trade_id": 1, "price": 1.5, "volume": 10, "conditions": ["@"]}
                | {"exchange": "V", "tape": "C"},
                "corrected": {"trade_id": 2, "price": 1.6, "volume": 10, "conditions": ["@"]}
                | {"exchange": "V", "tape": "C"},
            },
        ),
        (
            {"T": "x", "S": "AAPL", "i": 1, "x": "V", "p": 1.5, "s": 10, "a": "C", "t": AT},
            {
                "type": "correction",
                "original": {"trade_id": 1, "price": 1.5, "volume": 10, "exchange": "V"}
                | {"action": "C"},
                "corrected": None,
            },
        ),
    ],
)
def test_every_other_kind_becomes_its_own_message(element, expected) -> None:
    (message,) = translate(element)
    fields = on_the_wire(message)
    assert {key: fields.get(key) for key in expected} == expected
    assert fields["timestamp"] == rfc3339_of(NOON_NS)


@pytest.mark.parametrize(
    "bad",
    [
        trade(p=0.0),
        trade(p=-1.0),
        trade(p=math.nan),
        trade(p=math.inf),
        trade(s=-1),
        trade(s=math.nan),
        trade(s=math.inf),
        trade(t=Ext(-1, b"")),
        trade(t="not a time"),
        trade(t=ext96(-5)),
        trade(t=Ext(-1, b"\x00" * 4 + b"\x7f" + b"\xff" * 7)),
        {"T": "q", "S": "A", "bp": math.nan, "bs": 1, "ap": 1.0, "as": 1, "t": AT},
        {"T": "q", "S": "A", "bp": 1.0, "bs": -1, "ap": 1.0, "as": 1, "t": AT},
        {"T": "b", **BAR, "h": math.inf},
        {"T": "s", "S": "A", "sc": "H", "t": "never"},
    ],
)
def test_what_cannot_be_is_counted_and_loses_no_other(bad: dict[str, Any]) -> None:
    translator = MarketTranslator()
    frame = Frame("iex", packed(trade(i=1), bad, trade(i=2)), NOON_NS)
    messages = translator.read_frame(frame)
    assert [message.trade_id for message in messages] == [1, 2]  # type: ignore[union-attr]
    assert translator.counters["malformed"] == 1


@given(
    st.floats(min_value=1e-8, max_value=1e7),
    st.integers(0, 10**12) | st.floats(0, 1e9),
    st.integers(0, 2**33 * 10**9),
)
def test_no_price_size_or_nanosecond_is_rounded(price: float, size: float, at_ns: int) -> None:
    (message,) = translate(trade(p=price, s=size, t=ext64(at_ns)))
    fields = on_the_wire(message)
    assert (fields["price"], fields["volume"]) == (price, size)
    assert fields["timestamp"] == rfc3339_of(at_ns)


def test_a_timestamp_with_too_many_nanoseconds_never_reaches_the_wire() -> None:
    """Thirty bits hold more of them than a second has."""
    over = Ext(-1, (1_073_741_823 << 34 | 1_795_276_805).to_bytes(8))
    for message in translate(trade(t=over)):
        on_the_wire(message)


def test_a_fold_is_told_as_a_gap_before_what_is_left() -> None:
    frames = [Frame("iex", packed(trade(i=n, p=float(n))), NOON_NS + n) for n in (1, 2, 3)]
    gap, last = MarketTranslator().read_folded(fold(frames, "redis_unavailable"))
    fields = on_the_wire(gap)
    assert (fields["cause"], fields["lost"], fields["backfilled"]) == (
        "redis_unavailable",
        2,
        False,
    )
    begun_ns = NOON_NS + 1 - LATE_NS  # it happened before it was received
    assert (fields["from"], fields["to"]) == (rfc3339_of(begun_ns), rfc3339_of(NOON_NS + 3))
    assert on_the_wire(last)["trade_id"] == 3


def test_halts_are_remembered_until_trading_resumes() -> None:
    translator = MarketTranslator()
    for code, halted in (("H", {"AAPL"}), ("Q", {"AAPL"}), ("T", set())):
        status = {"T": "s", "S": "AAPL", "sc": code, "t": AT}
        translator.read_frame(Frame("iex", packed(status), NOON_NS))
        assert translator.halted == halted


# -- orders

ORDER: dict[str, Any] = {
    "id": "61e69015-8549-4bfd-b9c3-01e75843f47d",
    "client_order_id": "desk:1",
    "symbol": "AAPL",
    "asset_class": "us_equity",
    "qty": "10.50",
    "notional": None,
    "filled_avg_price": "100.10",
    "legs": None,
    "hwm": None,
    "updated_at": "2021-03-16T14:39:14.583123456-04:00",
    "a_key_of_tomorrow": {"deep": [1, "2"]},
}
FILL = {
    "event": "fill",
    "execution_id": "2f63ea93",
    "timestamp": "2021-03-16T18:38:01.942282123Z",
    "price": "179.08",
    "qty": "100",
    "position_qty": "100",
    "order": ORDER,
}


def orders(update: dict[str, Any]) -> list[OrderMessage]:
    return order_messages(update, ACCOUNT, pair=lambda symbol: f"{symbol[:3]}/{symbol[3:]}")


def test_an_order_update_stays_verbatim() -> None:
    (message,) = orders(FILL)
    fields = on_the_wire(message)
    assert fields["order_data"] == ORDER
    assert fields["update"] == {k: v for k, v in FILL.items() if k not in ("event", "order")}
    assert (fields["event"], fields["symbol"], fields["source"]) == ("fill", "AAPL", "stream")
    assert (fields["account_id"], fields["paper"]) == (ACCOUNT.id, True)
    assert fields["timestamp"] == "2021-03-16T18:38:01.942282123Z"


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"at": "2021-03-16T18:38:02Z"}, "2021-03-16T18:38:02.000000000Z"),
        ({}, "2021-03-16T18:39:14.583123456Z"),
        ({"timestamp": "soon"}, "2021-03-16T18:39:14.583123456Z"),
        ({"timestamp": "0001-01-01T00:00:00Z"}, "2021-03-16T18:39:14.583123456Z"),
    ],
)
def test_its_time_is_found_wherever_alpaca_put_it(fields, expected) -> None:
    (message,) = orders({"event": "new", "order": ORDER, **fields})
    assert on_the_wire(message)["timestamp"] == expected


def test_a_multi_leg_order_goes_to_each_legs_channel_once() -> None:
    legs = [{"symbol": s} for s in ("AAPL250117C00150000", "AAPL250117C00160000")]
    order = ORDER | {"symbol": "", "asset_class": "", "legs": [*legs, legs[0]]}
    messages = orders(FILL | {"order": order})
    assert [m.symbol for m in messages] == ["AAPL250117C00150000", "AAPL250117C00160000"]
    assert all(on_the_wire(m)["order_data"] == order for m in messages)


def test_a_bracket_order_has_legs_and_a_symbol_and_goes_to_its_symbol_once() -> None:
    assert [m.symbol for m in orders(FILL | {"order": ORDER | {"legs": [{"symbol": "X"}]}})] == [
        "AAPL"
    ]


def test_a_crypto_order_is_told_on_its_pairs_channel() -> None:
    order = ORDER | {"symbol": "BTCUSD", "asset_class": "crypto"}
    assert [m.symbol for m in orders(FILL | {"order": order})] == ["BTC/USD"]


@pytest.mark.parametrize(
    "order",
    [
        ORDER | {"symbol": None},
        ORDER | {"symbol": 7},
        ORDER | {"symbol": ""},
        ORDER | {"symbol": "A\nB"},
        ORDER | {"symbol": "X" * 40},
        ORDER | {"symbol": "", "legs": [{"symbol": None}]},
        {},
        None,
        "an order",
    ],
)
def test_an_order_without_a_usable_symbol_is_unrouted_and_never_dropped(order: object) -> None:
    (message,) = orders({"event": "new", "order": order})
    assert on_the_wire(message)["symbol"] == "_UNROUTED"


def test_legs_that_are_no_objects_leave_the_order_unrouted() -> None:
    messages = orders({"event": "new", "order": {"symbol": "", "legs": [None, 7]}})
    assert [m.symbol for m in messages] == ["_UNROUTED"]


@pytest.mark.parametrize("event", ["order_replace_rejected", "an_event_of_tomorrow", None, 7])
def test_events_are_an_open_set(event: object) -> None:
    (message,) = orders({"event": event, "order": ORDER})
    assert on_the_wire(message)["event"] == str(event)
