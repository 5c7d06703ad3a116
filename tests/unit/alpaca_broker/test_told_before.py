"""What earlier runs told of orders is read back page by page, by the moments of the events."""

from __future__ import annotations

import fakeredis
import pytest

from main.alpaca_broker import told_before
from main.alpaca_broker.order_ledger import OrderLedger
from main.alpaca_broker.told_before import load_ledger
from main.utils.redis.constants import BusNames
from main.utils.redis.messages import OrderMessage, encode


def order(number: int, symbol: str = "AAPL") -> OrderMessage:
    return OrderMessage(
        symbol=symbol,
        timestamp=f"2026-11-20T15:00:{number:02d}.000000000Z",
        event="new",
        order_data={"id": f"o{number}"},
        update={},
        account_id="a",
        paper=True,
        source="stream",
    )


def body(number: int, symbol: str = "AAPL") -> bytes:
    return encode(order(number, symbol))


class Journals:
    def __init__(self) -> None:
        self.redis, self.ledger = fakeredis.FakeRedis(), OrderLedger()

    def write(self, symbol: str, *numbers: int) -> None:
        for number in numbers:
            fields = {"m": body(number, symbol)}
            self.redis.xadd(f"ORDER_LOG_{symbol}", fields, id=f"1-{number + 1}")

    def load(self, *known: tuple[bytes, bytes, bytes]) -> list[tuple[bytes, bytes, bytes]]:
        return load_ledger(self.redis, BusNames(), self.ledger, known)


@pytest.fixture
def journals() -> Journals:
    return Journals()


def test_all_journals_are_read_whatever_their_size_and_told_in_the_order_of_events(
    journals: Journals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(told_before, "_PAGE", 3)
    journals.write("AAPL", 0, 2, 4, 6, 8, 10, 12)
    journals.write("MSFT", 1, 3, 5)
    found = [(journal, body_) for journal, _, body_ in journals.load()]
    expected = sorted([*range(0, 13, 2), 1, 3, 5])
    symbols = {n: "MSFT" if n in (1, 3, 5) else "AAPL" for n in expected}
    assert found == [(b"ORDER_LOG_" + symbols[n].encode(), body(n, symbols[n])) for n in expected]
    assert journals.ledger.open_orders() == {f"o{n}" for n in expected}


def test_what_is_known_besides_fills_the_holes_and_repeats_nothing(journals: Journals) -> None:
    journals.write("AAPL", 1, 3)
    known = [(b"ORDER_LOG_AAPL", b"1-%d" % (n + 1), body(n)) for n in (0, 1, 2)]
    found = journals.load(*known, (b"ORDER_LOG_GONE", b"1-1", body(9, "GONE")))
    assert [entry_id for _, entry_id, _ in found] == [b"1-1", b"1-2", b"1-3", b"1-4", b"1-1"]


def test_only_the_newest_are_kept_and_all_are_noted(
    journals: Journals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(told_before, "KEPT", 2)
    journals.write("AAPL", 0, 1, 2, 3)
    assert [body_ for _, _, body_ in journals.load()] == [body(2), body(3)]
    assert len(journals.ledger.open_orders()) == 4


def test_what_is_no_order_message_is_passed_over(journals: Journals) -> None:
    journals.redis.xadd("ORDER_LOG_AAPL", {"x": "1"}, id="1-1")
    journals.redis.xadd("ORDER_LOG_AAPL", {"m": "{"}, id="1-2")
    journals.redis.set("ORDER_LOG_TEXT", "no journal")
    journals.write("AAPL", 5)
    assert [body_ for _, _, body_ in journals.load()] == [body(5)]
