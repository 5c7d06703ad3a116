"""A journal read page by page with redis-py: none of it is too long for that.

Every function raises redis.RedisError, also where what stands there is no journal.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Final, TypeAlias

if TYPE_CHECKING:
    import redis

PAGE: Final = 100
JournalEntry: TypeAlias = tuple[bytes, bytes]  # its id and its body; empty if it is not the bus's


def forwards(
    client: redis.Redis, journal: str | bytes, start: str = "-", page: int = PAGE
) -> Iterator[JournalEntry]:
    """From `start` on, as XRANGE has it, the oldest first."""
    return _entries(lambda begin: client.xrange(journal, min=begin, count=page), start, page)


def backwards(
    client: redis.Redis, journal: str | bytes, page: int = PAGE
) -> Iterator[JournalEntry]:
    """From its end on, the newest first."""
    return _entries(lambda begin: client.xrevrange(journal, max=begin, count=page), "+", page)


def _entries(read: Callable[[str], Any], begin: str, page: int) -> Iterator[JournalEntry]:
    while True:
        found = read(begin)
        yield from ((entry_id, fields.get(b"m", b"")) for entry_id, fields in found)
        if len(found) < page:
            return
        begin = "(" + found[-1][0].decode()
