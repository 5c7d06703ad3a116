"""What was told of orders before this run: read back from the order journals."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from operator import itemgetter
from typing import Final, TypeAlias

import redis

from ..utils.redis.constants import BusNames
from ..utils.redis.journal_pages import forwards
from ..utils.redis.messages import OrderMessage, decode_typed
from ..utils.redis.order_memory import KEPT, OrderEntry, place_of
from .order_ledger import OrderLedger

_PAGE: Final = 100

Bodies: TypeAlias = dict[bytes, bytes]  # of one journal, by the entries' ids
Entry: TypeAlias = tuple[tuple[int, int], bytes, bytes]  # place, id and body


def load_ledger(
    client: redis.Redis, names: BusNames, ledger: OrderLedger, known: Iterable[OrderEntry] = ()
) -> list[OrderEntry]:
    """Note all that the order journals hold, and what is `known` besides; returns the newest of
    it, the oldest first.

    A page of each journal at a time: seven days of a busy account are more than a broker should
    hold. Raises redis.RedisError.
    """
    there = set(client.scan_iter(match=names.ORDER_LOG + "*", count=1_000, _type="stream"))
    by_journal: dict[bytes, Bodies] = {journal: {} for journal in there}
    for journal, entry_id, body in known:
        by_journal.setdefault(journal, {})[entry_id] = body
    newest: deque[OrderEntry] = deque(maxlen=KEPT)
    journals = [
        _told(journal, bodies, _entries(client, journal) if journal in there else iter(()))
        for journal, bodies in by_journal.items()
    ]
    # By the events' own moments: the ledger forgets what ended longest ago.
    for message, entry in heapq.merge(*journals, key=lambda told: told[0].timestamp):
        note_published(ledger, message)
        newest.append(entry)
    return list(newest)


def _told(
    journal: bytes, known: Mapping[bytes, bytes], written: Iterator[Entry]
) -> Iterator[tuple[OrderMessage, OrderEntry]]:
    """One journal and what is known of it besides, each entry once, in the order of telling."""
    besides = sorted((place_of(entry_id), entry_id, body) for entry_id, body in known.items())
    last = None
    for place, entry_id, body in heapq.merge(besides, written, key=itemgetter(0)):
        message = decode_typed(body)
        if place != last and isinstance(message, OrderMessage):
            yield message, (journal, entry_id, body)
            last = place


def _entries(client: redis.Redis, journal: bytes) -> Iterator[Entry]:
    for entry_id, body in forwards(client, journal, page=_PAGE):
        yield place_of(entry_id), entry_id, body


def note_published(ledger: OrderLedger, message: OrderMessage) -> None:
    """Note one published message."""
    update = {"event": message.event, "order": message.order_data, **message.update}
    ledger.note(update, recovered=message.source == "reconcile")
