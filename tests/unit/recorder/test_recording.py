"""What was recorded, read back."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from main.recorder.errors import NotARecording
from main.recorder.pace import Pace
from main.recorder.parts import write_part
from main.recorder.recording import Recording
from main.recorder.table import to_table
from main.recorder.unlogged import UnloggedWatch
from main.utils.redis.gap_tracker import Place
from main.utils.redis.messages import GapMessage, decode_typed
from tests.unit.recorder.rows import NOON_NS, part, payload, row


def test_a_folder_of_days_is_read_in_their_order(tmp_path: Path) -> None:
    for day, seq in (("2026-11-21", 2), ("2026-11-20", 1)):
        folder = tmp_path / f"{day}.parquet"
        folder.mkdir()
        part(folder, 1, seq)
    recording = Recording(tmp_path)
    assert [each.seq for each in recording.rows()] == [1, 2]
    assert recording.span() == (NOON_NS + 1_000_000, NOON_NS + 2_000_000)
    assert recording.row_count == 2


def test_the_last_place_of_a_channel_is_its_last_row_though_its_epoch_be_lower(
    tmp_path: Path,
) -> None:
    rows = [row(8, epoch=20), row(1, epoch=17), row(5, channel="TICKER_QUOTES_AAPL")]
    gap = row(0)
    write_part(tmp_path, 1, to_table([*rows, gap]))
    assert Recording(tmp_path).last_places() == {
        "TICKER_UPDATES_AAPL": Place(17, 1),
        "TICKER_QUOTES_AAPL": Place(17, 5),
    }
    assert Recording(tmp_path).channels() == {"TICKER_UPDATES_AAPL", "TICKER_QUOTES_AAPL"}


def test_what_no_recorder_wrote_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(NotARecording, match="there is no such file"):
        Recording(tmp_path / "gone")
    with pytest.raises(NotARecording, match="no Parquet file of a recorder"):
        Recording(tmp_path)
    text = tmp_path / "text.parquet"
    text.write_text("price,volume\n")
    with pytest.raises(NotARecording, match="it is no Parquet file"):
        Recording(text)
    other = tmp_path / "other.parquet"
    pq.write_table(pa.table({"seq": [1]}), other)
    with pytest.raises(NotARecording, match="it has no column channel, epoch, payload"):
        Recording(other)


def test_the_recordings_own_time_is_kept_so_many_times_faster() -> None:
    pace = Pace(10.0, now=100.0)
    assert pace.wait_s(NOON_NS, 100.0) == 0.0
    assert pace.wait_s(NOON_NS + 5_000_000_000, 100.1) == pytest.approx(0.4)
    assert pace.wait_s(NOON_NS + 1_000_000_000, 103.0) == 0.0
    assert Pace(None, now=0.0).wait_s(NOON_NS, 0.0) == 0.0


def test_rows_go_out_together_that_are_due_within_a_millisecond(tmp_path: Path) -> None:
    part(tmp_path, 1, 1, 2, 3, 12)
    rows = list(Recording(tmp_path).rows())

    def sizes(speed: float | None, size: int) -> list[int]:
        return [len(chunk) for chunk in Pace(speed, 0.0).in_chunks(rows, size)]

    assert sizes(0.5, 10) == [1, 1, 1, 1]
    assert sizes(2.0, 10) == [3, 1]
    assert sizes(2.0, 2) == [2, 1, 1]
    assert sizes(None, 10) == [4]


def test_a_hole_in_the_numbers_of_quotes_is_told_and_nothing_else() -> None:
    watch = UnloggedWatch()

    def judge(seq: int, epoch: int = 17) -> GapMessage | None:
        told = watch.judge("TICKER_QUOTES_AAPL", payload(seq, epoch=epoch).encode())
        gap = None if told is None else decode_typed(told.encode())
        assert gap is None or isinstance(gap, GapMessage)
        return gap

    assert [judge(4), judge(5)] == [None, None]
    gap = judge(9)
    assert gap is not None
    assert (gap.lost, gap.symbol, gap.cause, gap.seq) == (3, "AAPL", "consumer_slow", 0)
    assert (gap.from_, gap.to) == (
        "2026-11-21T12:00:05.123456789Z",
        "2026-11-21T12:00:09.123456789Z",
    )
    assert judge(1, epoch=18) is None
    assert judge(3, epoch=19) is not None
    assert watch.judge("TICKER_QUOTES_AAPL", b"{") is None
