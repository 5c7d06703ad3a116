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


def bodies(packed: bytes) -> list[Any]:
    return [
        decoded
        for argument in unpacked(packed)
        if argument.startswith(b"{") and (decoded := decode_typed(argument)) is not None
    ]


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
        sent = bodies(packed.packed)
        assert packed.messages == len(sent) == len(batch)
        for message in sent:
            unlogged = message.__struct_config__.tag in ("quote", "bar")
            counted_as = (message.symbol, message.__struct_config__.tag if unlogged else "")
            seqs[counted_as] = seqs.get(counted_as, 0) + 1
            assert (message.epoch, message.seq) == (EPOCH, seqs[counted_as])


@given(messages_to_send)
def test_orders_go_first_and_otherwise_the_order_stays(batch: list[BusMessage]) -> None:
    sent = [type(message) for message in bodies(packer().pack(batch).packed)]
    rank: dict[type, int] = {OrderMessage: 0, QuoteMessage: 2, BarMessage: 2}
    wanted = sorted((type(message) for message in batch), key=lambda kind: rank.get(kind, 1))
    assert sent == wanted


@given(messages_to_send)
def test_the_call_counts_its_keys_and_arguments_right(batch: list[BusMessage]) -> None:
    call = unpacked(packer().pack(batch).packed)
    assert call[:2] == [b"FCALL", FUNCTION.encode()]
    keys = call[3 : 3 + int(call[2])]
    rest = call[3 + int(call[2]) :]
    assert keys[:2] == [b"BROKER_EPOCH", b"BROKER_BATCH"]
    orders, journalled = int(rest[4]), int(rest[5])
    assert len(keys) == 2 + 2 * orders + journalled
    assert all(b"_LOG_" in key for key in keys[2:])
    unlogged = len(batch) - orders - journalled
    assert len(rest) == 6 + 3 * (orders + journalled) + 2 * unlogged
    assert orders == sum(isinstance(message, OrderMessage) for message in batch)


def test_each_journalled_message_stands_with_its_key_channel_and_id() -> None:
    order = OrderMessage(
        symbol="MSFT",
        timestamp="2026-11-21T14:30:05Z",
        event="new",
        order_data={},
        update={},
        account_id="x",
        paper=True,
        source="stream",
    )
    call = unpacked(packer(BusNames("P_")).pack([_price("AAPL"), order]).packed)
    assert call[3:8] == [
        b"P_BROKER_EPOCH",
        b"P_BROKER_BATCH",
        b"P_TICKER_LOG_MSFT",
        b"P_ORDER_LOG_MSFT",
        b"P_TICKER_LOG_AAPL",
    ]
    assert call[8:14] == [b"%d" % EPOCH, b"1", b"10000", b"604800", b"1", b"1"]
    assert call[14:16] == [b"P_TICKER_UPDATES_MSFT", b"%d-1" % EPOCH]
    assert call[17:19] == [b"P_TICKER_UPDATES_AAPL", b"%d-1" % EPOCH]


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
    (message,) = bodies(packs.pack([_price("AAPL")]).packed)
    assert message.seq == 2


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
