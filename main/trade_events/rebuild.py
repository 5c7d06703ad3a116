"""Rebuilding: all state made again from the log, compared with the live state, and put in its place
where that is wanted. The log's events go through the same server-side code that moved the live
state. What has moved on since the log was read is not judged, but asked for again.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

import redis

from .errors import RebuildFailed
from .events import TradeEvent
from .kinds import SHAPES, Subject
from .library import SETTLE, SHADOW, call
from .names import TradeNames
from .wire import Packed, decode_verbatim, pack_events, pack_logged, pack_texts

PAGE: Final = 200  # Redis serves nobody else meanwhile, some 10 ms
ROUNDS: Final = 100
SUBJECTS: Final[tuple[Subject, ...]] = ("order", "position")


@dataclass(frozen=True, kw_only=True)
class Rebuilt:
    """What was found. `events`: read from the log. `compared`: orders and positions that the log
    tells in full; `older`: those that began before it does, left as they are. `differences`: by
    name (`order:XAUUSD:12345`), the fields that differ, "index", or "surplus" for state that the
    log knows nothing of. `judged_otherwise`: events that made another move this time.
    """

    events: int
    compared: int
    older: int
    differences: dict[str, str]
    judged_otherwise: int
    applied: bool

    @property
    def is_equal(self) -> bool:
        """Whether live state and log agree in everything."""
        return not self.differences and not self.judged_otherwise


class Rebuild:
    """One rebuild."""

    def __init__(self, client: redis.Redis, names: TradeNames) -> None:
        self._client, self._names = cast(Any, client), names
        self._shadow = f"{names.shadow}{uuid.uuid4().hex[:8]}:"
        self._touched = f"{self._shadow}touched"
        self._first, self._last = "", "0-0"
        self._events = self._otherwise = self._compared = self._older = 0
        self._differences: dict[str, str] = {}

    def run(self, *, apply: bool) -> Rebuilt:
        """
        Raises:
            RebuildFailed: something moved on faster than the log could be read.
            redis.RedisError: Redis does not answer.
        """
        self._apply_the_log()
        names = sorted({*self._live_names(), *self._touched_names()})
        for _ in range(ROUNDS):
            names = self._settle(names, apply)
            if not names:
                break
            self._apply_the_log()
        else:
            raise RebuildFailed(f"{len(names)} orders and positions never stood still: try again")
        self._client.delete(self._touched)
        return Rebuilt(
            events=self._events,
            compared=self._compared,
            older=self._older,
            differences=self._differences,
            judged_otherwise=self._otherwise,
            applied=apply,
        )

    def _apply_the_log(self) -> None:
        """From where it was left, to its end."""
        while page := self._client.xrange(self._names.log, f"({self._last}", "+", count=PAGE):
            packed: list[Packed] = []
            told: list[str] = []  # of each its log id, and its anomaly
            for log_id, fields in page:
                event = _decoded(log_id, fields)
                if event is not None and SHAPES[event.event_type].subject:
                    packed.append(pack_logged(event))
                    told += (log_id.decode(), event.anomaly or "")
            if packed:
                keys = [self._touched, self._names.config]
                arguments = (self._shadow, pack_events(packed), pack_texts(told))
                self._otherwise += call(self._client, SHADOW, keys, *arguments)
            self._events += len(page)
            self._first = self._first or page[0][0].decode()
            self._last = page[-1][0].decode()

    def _settle(self, names: list[str], apply: bool) -> list[str]:
        """Compare them, some at a time; returns those that have moved on meanwhile."""
        moved_on = []
        ends = (self._first or "0-0", self._last)
        for start in range(0, len(names), PAGE):
            some = names[start : start + PAGE]
            keys, head = [self._names.config], (self._names.prefix, self._shadow, *ends, int(apply))
            for name, outcome in zip(
                some, call(self._client, SETTLE, keys, *head, *some), strict=True
            ):
                if outcome == b">":
                    moved_on.append(name)
                elif outcome == b"~":
                    self._older += 1
                else:
                    self._compared += 1
                    if outcome != b"=":
                        self._differences[name] = outcome.decode()
        return moved_on

    def _touched_names(self) -> Iterator[str]:
        for name in self._client.sscan_iter(self._touched, count=PAGE):
            yield name.decode()

    def _live_names(self) -> Iterator[str]:
        """Hashes that look like state."""
        start = len(self._names.prefix)
        for subject in SUBJECTS:
            pattern = self._names.every_state(subject)
            for key in self._client.scan_iter(match=pattern, count=PAGE, _type="hash"):
                name = key.decode(errors="replace")[start:]
                if self._client.hexists(key, "first_log_id"):  # else it is somebody else's
                    yield name


def _decoded(log_id: bytes, fields: dict[bytes, bytes]) -> TradeEvent | None:
    try:
        return decode_verbatim(log_id, fields)
    except ValueError:
        return None  # somebody else's entry: it moved nothing
