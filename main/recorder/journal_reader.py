"""What a ticker's journal holds, from a moment on: merged with its orders, losses named.

Without pyarrow: `journal` prints and exports to CSV and JSON wherever TickerBus is installed.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from typing import IO, Any, Final

import msgspec

from ..utils.redis.config import RedisConfig
from ..utils.redis.constants import BusNames
from ..utils.redis.gap_tracker import BEGINNING, Entry, Loss, Place
from ..utils.redis.journal import Journal
from ..utils.redis.start import Start

PAGE: Final = 1_000
CSV_COLUMNS: Final = (
    "timestamp",
    "symbol",
    "type",
    "epoch",
    "seq",
    "price",
    "volume",
    "last_eligible",
    "payload",
)


def read_journal(config: RedisConfig, ticker: str, since: str | None) -> Iterator[Entry | Loss]:
    """Every message that is kept, in order; a `Loss` where the journal has a hole, but not for what
    was before its beginning. `since` is RFC 3339, UTC.

    Raises:
        RedisUnavailable: it cannot be read.
    """
    journal = Journal(config, BusNames(config.bus_prefix))
    before: Place | None = None
    try:
        place = BEGINNING
        if since is not None:
            found = journal.find(ticker, Start.since(since)).place
            if found is None:
                return
            place = found
        while True:
            refill = journal.refill(ticker, place, PAGE, frozenset())
            for entry in refill.plan:
                if isinstance(entry, Entry):
                    if (loss := _loss_between(before, entry)) is not None:
                        yield loss
                    yield entry
                    place = before = entry.place
            if refill.complete or not refill.plan:
                return
    finally:
        journal.close()


def _loss_between(before: Place | None, entry: Entry) -> Loss | None:
    """What the numbers say is missing; a refill says it once for all, before what survives."""
    if before is None:
        return None
    same_epoch = entry.place.epoch == before.epoch
    missing = entry.place.seq - 1 - (before.seq if same_epoch else 0)
    if missing <= 0:
        return None
    return Loss(missing if same_epoch else None, entry.numbers.timestamp)


def payload_text(entry: Entry) -> str:
    """The message as it was published."""
    return entry.payload.decode(errors="replace")


def write_csv(target: IO[str], entries: Iterable[Entry]) -> int:
    """How many messages it wrote."""
    writer = csv.writer(target)
    writer.writerow(CSV_COLUMNS)
    count = 0
    for entry in entries:
        fields = _fields(entry)
        writer.writerow([fields.get(column) for column in CSV_COLUMNS])
        count += 1
    target.flush()
    return count


def _fields(entry: Entry) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(entry.payload)
    except msgspec.DecodeError:
        found = {}
    fields: dict[str, Any] = found if isinstance(found, dict) else {}
    place = {"epoch": entry.place.epoch, "seq": entry.place.seq}
    return fields | place | {"payload": payload_text(entry)}
