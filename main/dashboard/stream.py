"""What a viewer's browser is sent: server-sent events, four a second at the most.

Each event holds what has changed since the one before it. A browser, or a network, that takes them
slowly gets fewer and larger ones: nothing is queued for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from .board import Board
from .panels import PANELS_OF, Panels, signed
from .reader import BoardReader

EVERY_S: Final = 0.25
UNSEEN_S: Final = 1.0  # while nobody looks
SAY_SOMETHING_S: Final = 1.0
MAX_VIEWERS: Final = 64
_encode = msgspec.json.Encoder().encode


class Pulse:
    """Ticks the board four times a second, and wakes the viewers. Belongs to the event loop."""

    def __init__(self, board: Board, reader: BoardReader) -> None:
        self._board, self._reader = board, reader
        self._beat = asyncio.Event()
        self.closing = False
        self.viewers = 0

    async def run(self) -> None:
        next_s = time.monotonic()
        while not self.closing:
            with self._reader.lock:
                self._board.tick(time.time())
            self._wake()
            every_s = EVERY_S if self.viewers else UNSEEN_S
            next_s = max(next_s + every_s, time.monotonic() + every_s / 2)
            await asyncio.sleep(next_s - time.monotonic())
        self._wake()  # for the last time: they see that it is over

    async def next(self) -> None:
        await self._beat.wait()

    def _wake(self) -> None:
        beat, self._beat = self._beat, asyncio.Event()
        beat.set()


@dataclass
class Viewer:
    """One open page. `events` is what its browser reads."""

    board: Board
    reader: BoardReader
    panels: Panels
    pulse: Pulse
    view: str
    symbol: str
    secret: str
    _version: int = 0
    _sent: dict[str, str] = field(default_factory=dict)
    _orders_seen: int = 0
    _point: tuple[float | None, float | None] = (None, None)

    async def events(self) -> AsyncIterator[bytes]:
        self.pulse.viewers += 1
        said_s = 0.0
        try:
            yield b"retry: 1000\n\n"
            while not self.pulse.closing:
                news = self.news()
                if len(news) > 1 or time.monotonic() - said_s >= SAY_SOMETHING_S:
                    said_s = time.monotonic()
                    yield b"data: " + _encode(news) + b"\n\n"
                await self.pulse.next()
        finally:
            self.pulse.viewers -= 1

    def news(self) -> dict[str, Any]:
        """What has changed since the last call; `now` is always there."""
        now_s = time.time()
        news: dict[str, Any] = {"now": round(now_s, 3)}
        with self.reader.lock:
            if panels := self._changed_panels(now_s):
                news["panels"] = panels
            if self.view == "tickers":
                self._add_rows(news)
            if self.view == "ticker":
                self._add_points(news)
        return news

    def _changed_panels(self, now_s: float) -> dict[str, str]:
        changed = {}
        for name in PANELS_OF[self.view]:
            html = self.panels.render(name, now_s, self.symbol)
            if self._sent.get(name) is not html:
                self._sent[name] = html
                changed[name] = str(signed(html, self.secret))
        return changed

    def _add_rows(self, news: dict[str, Any]) -> None:
        first = self._version == 0
        changes = self.board.changes(self._version)
        self._version = changes.version
        if changes.rows or first:
            news["rows"] = [row.cells for row in changes.rows]
        if first:
            news["all"] = True
        elif changes.gone:
            news["gone"] = changes.gone

    def _add_points(self, news: dict[str, Any]) -> None:
        row = self.board.rows.get(self.symbol)
        if row is not None and row.last is not None:
            point = (row.last_at_s, row.last)
            if point != self._point:
                self._point = point
                news["point"] = point
        book = self.board.orders
        if book.version != self._orders_seen:
            seen, self._orders_seen = self._orders_seen, book.version
            new = [line.mark for line in book.of(self.symbol) if line.number > seen and line.mark]
            if new and seen:
                news["marks"] = new
