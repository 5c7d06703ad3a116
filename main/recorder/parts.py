"""A day's parts: small finished Parquet files in a folder that is itself called `….parquet`.

A Parquet file cannot be added to, and without its end it cannot be read. So every few seconds
becomes a file of its own, complete from the moment it has its name, and small ones are merged into
larger ones. `part-<first>-<last>.parquet` says which flushes it holds. A merged part appears in one
step, and only then do those go that it holds; after a crash in between they are told by their
names. When the day is over its folder becomes one file of the same name.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from .errors import DayIsFinished
from .table import SCHEMA

FAN: Final = 30  # so many parts of one size become one
ROWS_PER_GROUP: Final = 131_072
_NAME: Final = re.compile(r"part-(\d+)-(\d+)\.parquet")
_DAY: Final = re.compile(r"\d{4}-\d\d-\d\d\.parquet")
_UNFINISHED: Final = ".tmp"
_REPLACED: Final = ".replaced"


@dataclass(frozen=True, order=True)
class Part:
    """The flushes `first` to `last`, in one file."""

    first: int
    last: int
    path: Path

    @property
    def row_count(self) -> int:
        return int(pq.read_metadata(self.path).num_rows)

    @property
    def level(self) -> int:
        """How often merged: 0 for a single flush, 1 for up to `FAN` of them, …"""
        level, size = 0, 1
        while self.last - self.first + 1 > size:
            level, size = level + 1, size * FAN
        return level


def parts_of(folder: Path) -> list[Part]:
    """The parts in order, without those that a merged one holds."""
    found = []
    for path in folder.iterdir():
        if match := _NAME.fullmatch(path.name):
            found.append(Part(int(match[1]), int(match[2]), path))
    found.sort(key=lambda part: (part.first, -part.last))
    kept: list[Part] = []
    for part in found:
        if not kept or part.last > kept[-1].last:
            kept.append(part)
    return kept


def merge_due(parts: Sequence[Part]) -> list[Part]:
    """Pure: which of the newest parts are to be merged now; empty: none."""
    for level in sorted({part.level for part in parts}):
        tail: list[Part] = []
        for part in reversed(parts):
            if part.level > level:
                break
            tail.append(part)
        if sum(part.level == level for part in tail) >= FAN:
            return tail[::-1]
    return []


def write_part(folder: Path, number: int, table: pa.Table) -> Part:
    """One flush as a finished file, on the disk when this returns.

    Raises:
        OSError: the disk is full, or it may not be written.
    """
    return _write(folder, number, number, [table])


def merge(folder: Path, parts: Sequence[Part]) -> Part:
    """The parts as one; they go once it is there."""
    first, last = parts[0].first, parts[-1].last
    merged = _write(folder, first, last, tables_of(part.path for part in parts))
    for part in parts:
        if part.path != merged.path:
            part.path.unlink(missing_ok=True)
    return merged


def tables_of(paths: Iterable[Path], columns: list[str] | None = None) -> Iterator[pa.Table]:
    """Row group by row group, so that a day needs no more memory than one of them."""
    for path in paths:
        with pq.ParquetFile(path) as file:
            for group in range(file.num_row_groups):
                yield file.read_row_group(group, columns=columns)


def finish_day(folder: Path) -> None:
    """The folder of a day that is over becomes one file of the same name."""
    parts = parts_of(folder)
    if not parts:
        shutil.rmtree(folder)
        return
    unfinished, replaced = _beside(folder, _UNFINISHED), _beside(folder, _REPLACED)
    write_file(unfinished, tables_of(part.path for part in parts))
    folder.rename(replaced)
    unfinished.rename(folder)
    _sync_folder(folder.parent)
    shutil.rmtree(replaced)


def open_day(root: Path, day: str) -> Path:
    """The folder of a day, tidied up after a crash.

    Raises:
        DayIsFinished: there is a file in its place.
        OSError: the folder cannot be made.
    """
    folder = root / f"{day}.parquet"
    if folder.is_file():
        raise DayIsFinished(folder)
    folder.mkdir(parents=True, exist_ok=True)
    kept = {part.path for part in parts_of(folder)}
    for path in folder.iterdir():
        if path not in kept and (_NAME.fullmatch(path.name) or path.suffix == _UNFINISHED):
            path.unlink()
    return folder


def tidy_root(root: Path) -> None:
    """Finish, or take back, what a crash interrupted when a day became one file."""
    for replaced in root.glob(f".*.parquet{_REPLACED}"):
        day = root / replaced.name.removeprefix(".").removesuffix(_REPLACED)
        if day.exists():
            shutil.rmtree(replaced)
        else:
            replaced.rename(day)
    for unfinished in root.glob(f".*.parquet{_UNFINISHED}"):
        unfinished.unlink()


def days_in(root: Path) -> list[Path]:
    """Every day's file or folder, the oldest first."""
    return sorted(path for path in root.iterdir() if _DAY.fullmatch(path.name))


def _beside(path: Path, what: str) -> Path:
    """Whoever reads a folder as one file leaves out what begins with a dot."""
    return path.with_name(f".{path.name}{what}")


def _write(folder: Path, first: int, last: int, tables: Iterable[pa.Table]) -> Part:
    path = folder / f"part-{first:07}-{last:07}.parquet"
    unfinished = _beside(path, _UNFINISHED)
    try:
        write_file(unfinished, tables)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    unfinished.rename(path)
    _sync_folder(folder)
    return Part(first, last, path)


def write_file(path: Path, tables: Iterable[pa.Table]) -> None:
    """One Parquet file, on the disk when this returns."""
    with path.open("wb") as file:
        with pq.ParquetWriter(
            file,
            SCHEMA,
            compression="zstd",
            use_dictionary=["channel", "symbol", "type"],
            write_statistics=True,
        ) as writer:
            for table in _regrouped(tables):
                writer.write_table(table)
        file.flush()
        os.fsync(file.fileno())


def _regrouped(tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
    """The same rows in groups of a good size."""
    waiting: list[pa.Table] = []
    rows = 0
    for table in tables:
        waiting.append(table)
        rows += table.num_rows
        if rows >= ROWS_PER_GROUP:
            yield _together(waiting)
            waiting, rows = [], 0
    if waiting:
        yield _together(waiting)


def _together(tables: list[pa.Table]) -> Any:
    return pa.concat_tables(tables).unify_dictionaries().combine_chunks()


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
