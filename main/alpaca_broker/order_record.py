"""What was told of orders, on this machine's disk: for the one case that Redis and the broker's
memory are gone together.

Without it a broker that was killed while Redis was empty, before it could write the order journals
again, leaves a successor that cannot know what was told. It is optional (`STATE_DIR`), shared by
the brokers of one account and one Redis on one machine, and never waited for: a named thread
writes, and a disk that is full or slow costs entries of the record, not orders.

Two files per account and prefix, the older one named `….1`: lines of `<key> <id> <body>`, and now
and then `BROKER_RECONCILED <from> <to>`.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import queue
import threading
from collections import Counter, deque
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import structlog

from ..utils.redis.constants import BusNames
from ..utils.redis.order_memory import KEPT, OrderEntry

log: Final = structlog.get_logger("tickerbus.order_record")

MAX_FILE_BYTES: Final = 16 * 1_048_576  # some 10,000 order messages
_MAX_WAITING: Final = 20_000
_ORDER = b"ORDER_LOG_"
_RECONCILED = b"BROKER_RECONCILED"


class OrderRecord:
    """`note` and `note_reconciled` are for any thread, and return at once. Until it is opened, and
    without a folder, it keeps nothing."""

    name = "order-record"

    def __init__(self, folder: Path | None) -> None:
        self.counters: Counter[str] = Counter()
        self._folder = folder
        self._path: Path | None = None
        self._prefix = b""
        self._waiting: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._in_trouble = False
        self._moments: str | None = None  # without a folder the process itself remembers
        self._thread: threading.Thread | None = None

    def open(self, names: BusNames, account_id: str) -> None:
        """From now on keep what is noted. Again, it changes nothing."""
        if self._folder is None or self._thread is not None:
            return
        whose = hashlib.sha256(f"{account_id} {names.prefix}".encode()).hexdigest()[:16]
        self._path, self._prefix = self._folder / f"orders-{whose}.log", names.prefix.encode()
        self._thread = threading.Thread(target=self._run, name=self.name, daemon=True)
        self._thread.start()

    def note(self, entry: OrderEntry) -> None:
        """An entry of an order journal that Redis has confirmed."""
        if b"\n" not in entry[2]:  # what we write has none
            self._put(b" ".join(entry) + b"\n")

    def note_reconciled(self, moments: str) -> None:
        """Up to when the orders were compared with Alpaca's list."""
        self._moments = moments
        self._put(b"%b%b %b\n" % (self._prefix, _RECONCILED, moments.encode()))

    def load(self) -> list[OrderEntry]:
        """The last entries that are there, the oldest first."""
        entries: deque[OrderEntry] = deque(maxlen=KEPT)
        for key, rest in self._lines():
            entry_id, _, body = rest.partition(b" ")
            whole = body.endswith(b"}")  # not cut short by a crash, or a disk that was full
            if key.startswith(self._prefix + _ORDER) and _is_place(entry_id) and whole:
                entries.append((key, entry_id, body))
        return list(entries)

    def load_reconciled(self) -> str | None:
        """The moments that were noted last."""
        moments = self._moments
        for key, rest in self._lines():
            if key == self._prefix + _RECONCILED:
                moments = rest.decode(errors="replace")
        return moments

    def close(self, timeout_s: float) -> bool:
        """Write what waits, and end; whether that was done in time."""
        thread, self._thread = self._thread, None
        if thread is None:
            return True
        self._waiting.put(None)
        thread.join(timeout_s)
        return not thread.is_alive()

    def _lines(self) -> Iterator[tuple[bytes, bytes]]:
        for path in (_older(self._path), self._path) if self._path else ():
            for line in _lines_of(path):
                key, _, rest = line.partition(b" ")
                yield key, rest

    def _put(self, line: bytes) -> None:
        if self._thread is None:
            return
        if self._waiting.qsize() < _MAX_WAITING:
            self._waiting.put(line)
        else:
            self.counters["order_record_dropped"] += 1

    def _run(self) -> None:
        ended = False
        while not ended:
            lines = [self._waiting.get()]
            with contextlib.suppress(queue.Empty):
                while True:
                    lines.append(self._waiting.get_nowait())
            ended = None in lines
            self._write(b"".join(line for line in lines if line is not None))

    def _write(self, text: bytes) -> None:
        assert self._path is not None
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            with contextlib.suppress(FileNotFoundError):
                if self._path.stat().st_size > MAX_FILE_BYTES:
                    os.replace(self._path, _older(self._path))
            _append(self._path, text)
        except OSError as error:
            self.counters["order_record_failures"] += 1
            if not self._in_trouble:
                log.warning("order_record.not_written", path=str(self._path), error=str(error))
            self._in_trouble = True
        else:
            self._in_trouble = False


def _append(path: Path, text: bytes) -> None:
    """In one call, so that two processes do not mix their lines. The file is opened each time: the
    other broker of this machine may have moved it. What a crash, or a full disk, cut short ends
    with the line feed that comes first."""
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        if os.write(file, b"\n" + text) <= len(text):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(file)


def _older(path: Path) -> Path:
    return path.with_name(path.name + ".1")


def _lines_of(path: Path) -> Iterator[bytes]:
    """One at a time: the file may be larger than all that the broker otherwise keeps."""
    try:
        with path.open("rb") as file:
            for line in file:
                yield line.removesuffix(b"\n")
    except FileNotFoundError:
        return
    except OSError as error:
        log.warning("order_record.not_read", path=str(path), error=str(error))


def _is_place(entry_id: bytes) -> bool:
    epoch, _, seq = entry_id.partition(b"-")
    return epoch.isdigit() and seq.isdigit()
