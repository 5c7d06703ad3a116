"""What was told of orders survives on disk; a disk that fails costs no more than that."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from main.alpaca_broker import order_record
from main.alpaca_broker.order_record import OrderRecord
from main.utils.redis.constants import BusNames

NAMES = BusNames("PAPER_")


def entry(number: int) -> tuple[bytes, bytes, bytes]:
    return b"PAPER_ORDER_LOG_AAPL", b"1700-%d" % number, b'{"text":"two words","n":%d}' % number


Reopen = Callable[..., OrderRecord]


@pytest.fixture
def reopened(tmp_path: Path) -> Iterator[Reopen]:
    """`reopened()` is what another process finds."""
    with ExitStack() as stack:

        def open_it(account: str = "account") -> OrderRecord:
            record = OrderRecord(tmp_path / "state")
            stack.callback(record.close, 5)
            record.open(NAMES, account)
            return record

        yield open_it


@pytest.fixture
def record(reopened: Reopen) -> OrderRecord:
    return reopened()


def file_of(tmp_path: Path) -> Path:
    (path,) = (tmp_path / "state").glob("orders-*.log")
    return path


def test_what_was_noted_is_there_for_the_next_broker(
    record: OrderRecord, reopened: Reopen, tmp_path: Path
) -> None:
    for number in (1, 2, 3):
        record.note(entry(number))
    record.note_reconciled("2026-11-21T10:00:00Z 2026-11-21T09:00:00Z")
    assert record.close(5)
    successor = reopened()
    assert successor.load() == [entry(1), entry(2), entry(3)]
    assert successor.load_reconciled() == "2026-11-21T10:00:00Z 2026-11-21T09:00:00Z"
    successor.note(entry(4))
    assert successor.close(5)
    assert reopened().load()[-1] == entry(4)
    assert file_of(tmp_path).stat().st_mode & 0o077 == 0, "orders are nobody else's business"


def test_another_account_has_its_own(record: OrderRecord, reopened: Reopen) -> None:
    record.note(entry(1))
    assert record.close(5)
    other = reopened("another account")
    assert other.load() == []
    assert other.close(5)


def test_without_a_folder_nothing_is_kept_and_no_thread_started() -> None:
    record = OrderRecord(None)
    record.open(NAMES, "account")
    record.note(entry(1))
    assert record.load() == []
    assert record.close(0)


def test_what_a_crash_cut_short_costs_that_line_only(
    record: OrderRecord, reopened: Reopen, tmp_path: Path
) -> None:
    record.note(entry(1))
    assert record.close(5)
    with file_of(tmp_path).open("ab") as file:
        file.write(
            b"\nPAPER_ORDER_LOG_AAPL 1700-2 {\nPAPER_ORDER_LOG_AA\n\xff\xfe 1-1\nPAPER_ORDER"
        )
    successor = reopened()
    successor.note(entry(3))
    assert successor.close(5)
    assert reopened().load() == [entry(1), entry(3)]


def test_only_so_many_of_the_newest_are_loaded(
    record: OrderRecord, reopened: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(10):
        record.note(entry(number))
    assert record.close(5)
    monkeypatch.setattr(order_record, "KEPT", 3)
    assert reopened().load() == [entry(7), entry(8), entry(9)]


def test_its_size_is_bounded_and_the_newest_stay(
    record: OrderRecord, reopened: Reopen, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(order_record, "MAX_FILE_BYTES", 1_000)
    for number in range(200):
        record.note(entry(number))
        if number % 5 == 0:  # written in several turns
            assert record.close(5)
            record.open(NAMES, "account")
    assert record.close(5)
    found = reopened().load()
    assert found == [entry(number) for number in range(200)][-len(found) :]
    assert 10 < len(found) < 60


def test_a_folder_that_cannot_be_written_costs_the_record_and_is_told(
    reopened: Reopen, tmp_path: Path
) -> None:
    (tmp_path / "state").write_text("a file, where the folder should be")
    record = reopened()
    record.note(entry(1))
    assert record.close(5)
    assert record.counters["order_record_failures"] == 1
    assert reopened().load() == []
