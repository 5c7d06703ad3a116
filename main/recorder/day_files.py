"""Where the rows go: today's folder, and the thread that keeps the number of parts small."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import structlog

from ..utils.tracebacks import plain_traceback
from .parts import (
    Part,
    days_in,
    finish_day,
    merge,
    merge_due,
    open_day,
    parts_of,
    tidy_root,
    write_part,
)
from .table import Row, to_table

log: Final = structlog.get_logger("tickerbus.recorder")

MERGED_AT_END_ROWS: Final = 1_000_000  # about a second's work; more is merged later
LAST_MERGE_S: Final = 3.0  # a merge that is cut off leaves the parts as they were


class DayFiles:
    """`open` and `write` in the recorder's thread; merging has its own."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._day = ""
        self._number = 0
        self._work = threading.Event()
        self._ending = False
        self._thread = threading.Thread(target=self._merge_all, name="recorder-merge", daemon=True)
        tidy_root(root)

    @property
    def folder(self) -> Path:
        """Where today's parts are."""
        return self.root / f"{self._day}.parquet"

    def open(self, day: str) -> None:
        """From now on rows are of `day`. A clock that is set back changes nothing.

        Raises:
            DayIsFinished, OSError: it cannot be written.
        """
        if day <= self._day:
            return
        folder = open_day(self.root, day)
        self._number = max((part.last for part in parts_of(folder)), default=0)
        self._day = day
        self._work.set()

    def write(self, rows: Sequence[Row]) -> None:
        """As a part of its own, on the disk when this returns.

        Raises:
            OSError: nothing was written.
        """
        write_part(self.folder, self._number + 1, to_table(rows))
        self._number += 1
        self._work.set()

    def start_merging(self) -> None:
        self._thread.start()

    def close(self) -> None:
        """End the thread; what is small enough becomes one part."""
        self._ending = True
        self._work.set()
        if self._thread.is_alive():
            self._thread.join(LAST_MERGE_S)

    # -- the merging thread

    def _merge_all(self) -> None:
        while True:
            self._work.wait()
            self._work.clear()
            try:
                if self._ending:
                    self._merge_small()
                    return
                self._finish_old_days()
                self._merge_today()
            except Exception:  # the parts stay as they are, and are merged with the next
                log.error("recorder.merge_failed", traceback=plain_traceback())
                time.sleep(1.0)
                if self._ending:
                    return

    def _finish_old_days(self) -> None:
        for day in days_in(self.root):
            if day.is_dir() and day.name < f"{self._day}.parquet" and not self._ending:
                begun = time.monotonic()
                finish_day(day)
                log.info(
                    "recorder.day_finished",
                    file=str(day),
                    took_s=round(time.monotonic() - begun, 1),
                )

    def _merge_today(self) -> None:
        while not self._ending and (due := merge_due(parts_of(self.folder))):
            merge(self.folder, due)

    def _merge_small(self) -> None:
        """The newest parts, as many as can be merged in a moment."""
        small: list[Part] = []
        rows = 0
        for part in reversed(parts_of(self.folder)):
            rows += part.row_count
            if rows > MERGED_AT_END_ROWS:
                break
            small.insert(0, part)
        if len(small) > 1:
            merge(self.folder, small)
