"""The registrations in Redis: what is written is what comes back."""

from __future__ import annotations

from collections.abc import Iterator

import fakeredis
import pytest
import redis
from hypothesis import given
from hypothesis import strategies as st

from main.alpaca_broker.lease_store import LeaseStore
from main.alpaca_broker.registry import Holding
from main.utils.redis.constants import BusNames

NAMES = BusNames("PAPER_")


@pytest.fixture
def client() -> Iterator[fakeredis.FakeRedis]:
    with fakeredis.FakeRedis() as fake:
        yield fake


def held(ticker: str, client_id: str = "", until_ms: int | None = None, **fields) -> Holding:
    return Holding(ticker=ticker, client_id=client_id, until_ms=until_ms, **fields)


holdings = st.builds(
    Holding,
    ticker=st.sampled_from(["AAPL", "BRK.B", "BTC/USD"]),
    client_id=st.sampled_from(["", "a", "a@b.c", "x-1"]),
    until_ms=st.none() | st.integers(1, 10**14),
    data=st.sets(st.sampled_from(["trades", "quotes", "bars"]), min_size=1).map(frozenset),
    lease_s=st.none() | st.integers(1, 86_400),
)


@given(st.lists(holdings, unique_by=lambda holding: holding.key))
def test_what_is_written_comes_back(some: list[Holding]) -> None:
    with fakeredis.FakeRedis() as client:
        store = LeaseStore(client, NAMES)
        store.write(some, [])
        assert {h.key: h for h in store.load()} == {h.key: h for h in some}


def test_a_release_removes_one_holder_and_no_other(client: fakeredis.FakeRedis) -> None:
    store = LeaseStore(client, NAMES)
    store.write([held("AAPL"), held("AAPL", "a"), held("MSFT", "a")], [])
    store.write([], [held("AAPL", "a")])
    assert {h.key for h in store.load()} == {("AAPL", ""), ("MSFT", "a")}


def test_one_that_is_held_again_in_the_same_step_stays(client: fakeredis.FakeRedis) -> None:
    store = LeaseStore(client, NAMES)
    store.write([held("AAPL", "a", until_ms=5)], [held("AAPL", "a")])
    assert [h.until_ms for h in store.load()] == [5]


def test_nothing_to_write_writes_nothing(client: fakeredis.FakeRedis) -> None:
    LeaseStore(client, NAMES).write([], [])
    assert client.keys() == []


@pytest.mark.parametrize(
    "value",
    [
        *(b"", b"{", b"[]", b'{"ticker":"AAPL"}', b"\xff", b'{"ticker":"\xff"}'),
        # What no request could have made, and would stop the broker's start.
        b'{"ticker":"no such","client_id":"b","until_ms":null,"data":["trades"]}',
        b'{"ticker":"msft","client_id":"b","until_ms":null,"data":["trades"]}',
        b'{"ticker":"MSFT","client_id":"b","until_ms":null,"data":["rumours"]}',
        b'{"ticker":"MSFT","client_id":"b","until_ms":null,"data":[]}',
    ],
)
def test_an_unreadable_one_hides_no_other_and_is_left_where_it_is(
    client: fakeredis.FakeRedis, value: bytes
) -> None:
    store = LeaseStore(client, NAMES)
    store.write([held("AAPL", "a")], [])
    client.hset(NAMES.BROKER_LEASES, "MSFT|b", value)
    assert [h.ticker for h in store.load()] == ["AAPL"]
    assert client.hget(NAMES.BROKER_LEASES, "MSFT|b") == value


def test_the_key_keeps_to_the_prefix(client: fakeredis.FakeRedis) -> None:
    LeaseStore(client, NAMES).write([held("AAPL")], [])
    assert client.keys() == [b"PAPER_BROKER_LEASES"]


def test_a_foreign_value_under_its_key_is_named_in_the_error(client: fakeredis.FakeRedis) -> None:
    client.set(NAMES.BROKER_LEASES, "something else")
    with pytest.raises(redis.ResponseError, match="PAPER_BROKER_LEASES"):
        LeaseStore(client, NAMES).load()
