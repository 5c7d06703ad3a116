"""Reading the journals, on a connection of its own. Any thread; one read at a time."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any, Final, NamedTuple

import hiredis

from ..event_log import EventLog
from .config import WIRE_FAULTS, RedisConfig, Wire, pack_command
from .constants import BusNames
from .entries import read_journal_entry
from .errors import RedisUnavailable
from .gap_tracker import BEGINNING, Entry, Loss, Place, has_hole, plan_refill, with_orders
from .messages import OrderMessage, PriceMessage
from .start import Start, sortable_time

log: Final = EventLog("tickerbus.subscriber")

PAGE: Final = 500  # entries in one read while looking for a place
# The server is up, but not yet, or not just now, able to answer.
PASSING_ERRORS: Final = ("LOADING", "BUSY", "MASTERDOWN", "TRYAGAIN", "CLUSTERDOWN", "NOAUTH")


class Refill(NamedTuple):
    """One round's harvest. `complete`: the journal was read to its top."""

    plan: list[Entry | Loss]
    complete: bool


class Found(NamedTuple):
    """Where a late joiner stands. `trimmed`: what it asked for began before the journal does."""

    place: Place | None
    trimmed: bool = False


class Journal:
    """The journals of one bus."""

    def __init__(self, config: RedisConfig, names: BusNames) -> None:
        self._config, self._names = config, names
        self._lock = threading.Lock()
        self._wire: Wire | None = None
        self._refused: set[str] = set()

    def close(self) -> None:
        with self._lock:
            self._drop_wire()

    def ping(self) -> bool:
        """Whether Redis answers now."""
        try:
            return bool(self._ask(("PING",)) == [b"PONG"])
        except RedisUnavailable:
            return False

    def refill(self, symbol: str, place: Place, limit: int, left: frozenset[int]) -> Refill:
        """Up to about `limit` messages after `place`, from both journals.

        Raises:
            RedisUnavailable: it could not be read now, or Redis was emptied and the broker is still
                to write the order journals again: what they lack is not lost yet.
        """
        log_key, order_key = self._names.ticker_log(symbol), self._names.order_log(symbol)
        # From `place` itself: if the journal still has it, nothing after it was trimmed.
        read_log = ("XRANGE", log_key, str(place), "+", "COUNT", limit + 1)
        (found,) = self._read(read_log)
        orders: list[Entry] = []
        if not (anchored := self._is_anchored(place, found, log_key)):
            # Orders first: one that is written between the two reads then is in the log too.
            read_orders = ("XRANGE", order_key, f"({place}", "+")
            orders, found = self._read_if_whole(read_orders, read_log)
            anchored = self._is_anchored(place, found, log_key)
        complete = len(found) <= limit
        if has_hole(found):
            (written_again,) = self._read(("XRANGE", order_key, f"({place}", str(found[-1].place)))
            found = with_orders(found, written_again)
        return Refill(plan_refill(place, anchored, found, orders, left), complete)

    def _is_anchored(self, place: Place, found: list[Entry], log_key: str) -> bool:
        if place == BEGINNING:
            return bool(found) and not self._was_trimmed(log_key)
        return bool(found) and found[0].place == place

    def tops(self, symbols: list[str]) -> list[Place | None]:
        """The newest place in each ticker's journal."""
        reads = [self._read_top(symbol) for symbol in symbols]
        return [entries[0].place if entries else None for entries in self._read(*reads)]

    def authority(self, heard: int | None) -> int | None:
        """The epoch that may write, as a primary knows it; None if there is none, or no primary.

        Who may not read the key has to believe the heartbeat's, which is `heard`.
        """
        epoch, role = self._ask(("GET", self._names.BROKER_EPOCH), ("ROLE",))
        if isinstance(epoch, hiredis.ReplyError):
            return heard
        is_replica = isinstance(role, list) and role[0] != b"master"
        if is_replica or not isinstance(epoch, bytes) or not epoch.isdigit():
            return None
        return int(epoch)

    # -- late joiners

    def find(self, symbol: str, start: Start) -> Found:
        """The place after which `start` begins.

        Raises:
            RedisUnavailable: it could not be read now.
        """
        if start.kind == "id":
            return Found(start.place)
        if start.kind == "last" and (last := self.last(symbol)):
            return Found(Place(last.epoch, last.seq).before)
        if start.kind == "since":
            return self._find_since(symbol, start.timestamp)
        return Found(self.tops([symbol])[0])

    def last(self, symbol: str) -> PriceMessage | None:
        """The last price: the newest that may set it, found by scanning back the journal."""
        key, end = self._names.ticker_log(symbol), "+"
        while entries := self._read(("XREVRANGE", key, end, "-", "COUNT", PAGE))[0]:
            for entry in entries:
                if isinstance(entry.message, PriceMessage) and entry.message.last_eligible:
                    return entry.message
            end = f"({entries[-1].place}"
        return None

    def orders(self, symbol: str) -> Iterator[OrderMessage]:
        """The ticker's order messages of the last days, oldest first."""
        for entry in self._pages(self._names.order_log(symbol)):
            if isinstance(entry.message, OrderMessage):
                yield entry.message

    def _find_since(self, symbol: str, timestamp: str) -> Found:
        """Journals are in the order of publication: a refilled trade may have an older time."""
        wanted = sortable_time(timestamp)
        log_key, order_key = self._names.ticker_log(symbol), self._names.order_log(symbol)
        first = next(self._pages(log_key), None)
        if first is None or _happened(first) >= wanted:  # the journal begins too late
            return self._find_before(first, log_key, order_key, wanted)
        for entry in self._pages(log_key):
            if _happened(entry) >= wanted:
                return Found(entry.place.before)
        return Found(self.tops([symbol])[0])

    def _find_before(
        self, first: Entry | None, log_key: str, order_key: str, wanted: tuple[str, str]
    ) -> Found:
        for order in self._pages(order_key):
            if first is not None and order.place >= first.place:
                break
            if _happened(order) >= wanted:
                return Found(order.place.before, trimmed=True)
        if first is None:
            return Found(None)
        return Found(first.place.before, first.place.seq > 1 or self._was_trimmed(log_key))

    def _was_trimmed(self, key: str) -> bool:
        (reply,) = self._ask(("XINFO", "STREAM", key))
        if not isinstance(reply, list):
            return False
        info = dict(zip(reply[::2], reply[1::2], strict=False))
        return bool(info.get(b"entries-added", 0) > info.get(b"length", 0))

    def _pages(self, key: str) -> Iterator[Entry]:
        begin = "-"
        while entries := self._read(("XRANGE", key, begin, "+", "COUNT", PAGE))[0]:
            yield from entries
            begin = f"({entries[-1].place}"

    def _read_top(self, symbol: str) -> tuple[str | int, ...]:
        return ("XREVRANGE", self._names.ticker_log(symbol), "+", "-", "COUNT", 1)

    # -- the wire

    def _read(self, *commands: tuple[str | int, ...]) -> list[list[Entry]]:
        """The entries of each read. What we may not read, or is no journal, counts as empty."""
        replies = self._ask(*commands)
        return [
            self._entries(str(command[1]), reply)
            for command, reply in zip(commands, replies, strict=True)
        ]

    def _read_if_whole(self, *commands: tuple[str | int, ...]) -> list[list[Entry]]:
        """The same. The broker writes its epoch last: without one the journals are not whole."""
        epoch = ("GET", self._names.BROKER_EPOCH)
        before, *replies, after = self._ask(epoch, *commands, epoch)
        if before is None or after is None:
            raise RedisUnavailable(self._config.address, "it is empty: no broker has opened it yet")
        return [
            self._entries(str(command[1]), reply)
            for command, reply in zip(commands, replies, strict=True)
        ]

    def _entries(self, key: str, reply: Any) -> list[Entry]:
        if isinstance(reply, hiredis.ReplyError):
            if key not in self._refused:
                self._refused.add(key)
                log.error("journal.unreadable", key=key, error=str(reply))
            return []
        return [read_journal_entry(entry_id, fields) for entry_id, fields in reply]

    def _ask(self, *commands: tuple[str | int, ...]) -> list[Any]:
        """One round trip for all commands."""
        packed = b"".join(pack_command(*command) for command in commands)
        with self._lock:
            try:
                if self._wire is None:
                    self._wire = Wire(self._config)
                self._wire.send(packed)
                replies = [self._wire.receive() for _ in commands]
            except WIRE_FAULTS as error:
                self._drop_wire()
                raise RedisUnavailable(self._config.address, error) from error
            for reply in replies:
                if isinstance(reply, hiredis.ReplyError) and str(reply).startswith(PASSING_ERRORS):
                    self._drop_wire()
                    raise RedisUnavailable(self._config.address, reply)
        return replies

    def _drop_wire(self) -> None:
        if self._wire is not None:
            self._wire.close()
            self._wire = None


def _happened(entry: Entry) -> tuple[str, str]:
    try:
        return sortable_time(entry.numbers.timestamp)
    except ValueError:
        return ("", "")
