"""The websocket shells: aiohttp on one side, pure conversations on the other.

Each connection has a task that reads and a task that writes. The writer sends control frames
first, then everything that waits in one frame: a slow reader gets more per frame.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from aiohttp import WSCloseCode

from .data_session import Turn, keys_of_headers
from .errors import stream_error
from .hub import Reader
from .outbox import Published
from .simulator import Simulator
from .trading_desk import TradingReader
from .wire import Wire

NowNs = Callable[[], int]


class DataSocket:
    """One market-data connection."""

    def __init__(
        self,
        sim: Simulator,
        reader: Reader,
        wire: Wire,
        now_ns: NowNs,
        on_subscribed: Callable[[], None],
    ) -> None:
        self.sim = sim
        self._on_subscribed = on_subscribed
        self.reader = reader
        self.wire = wire
        self._now_ns = now_ns
        self._rules = sim.config.streams
        self._loop = asyncio.get_running_loop()
        self._deadline: asyncio.TimerHandle | None = None
        self._ended = False
        self._refusal: asyncio.Future[None] | None = None

    async def serve(self, headers: Mapping[str, str]) -> None:
        """Until the connection ends."""
        self.reader.wake = self.wire.awake.set
        writer = asyncio.create_task(self._write(), name=f"writer-{self.reader.number}")
        self.reader.on_slow = lambda: self._on_slow(writer)
        keeper = asyncio.create_task(self.wire.keep_alive(self._rules.pong_timeout_s))
        self._take_turn(self.reader.session.open(headers))
        self._expect_sign_in()
        try:
            while (frame := await self.wire.receive()) is not None:
                self._on_frame(frame)
            await self.wire.thawed.wait()
        finally:
            keeper.cancel()
            self._end(writer)

    def _on_frame(self, frame: bytes | str) -> None:
        self.sim.note_time(self._now_ns())
        turn = self.sim.streams.hear(self.reader, frame)
        if turn is None:  # a fault: the connection dies instead of answering
            self.wire.reset()
            return
        if turn.sign_in:
            self._expect_sign_in()
        delay_s = self.sim.streams.ack_delay_s(self.reader)
        if turn.acknowledges and delay_s > 0:
            self._loop.call_later(delay_s, self._take_turn, turn)
        else:
            self._take_turn(turn)

    def _take_turn(self, turn: Turn) -> None:
        if self._ended:  # a delayed ack, too late
            return
        self.reader.say(turn)
        if turn.subscribed:
            self.sim.streams.subscribed(self.reader, self._now_ns())
            self._on_subscribed()
        if turn.close:
            self._loop.call_soon(asyncio.ensure_future, self._close_soon())

    def _expect_sign_in(self) -> None:
        # Each attempt starts the time again: Go's SDK signs in again after 406 (S1, flow.go).
        if self._deadline is not None:
            self._deadline.cancel()
        if self._rules.auth_timeout_s and not self.reader.session.authenticated:
            self._deadline = self._loop.call_later(
                self._rules.auth_timeout_s, lambda: self._take_turn(self.reader.session.time_out())
            )

    async def _close_soon(self) -> None:
        while self.reader.control and not self.wire.ws.closed:
            await asyncio.sleep(0.001)
        await self.wire.close(self._rules.close_code)

    async def _write(self) -> None:
        reader, wire = self.reader, self.wire
        encoding = reader.session.encoding
        with contextlib.suppress(ConnectionError, RuntimeError):
            while True:
                await wire.awake.wait()
                wire.awake.clear()
                while reader.control or len(reader.outbox):
                    if reader.control:
                        frame = reader.control[0]
                        await wire.send(frame, binary=encoding.binary)
                        reader.control.popleft()
                        continue
                    if reader.outbox.overflowed:
                        await self.refuse_slow_reader()
                        return
                    batch = reader.outbox.take()
                    frame = encoding.frame([item.encoded(encoding) for item in batch])
                    await wire.send(frame, binary=encoding.binary)
                    self._record(batch)

    def _record(self, batch: list[Published]) -> None:
        oracle, number = self.sim.oracle, self.reader.number
        for item in batch:
            if item.serial:
                oracle.sent(number, item.symbol, item.serial)

    def _on_slow(self, writer: asyncio.Task[None]) -> None:
        # The writer may be stuck in a send that never ends. A frozen wire stays frozen.
        if self._refusal is None and not self.wire.frozen:
            writer.cancel()
            self._refusal = asyncio.ensure_future(self.refuse_slow_reader())

    async def refuse_slow_reader(self) -> None:
        """407 where it still arrives, then the end."""
        encoding = self.reader.session.encoding
        self.reader.outbox.clear()
        frame = encoding.frame([encoding.encode(stream_error(407))])
        try:
            async with asyncio.timeout(1.0):
                await self.wire.send(frame, binary=encoding.binary)
                await self.wire.close(self._rules.close_code)
        except (TimeoutError, ConnectionError, RuntimeError, asyncio.CancelledError):
            # It does not even read its own end. (Cancelling the writer may cancel the wait for
            # room in the socket, which the two share.)
            self.wire.reset()

    def _end(self, writer: asyncio.Task[None]) -> None:
        self._ended = True
        if self._deadline is not None:
            self._deadline.cancel()
        writer.cancel()
        self.sim.streams.close_reader(
            self.reader, clean=self.wire.ended_clean, now_ns=self._now_ns()
        )


class TradingSocket:
    """One trading-stream connection."""

    def __init__(self, sim: Simulator, reader: TradingReader, wire: Wire) -> None:
        self._sim = sim
        self.reader = reader
        self.wire = wire
        # Paper sends JSON in binary frames (D4).
        self._binary = sim.config.trading_frames == "binary"

    async def serve(self, headers: Mapping[str, str]) -> None:
        """Until the connection ends."""
        self.reader.wake = self.wire.awake.set
        self.reader.on_slow = self.wire.reset
        writer = asyncio.create_task(self._write(), name="trading-writer")
        timeout_s = self._sim.config.streams.pong_timeout_s
        keeper = asyncio.create_task(self.wire.keep_alive(timeout_s))
        keys = keys_of_headers(headers)
        if keys is not None:
            self.reader.session.sign_in_by_header(*keys)
        try:
            while (frame := await self.wire.receive()) is not None:
                self.reader.say(self.reader.session.receive(frame))
            await self.wire.thawed.wait()
        finally:
            keeper.cancel()
            writer.cancel()
            self._sim.board.event_line.forget(self.reader.number)
            self._sim.desk.close_reader(self.reader)

    async def _write(self) -> None:
        frames = self.reader.frames
        with contextlib.suppress(ConnectionError, RuntimeError):
            while True:
                await self.wire.awake.wait()
                self.wire.awake.clear()
                while frames:
                    await self.wire.send(frames[0], binary=self._binary)
                    frames.popleft()
                if self.reader.session.close_after_send:
                    await self.wire.close(WSCloseCode.POLICY_VIOLATION)
