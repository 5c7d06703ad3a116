"""Pure: the last order entries that Redis confirmed. After it was emptied the order journals are
written again: a reader that was behind, or away, still needs them, and so does the next broker,
which has to know what was told."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import Final, TypeAlias

from .config import pack_argument, pack_command

KEPT: Final = 5_000
CHUNK: Final = 500

# (journal's key, entry's id, body)
OrderEntry: TypeAlias = tuple[bytes, bytes, bytes]


class OrderMemory:
    """Outlives the runs of a broker's process. Its users hold one lock around it."""

    def __init__(
        self, kept: int = KEPT, on_new: Callable[[OrderEntry], None] = lambda _: None
    ) -> None:
        """`on_new` is told of every entry that was not known."""
        self._kept, self._on_new = kept, on_new
        self._entries: dict[tuple[bytes, bytes], bytes] = {}  # in order of arrival

    def __len__(self) -> int:
        return len(self._entries)

    def remember(self, journal: bytes, entry_id: bytes, body: bytes) -> None:
        if (journal, entry_id) in self._entries:
            return
        self._entries[journal, entry_id] = body
        if len(self._entries) > self._kept:
            del self._entries[next(iter(self._entries))]
        self._on_new((journal, entry_id, body))

    def replace(self, entries: Sequence[OrderEntry]) -> None:
        """Know these, the oldest first, and no others; `on_new` is not told."""
        newest = entries[-self._kept :]
        self._entries = {(journal, entry_id): body for journal, entry_id, body in newest}

    def remember_packed(self, packed: bytes) -> None:
        """The same, of an entry as it was sent: journal, id and body as RESP arguments."""
        self.remember(*_unpack(packed))

    def entries(self, newest: int = KEPT) -> list[OrderEntry]:
        """The last `newest` of them, the oldest of each journal first."""
        last = islice(reversed(self._entries.items()), newest)
        found = [(journal, entry_id, body) for (journal, entry_id), body in last]
        return sorted(found, key=lambda entry: (entry[0], place_of(entry[1])))

    def writes(self, keep_s: int, newest: int = KEPT) -> Iterator[tuple[bytes, int]]:
        """Commands that write the last `newest` again, and how many replies they have. An entry
        that is there already is refused by its journal."""
        entries = self.entries(newest)
        for start in range(0, len(entries), CHUNK):
            chunk = entries[start : start + CHUNK]
            adds = [_xadd(*entry) for entry in chunk]
            expiries = [
                pack_command("EXPIRE", journal, keep_s)
                for journal in dict.fromkeys(journal for journal, _, _ in chunk)
            ]
            yield b"".join(adds + expiries), len(adds) + len(expiries)


def _unpack(packed: bytes) -> list[bytes]:
    arguments, begin = [], 0
    while begin < len(packed):
        end = packed.index(b"\r\n", begin)
        size = int(packed[begin + 1 : end])
        arguments.append(packed[end + 2 : end + 2 + size])
        begin = end + 2 + size + 2
    return arguments


def place_of(entry_id: bytes) -> tuple[int, int]:
    """(epoch, seq) of a journal's entry."""
    epoch, _, seq = entry_id.partition(b"-")
    return int(epoch), int(seq)


def _xadd(journal: bytes, entry_id: bytes, body: bytes) -> bytes:
    arguments = (journal, entry_id, b"m", body)
    return b"*5\r\n$4\r\nXADD\r\n" + b"".join(map(pack_argument, arguments))
