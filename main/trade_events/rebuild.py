"""Rebuilding: all state made again from the log, compared with the live state, and put in its place
where that is wanted. The log's events go through the same server-side code that moved the live
state; what is compared, and replaced, is one atomic step at one place of the log.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final, cast

import redis

from .errors import RebuildFailed
from .events import TradeEvent
from .kinds import SHAPES
from .library import SETTLE, SHADOW, call
from .names import TradeNames
from .wire import decode_logged, pack_array, pack_logged

PAGE: Final = 500
ROUNDS: Final = 200


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
        self._last = "0-0"
        self._events = self._otherwise = 0

    def run(self, *, apply: bool) -> Rebuilt:
        """
        Raises:
            RebuildFailed: the log grew faster than it could be read; nothing was changed.
            redis.RedisError: Redis does not answer.
        """
        for _ in range(ROUNDS):
            self._apply_the_log()
            names = list(self._live_names())
            reply = call(
                self._client,
                SETTLE,
                [self._names.log, self._touched, self._names.config],
                self._names.prefix,
                self._shadow,
                self._last,
                int(apply),
                *names,
            )
            if reply[0] == b"DONE":
                return self._report(reply, apply)
        raise RebuildFailed("the log grows faster than it can be read: try again when it is calm")

    def _apply_the_log(self) -> None:
        while page := self._client.xrange(self._names.log, f"({self._last}", "+", count=PAGE):
            packed = []
            for log_id, fields in page:
                event = _decoded(log_id, fields)
                if event is not None and SHAPES[event.event_type].subject:
                    packed.append(pack_logged(event))
            if packed:
                keys = [self._touched, self._names.config]
                self._otherwise += call(
                    self._client, SHADOW, keys, self._shadow, pack_array(packed)
                )
            self._events += len(page)
            self._last = page[-1][0].decode()

    def _live_names(self) -> Iterator[str]:
        """Hashes that look like state."""
        start = len(self._names.prefix)
        for subject in ("order", "position"):
            pattern = self._names.every_state(subject)
            for key in self._client.scan_iter(match=pattern, count=1_000, _type="hash"):
                name = key.decode(errors="replace")[start:]
                if name.count(":") >= 2:
                    yield name

    def _report(self, reply: list[Any], applied: bool) -> Rebuilt:
        flat = [text.decode() for text in reply[3]]
        return Rebuilt(
            events=self._events,
            compared=reply[1],
            older=reply[2],
            differences=dict(zip(flat[::2], flat[1::2], strict=True)),
            judged_otherwise=self._otherwise,
            applied=applied,
        )


def _decoded(log_id: bytes, fields: dict[bytes, bytes]) -> TradeEvent | None:
    try:
        return decode_logged(log_id, fields)
    except ValueError:
        return None  # somebody else's entry: it moved nothing
