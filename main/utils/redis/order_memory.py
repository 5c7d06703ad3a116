"""Pure: the last order entries, so that the order journals can be written again after Redis was
emptied: a reader that was behind, or away, still needs them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Final

from .config import pack_command

KEPT: Final = 5_000
CHUNK: Final = 500


class OrderMemory:
    """Entries as they were packed. Its owner's lock is held."""

    def __init__(self, kept: int = KEPT) -> None:
        self._entries: deque[tuple[bytes, bytes]] = deque(maxlen=kept)

    def __len__(self) -> int:
        return len(self._entries)

    def remember(self, order_log: bytes, packed: bytes) -> None:
        """`order_log` is the journal's key, `packed` the entry's id and body, as RESP arguments."""
        self._entries.append((order_log, packed))

    def writes(self, keep_s: int) -> Iterator[tuple[bytes, int]]:
        """Commands that write all again, and how many replies they have. An entry that is there
        already is refused by its journal."""
        entries = list(self._entries)
        for start in range(0, len(entries), CHUNK):
            chunk = entries[start : start + CHUNK]
            keys = list(dict.fromkeys(order_log for order_log, _ in chunk))
            adds = [_xadd(order_log, packed) for order_log, packed in chunk]
            expiries = [_expire(order_log, keep_s) for order_log in keys]
            yield b"".join(adds + expiries), len(adds) + len(expiries)


def _xadd(order_log: bytes, packed: bytes) -> bytes:
    # Up to the id's end: "$<length>\r\n<id>\r\n".
    head = packed.index(b"\r\n")
    end_of_id = head + 2 + int(packed[1:head]) + 2
    return b"*5\r\n$4\r\nXADD\r\n%b%b$1\r\nm\r\n%b" % (
        order_log,
        packed[:end_of_id],
        packed[end_of_id:],
    )


def _expire(order_log: bytes, keep_s: int) -> bytes:
    whole = pack_command("EXPIRE", "", keep_s)
    return whole.replace(b"$0\r\n\r\n", order_log, 1)
