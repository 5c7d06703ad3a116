"""A journal as a Parquet file, with the recorder's columns."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path

import pyarrow as pa

from ..utils.redis.constants import CHANNELS
from ..utils.redis.gap_tracker import Entry
from ..utils.redis.messages import parse_rfc3339
from .parts import ROWS_PER_GROUP, write_file
from .table import Row, to_table


def write_parquet(path: Path, ticker: str, entries: Iterable[Entry]) -> int:
    """How many messages it wrote. `recorded_at` is their own time, so it can be replayed, too.

    Raises:
        OSError: the file cannot be written.
    """
    channel = CHANNELS.get_ticker_channel(ticker)
    rows = iter(_rows(channel, entries))
    count = 0

    def tables() -> Iterator[pa.Table]:
        nonlocal count
        while some := list(islice(rows, ROWS_PER_GROUP)):
            count += len(some)
            yield to_table(some)

    write_file(path, tables())
    return count


def _rows(channel: str, entries: Iterable[Entry]) -> Iterator[Row]:
    latest_ns = 0
    for entry in entries:
        with suppress(ValueError):
            latest_ns = max(latest_ns, parse_rfc3339(entry.numbers.timestamp))
        yield Row(latest_ns, channel, entry.payload.decode(errors="replace"))
