"""Numbering and packing: what the server-side function is called with."""

from __future__ import annotations

from typing import Any

import hiredis
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from main.utils.redis.batch import FUNCTION, JournalBounds, Packer
from main.utils.redis.constants import BusNames
from main.utils.redis.errors import InvalidTicker
from main.utils.redis.messages import (
    BarMessage,
    BusMessage,
    OrderMessage,
    PriceMessage,
    QuoteMessage,
    decode_typed,
)
from tests.unit.utils.redis.strategies import (
    bar_messages,
    order_messages,
    price_messages,
    quote_messages,
    status_messages,
)

EPOCH = 1_795_000_000_000


def _unnumbered(message: Any) -> Any:
    return msgspec.structs.replace(message, epoch=0, seq=0)


messages_to_send = st.lists(
    st.one_of(price_messages, order_messages, quote_messages, bar_messages, status_messages).map(
        _unnumbered
    ),
    max_size=12,
)


def unpacked(packed: bytes) -> list[bytes]:
    """The call's arguments, as a server reads them."""
    reader = hiredis.Reader()
    reader.feed(packed)
    arguments = reader.gets()
    assert isinstance(arguments, list)
    assert reader.gets() is False, "more bytes than one call"
    return arguments


class Call(msgspec.Struct, array_like=True):
    """What the last argument carries, as the function takes it apart."""

    channels: list[str]
    places: list[int]
    ids: list[str]
    bodies: list[str]
    bounds: list[int | bool]
    unlogged: list[str]


def entries(packed: bytes) -> Call:
    return msgspec.msgpack.decode(unpacked(packed)[-1], type=Call)


def bodies(packed: bytes) -> list[Any]:
    call = entries(packed)
    return [decode_typed(body.encode()) for body in call.bodies + call.unlogged[1::2]]


def packer(names: BusNames | None = None) -> Packer:
    return Packer(names or BusNames(), EPOCH, JournalBounds())


@settings(max_examples=40)
@given(st.lists(messages_to_send, max_size=3))
def test_every_message_goes_once_with_the_next_number_of_its_channel(
    batches: list[list[BusMessage]],
) -> None:
    packs, seqs = packer(), dict[Any, int]()
    for batch in batches:
        packed = packs.pack(batch)
        sent = bodies(packed.call())
        assert packed.messages == len(sent) == len(batch)
        for message in sent:
            unlogged = message.__struct_config__.tag in ("quote", "bar")
            counted_as = (message.symbol, message.__struct_config__.tag if unlogged else "")
            seqs[counted_as] = seqs.get(counted_as, 0) + 1
            assert (message.epoch, message.seq) == (EPOCH, seqs[counted_as])


@given(messages_to_send)
def test_orders_go_first_and_otherwise_the_order_stays(batch: list[BusMessage]) -> None:
    sent = [type(message) for message in bodies(packer().pack(batch).call())]
    rank: dict[type, int] = {OrderMessage: 0, QuoteMessage: 2, BarMessage: 2}
    wanted = sorted((type(message) for message in batch), key=lambda kind: rank.get(kind, 1))
    assert sent == wanted


@given(messages_to_send)
def test_the_call_counts_its_keys_and_messages_right(batch: list[BusMessage]) -> None:
    packed = packer().pack(batch)
    call = unpacked(packed.call())
    assert call[:2] == [b"FCALL", FUNCTION.encode()]
    keys = call[3 : 3 + int(call[2])]
    assert len(call) == 3 + len(keys) + 6
    assert keys[:2] == [b"BROKER_EPOCH", b"BROKER_BATCH"]
    orders, found = int(call[-2]), entries(packed.call())
    assert (
        orders == len(packed.orders) == sum(isinstance(message, OrderMessage) for message in batch)
    )
    logs = keys[2 : 2 + len(found.channels)]
    assert all(log.startswith(b"TICKER_LOG_") for log in logs)
    with_orders = len(set(found.places[:orders]))
    assert set(found.places[:orders]) == set(range(1, with_orders + 1)), "at the tickers' head"
    order_logs = keys[2 + len(found.channels) :]
    assert order_logs == [log.replace(b"TICKER", b"ORDER") for log in logs[:with_orders]]
    assert len(found.places) == len(found.ids) == len(found.bodies) == len(found.bounds)
    assert len(found.bodies) + len(found.unlogged) // 2 == packed.messages == len(batch)


def test_each_journalled_message_stands_with_its_key_channel_and_id() -> None:
    batch = [_price("AAPL"), _order("MSFT"), _price("MSFT")]
    packed = packer(BusNames("P_")).pack(batch).call()
    call = unpacked(packed)
    assert call[3:-6] == [
        b"P_BROKER_EPOCH",
        b"P_BROKER_BATCH",
        b"P_TICKER_LOG_MSFT",
        b"P_TICKER_LOG_AAPL",
        b"P_ORDER_LOG_MSFT",
    ]
    assert call[-6:-1] == [b"%d" % EPOCH, b"1", b"0", b"604800", b"1"]
    found = entries(packed)
    assert found.channels == ["P_TICKER_UPDATES_MSFT", "P_TICKER_UPDATES_AAPL"]
    assert found.places == [1, 2, 1]
    assert found.ids == [f"{EPOCH}-1", f"{EPOCH}-1", f"{EPOCH}-2"]


def test_a_journal_is_trimmed_now_and_then() -> None:
    packs = packer()
    bounds = entries(packs.pack([_price("AAPL")] * 40).call()).bounds
    assert [seq for seq, bound in enumerate(bounds, 1) if bound] == [16, 32]
    assert bounds[15] == 10_000
    assert entries(packs.pack([_price("AAPL")] * 10).call()).bounds[7] == 10_000, "the 48th"


def test_text_beyond_ascii_stays_as_it_is() -> None:
    order = msgspec.structs.replace(_order("AAPL"), order_data={"note": "Ä→𝄞\n}\n"}, update={})
    (message,) = bodies(packer().pack([order]).call())
    assert message.order_data == order.order_data


def test_the_journals_share_their_memory_among_all_tickers() -> None:
    bounds = JournalBounds(max_per_ticker=10_000, max_mb=1, entry_bytes=256)
    assert bounds.per_ticker(0) == bounds.per_ticker(1) == 4_096
    assert bounds.per_ticker(10) == 409
    assert bounds.per_ticker(1_000) == 100, "never fewer than 100"
    assert JournalBounds().per_ticker(30) == 10_000


def test_symbols_that_only_orders_are_of_take_no_share_from_those_that_are_followed() -> None:
    packer = Packer(BusNames(), EPOCH, JournalBounds(max_mb=1, entry_bytes=256))
    packer.tickers = 2
    options = [f"AAPL2612{day:02}C00200000" for day in range(1, 29)]
    for symbol in options:
        packer.pack([_order(symbol)])
    assert packer.journal_bound == 2_048
    packer.tickers = None
    assert packer.journal_bound < 200, "nobody said how many are followed"


def test_a_symbol_that_cannot_name_a_channel_spoils_no_number() -> None:
    packs = packer()
    packs.pack([_price("AAPL")])
    with pytest.raises(InvalidTicker):
        packs.pack([_price("AAPL"), _price("no such\n")])
    (message,) = bodies(packs.pack([_price("AAPL")]).call())
    assert message.seq == 2


def _order(symbol: str) -> OrderMessage:
    return OrderMessage(
        symbol=symbol,
        timestamp="2026-11-21T14:30:05Z",
        event="new",
        order_data={},
        update={},
        account_id="x",
        paper=True,
        source="stream",
    )


def _price(symbol: str) -> PriceMessage:
    return PriceMessage(
        symbol=symbol,
        timestamp="2026-11-21T14:30:05Z",
        price=1.0,
        volume=1,
        feed="iex",
        last_eligible=True,
        backfilled=False,
    )


def _order(symbol: str) -> OrderMessage:
    return OrderMessage(
        symbol=symbol,
        timestamp="2026-11-21T15:00:00Z",
        event="new",
        order_data={},
        update={},
        account_id="a",
        paper=True,
        source="stream",
    )
