"""Pure: the last order entries that Redis confirmed. After it was emptied the order journals are
written again: a reader that was behind, or away, still needs them, and so does the next broker,
which has to know what was told."""

from __future__ import annotations

import time
import zlib
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeAlias

import msgspec

from .config import pack_argument, pack_command
from .messages import decode_typed, rfc3339

KEPT: Final = 5_000
PAGE: Final = 100

# (journal's key, entry's id, body)
OrderEntry: TypeAlias = tuple[bytes, bytes, bytes]
_READ_PAGE: Final = msgspec.msgpack.Decoder(list[OrderEntry])


class OrderMemory:
    """Outlives the runs of a broker's process. Its users hold one lock around it.

    Pages of entries, compressed: some 200 bytes for each instead of 1,500, and the heap does not
    fall to pieces around thousands of them.
    """

    def __init__(
        self, kept: int = KEPT, on_new: Callable[[OrderEntry], None] = lambda _: None
    ) -> None:
        """`on_new` is told of every entry that was not known."""
        self._kept, self._on_new = kept, on_new
        self._pages: deque[bytes] = deque()  # in order of arrival
        self._newest: list[OrderEntry] = []  # the page that is not full yet
        self._known: dict[int, None] = {}  # hashes of journals and ids, in the same order

    def __len__(self) -> int:
        return min(self._kept, len(self._known))

    def remember(self, journal: bytes, entry_id: bytes, body: bytes) -> None:
        if hash((journal, entry_id)) in self._known:
            return
        self._add((journal, entry_id, body))
        self._on_new((journal, entry_id, body))

    def replace(self, entries: Sequence[OrderEntry]) -> None:
        """Know these, the oldest first, and no others; `on_new` is not told."""
        self._pages.clear()
        self._newest, self._known = [], {}
        for entry in _in_journal_order(entries[-self._kept :]):
            self._add(entry)

    def remember_packed(self, packed: bytes) -> None:
        """The same, of an entry as it was sent: journal, id and body as RESP arguments."""
        self.remember(*_unpack(packed))

    def entries(self, newest: int = KEPT) -> list[OrderEntry]:
        """The last `newest` of them, the oldest of each journal first."""
        found = list(islice(self._backwards(), min(newest, self._kept)))
        return sorted(found, key=lambda entry: (entry[0], place_of(entry[1])))

    def _forwards(self) -> Iterator[list[OrderEntry]]:
        for page in list(self._pages):
            yield _READ_PAGE.decode(zlib.decompress(page))
        yield self._newest

    def _add(self, entry: OrderEntry) -> None:
        self._newest.append(entry)
        self._known[hash(entry[:2])] = None
        if len(self._newest) == PAGE:
            self._pages.append(zlib.compress(msgspec.msgpack.encode(self._newest), level=1))
            self._newest = []
        if len(self._known) >= self._kept + PAGE and self._pages:
            self._pages.popleft()
            for known in list(islice(self._known, PAGE)):
                del self._known[known]

    def _backwards(self) -> Iterator[OrderEntry]:
        yield from reversed(self._newest)
        for page in reversed(self._pages):
            yield from reversed(_READ_PAGE.decode(zlib.decompress(page)))

    def writes(self, keep_s: int, newest: int | None = None) -> Iterator[tuple[bytes, int]]:
        """Commands that write all again, or, of the last `newest`, those that are not older than
        `keep_s`; and how many replies they have. An entry that is there already is refused by its
        journal."""
        if newest is None:
            yield from (_commands(page, keep_s) for page in self._forwards() if page)
            return
        since = rfc3339(time.time_ns() - keep_s * 10**9)
        entries = [entry for entry in self.entries(newest) if not _is_before(since, entry[2])]
        for start in range(0, len(entries), PAGE):
            yield _commands(entries[start : start + PAGE], keep_s)


def _commands(entries: Sequence[OrderEntry], keep_s: int) -> tuple[bytes, int]:
    adds = [_xadd(*entry) for entry in entries]
    expiries = [
        pack_command("EXPIRE", journal, keep_s)
        for journal in dict.fromkeys(journal for journal, _, _ in entries)
    ]
    return b"".join(adds + expiries), len(adds) + len(expiries)


def _in_journal_order(entries: Sequence[OrderEntry]) -> list[OrderEntry]:
    """The same, but that those of one journal come as it has them: it takes nothing older than its
    newest."""
    journals: dict[bytes, list[OrderEntry]] = {}
    for entry in entries:
        journals.setdefault(entry[0], []).append(entry)
    for found in journals.values():
        found.sort(key=lambda entry: place_of(entry[1]), reverse=True)
    return [journals[entry[0]].pop() for entry in entries]


def _unpack(packed: bytes) -> list[bytes]:
    arguments, begin = [], 0
    while begin < len(packed):
        end = packed.index(b"\r\n", begin)
        size = int(packed[begin + 1 : end])
        arguments.append(packed[end + 2 : end + 2 + size])
        begin = end + 2 + size + 2
    return arguments


def _is_before(moment: str, body: bytes) -> bool:
    """As texts they are ordered as the moments are."""
    return str(getattr(decode_typed(body), "timestamp", moment)) < moment


def place_of(entry_id: bytes) -> tuple[int, int]:
    """(epoch, seq) of a journal's entry."""
    epoch, _, seq = entry_id.partition(b"-")
    return int(epoch), int(seq)


def _xadd(journal: bytes, entry_id: bytes, body: bytes) -> bytes:
    arguments = (journal, entry_id, b"m", body)
    return b"*5\r\n$4\r\nXADD\r\n" + b"".join(map(pack_argument, arguments))
