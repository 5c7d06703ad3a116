"""A day's parts: always readable, few, and whole again after a crash at any step."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from main.recorder import parts
from main.recorder.errors import DayIsFinished
from main.recorder.parts import (
    FAN,
    Part,
    finish_day,
    merge,
    merge_due,
    open_day,
    tidy_root,
)
from main.recorder.recording import Recording
from tests.unit.recorder.rows import part


def seqs(path: Path) -> list[int]:
    return [row.seq for row in Recording(path).rows()]


def test_a_folder_of_parts_reads_as_one_file_also_for_others(tmp_path: Path) -> None:
    folder = open_day(tmp_path, "2026-11-21")
    part(folder, 1, 1, 2)
    part(folder, 2, 3)
    assert seqs(folder) == [1, 2, 3]
    assert pq.read_table(folder).column("seq").to_pylist() == [1, 2, 3]


def test_a_part_has_its_name_only_once_it_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full in the middle of it."""

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(parts.os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        part(tmp_path, 1, 1)
    assert list(tmp_path.iterdir()) == []


def test_a_part_that_was_begun_keeps_nobody_from_reading_the_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed in the middle of a write: what lies there then, others must be able to read."""
    folder = open_day(tmp_path, "2026-11-21")
    part(folder, 1, 1)
    begun: list[bool] = []

    def look(descriptor: int) -> None:
        begun.append(len(list(folder.iterdir())) == 2)
        assert pq.read_table(folder).column("seq").to_pylist() == [1]
        assert seqs(folder) == [1]

    monkeypatch.setattr(parts.os, "fsync", look)
    with monkeypatch.context() as patched:
        patched.setattr(parts, "_sync_folder", lambda folder: None)
        part(folder, 2, 2)
    assert begun == [True]
    assert seqs(folder) == [1, 2]


def test_merged_parts_keep_their_rows_and_order(tmp_path: Path) -> None:
    made = [part(tmp_path, number, 2 * number, 2 * number + 1) for number in range(1, 6)]
    merged = merge(tmp_path, made)
    assert (merged.first, merged.last) == (1, 5)
    assert list(tmp_path.iterdir()) == [merged.path]
    assert seqs(tmp_path) == list(range(2, 12))


def test_a_crash_before_the_merged_ones_were_removed_repeats_nothing(tmp_path: Path) -> None:
    folder = open_day(tmp_path, "2026-11-21")
    made = [part(folder, number, number) for number in (1, 2, 3)]
    kept = {each.path: each.path.read_bytes() for each in made}
    merge(folder, made[:2])
    for path, content in kept.items():
        path.write_bytes(content)
    (folder / ".part-0000004-0000004.parquet.tmp").write_bytes(b"PAR1 half of it")
    assert seqs(folder) == [1, 2, 3]
    open_day(tmp_path, "2026-11-21")
    assert sorted(path.name for path in folder.iterdir()) == [
        "part-0000001-0000002.parquet",
        "part-0000003-0000003.parquet",
    ]


def test_a_finished_day_is_one_file_of_the_same_name(tmp_path: Path) -> None:
    folder = open_day(tmp_path, "2026-11-20")
    part(folder, 1, 1, 2)
    part(folder, 2, 3)
    finish_day(folder)
    assert folder.is_file()
    assert seqs(folder) == [1, 2, 3]
    assert list(tmp_path.iterdir()) == [folder]
    with pytest.raises(DayIsFinished, match="finished file: move it away"):
        open_day(tmp_path, "2026-11-20")


def test_a_day_without_a_message_leaves_nothing(tmp_path: Path) -> None:
    finish_day(open_day(tmp_path, "2026-11-20"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("crash_after", ["writing", "moving away", "moving in"])
def test_a_crash_while_a_day_is_finished_loses_and_repeats_nothing(
    tmp_path: Path, crash_after: str
) -> None:
    folder = open_day(tmp_path, "2026-11-20")
    whole = part(folder, 1, 1, 2).path.read_bytes()
    unfinished = tmp_path / ".2026-11-20.parquet.tmp"
    unfinished.write_bytes(whole)
    if crash_after != "writing":
        folder.rename(tmp_path / ".2026-11-20.parquet.replaced")
    if crash_after == "moving in":
        unfinished.rename(folder)
    if crash_after != "moving away":
        assert pq.read_table(tmp_path).column("seq").to_pylist() == [1, 2]
    tidy_root(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["2026-11-20.parquet"]
    assert seqs(tmp_path) == [1, 2]


def test_so_many_parts_of_a_size_are_merged_with_the_smaller_ones_after_them() -> None:
    def named(first: int, last: int) -> Part:
        return Part(first, last, Path(f"{first}-{last}"))

    singles = [named(number, number) for number in range(1, FAN + 1)]
    assert merge_due(singles[:-1]) == []
    assert merge_due(singles) == singles
    minutes = [named(FAN * k + 1, FAN * (k + 1)) for k in range(FAN)]
    assert merge_due(minutes) == minutes
    assert merge_due([*minutes[:-2], named(841, 845), named(846, 846)]) == []
    late = named(901, 901)
    assert merge_due([*minutes, late]) == [*minutes, late]


def test_the_number_of_parts_stays_small_and_every_flush_is_in_one_of_them() -> None:
    """An hour and a half of a flush every two seconds."""
    parts: list[Part] = []
    for number in range(1, 2_701):
        parts.append(Part(number, number, Path()))
        while due := merge_due(parts):
            parts = [*parts[: -len(due)], Part(due[0].first, due[-1].last, Path())]
        assert len(parts) < 3 * FAN
    assert [one.last + 1 for one in parts[:-1]] == [one.first for one in parts[1:]]
    assert (parts[0].first, parts[-1].last) == (1, 2_700)
