"""Reading what was recorded: a day's file, a day that is still being written, or a whole folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ..utils.redis.gap_tracker import Place
from .errors import NotARecording
from .parts import days_in, parts_of, tables_of

NO_PARQUET: Final = (
    "it is no Parquet file, or not a whole one. What can be replayed is what `record` writes, and "
    "`journal AAPL --export parquet --into aapl.parquet`; CSV and JSON are for other programs"
)
_COLUMNS: Final = ["recorded_at", "channel", "type", "epoch", "seq", "payload"]


class Recorded(NamedTuple):
    """One row, as a player wants it. `recorded_at` in ns since 1970; `seq` 0: the recorder's own
    word for what it missed."""

    recorded_at: int
    channel: str
    type: str
    epoch: int
    seq: int
    payload: str


class Recording:
    """The rows of a file, of a day's folder, or of a folder of days, in the order of recording."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            NotARecording: there is nothing, or something else.
        """
        self.path = path
        self.files = _files(path)
        if not self.files:
            raise NotARecording(path, "there is no Parquet file of a recorder in it")
        for file in self.files:
            _check(file)

    def rows(self) -> Iterator[Recorded]:
        for table in tables_of(self.files, _COLUMNS):
            yield from _rows(table)

    def channels(self) -> set[str]:
        """Every channel that occurs."""
        found: set[str] = set()
        for table in tables_of(self.files, ["channel"]):
            found.update(table.column("channel").unique().to_pylist())
        return found

    def last_places(self) -> dict[str, Place]:
        """By channel: the last message that was recorded."""
        found: dict[str, Place] = {}
        for table in tables_of(self.files, ["channel", "epoch", "seq"]):
            numbered = table.filter(pc.greater(table.column("seq"), 0))
            # The last row of each, and not its highest epoch: a clock may have been set back.
            last = (
                _plain(numbered)
                .group_by("channel", use_threads=False)
                .aggregate([("epoch", "last"), ("seq", "last")])
            )
            for row in last.to_pylist():
                found[row["channel"]] = Place(row["epoch_last"], row["seq_last"])
        return found

    def span(self) -> tuple[int, int]:
        """When the first and the last row were recorded, in ns since 1970; (0, 0) without rows."""
        ends = [end for file in self.files for end in _ends(file)]
        return (min(ends), max(ends)) if ends else (0, 0)

    @property
    def row_count(self) -> int:
        return sum(pq.read_metadata(file).num_rows for file in self.files)


def _files(path: Path) -> list[Path]:
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise NotARecording(path, "there is no such file")
    if days := days_in(path):
        return [file for day in days for file in _files(day)]
    return [part.path for part in parts_of(path)]


def _check(file: Path) -> None:
    try:
        names = set(pq.read_schema(file).names)
    except pa.ArrowInvalid as error:
        raise NotARecording(file, NO_PARQUET) from error
    except OSError as error:
        raise NotARecording(file, str(error).splitlines()[0]) from error
    if missing := sorted(set(_COLUMNS) - names):
        raise NotARecording(file, f"it has no column {', '.join(missing)}")


def _ends(file: Path) -> Iterator[int]:
    """The first and last `recorded_at` of each row group; rows are in its order."""
    with pq.ParquetFile(file) as opened:
        for group in range(opened.num_row_groups):
            column = opened.read_row_group(group, columns=["recorded_at"]).column(0)
            if len(column):
                yield from (column[index].value for index in (0, -1))


def _rows(table: pa.Table) -> Iterator[Recorded]:
    moments = table.column("recorded_at").cast(pa.int64())
    columns = [moments, *(_plain(table).column(name) for name in _COLUMNS[1:])]
    values: list[list[Any]] = [column.to_pylist() for column in columns]
    yield from map(Recorded._make, zip(*values, strict=True))


def _plain(table: pa.Table) -> pa.Table:
    """Without dictionaries, which differ between row groups."""
    for index, field in enumerate(table.schema):
        if pa.types.is_dictionary(field.type):
            table = table.set_column(index, field.name, table.column(index).cast(pa.string()))
    return table
