"""The websocket shells: aiohttp on one side, pure conversations on the other.

Each connection has a task that reads and a task that writes. The writer sends control frames
first, then everything that waits in one frame: a slow reader gets more per frame.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
from collections.abc import Callable, Mapping

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from .config import StreamRules
from .data_session import Turn, keys_of_headers
from .errors import stream_error
from .hub import Reader
from .outbox import Published
from .simulator import Simulator
from .trading_desk import TradingReader

NowNs = Callable[[], int]
_MAX_REQUEST_BYTES = 16 * 1024 * 1024


class Wire:
    """One accepted websocket, and the ways in which it can be made to fail."""

    def __init__(self, ws: web.WebSocketResponse, request: web.Request) -> None:
        self.ws = ws
        self.remote = str(request.remote)
        self._request = request
        self.awake = asyncio.Event()
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.answers_pings = True
        self.ended_clean = False
        self.keeps_slot_s: float | None = None

    @property
    def frozen(self) -> bool:
        """Whether packets vanish both ways."""
        return not self.thawed.is_set()

    def freeze(self) -> None:
        """Half-open: nothing is read, written or answered, and nothing is closed."""
        self.thawed.clear()
        transport = self._request.transport
        if isinstance(transport, asyncio.Transport) and not transport.is_closing():
            transport.pause_reading()

    def thaw(self) -> None:
        """End of a freeze."""
        self.thawed.set()
        transport = self._request.transport
        if isinstance(transport, asyncio.Transport) and not transport.is_closing():
            transport.resume_reading()

    def reset(self) -> None:
        """End with a TCP reset."""
        transport = self._request.transport
        if transport is None:
            return
        raw = transport.get_extra_info("socket")
        if raw is not None:
            with contextlib.suppress(OSError):
                raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        transport.abort()

    @property
    def compressed(self) -> bool:
        """Whether permessage-deflate was negotiated."""
        return bool(self.ws.compress)

    def backlog(self) -> int:
        """Bytes that the kernel has not taken yet."""
        transport = self._request.transport
        return transport.get_write_buffer_size() if transport is not None else 0

    def write_raw(self, data: bytes) -> bool:
        """Ready websocket frames, past every queue; False when the connection has ended."""
        transport = self._request.transport
        if transport is None or transport.is_closing():
            return False
        if not self.frozen:
            transport.write(data)
        return True

    async def send(self, frame: bytes, *, binary: bool) -> None:
        """One frame; waits while the reader is slow or the wire is frozen."""
        await self.thawed.wait()
        if binary:
            await self.ws.send_bytes(frame)
        else:
            await self.ws.send_str(frame.decode())

    async def close(self, code: int, reason: str = "") -> None:
        """A closing handshake."""
        self.ended_clean = True
        await self.ws.close(code=code, message=reason.encode())

    async def receive(self) -> bytes | str | None:
        """The next frame of the client; None when the connection has ended."""
        while True:
            message: WSMessage = await self.ws.receive()
            match message.type:
                case WSMsgType.TEXT | WSMsgType.BINARY:
                    return message.data  # type: ignore[no-any-return]
                case WSMsgType.PING:
                    if self.answers_pings:
                        await self.ws.pong(message.data)
                case WSMsgType.CLOSE:
                    self.ended_clean = True
                    return None
                case WSMsgType.PONG:
                    continue
                case _:
                    return None


async def upgrade(request: web.Request, rules: StreamRules) -> Wire:
    """Accept the websocket. Pings are answered by `Wire.receive`, so that a fault can stop it."""
    ws = web.WebSocketResponse(
        autoping=False,
        heartbeat=rules.pong_timeout_s * 2 / 3 if rules.pong_timeout_s else None,
        compress=rules.compression,
        max_msg_size=_MAX_REQUEST_BYTES,
        timeout=2.0,
    )
    await ws.prepare(request)
    return Wire(ws, request)


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

    async def serve(self, headers: Mapping[str, str]) -> None:
        """Until the connection ends."""
        self.reader.wake = self.wire.awake.set
        writer = asyncio.create_task(self._write(), name=f"writer-{self.reader.number}")
        self._take_turn(self.reader.session.open(headers))
        self._expect_sign_in()
        try:
            while (frame := await self.wire.receive()) is not None:
                self._on_frame(frame)
            await self.wire.thawed.wait()
        finally:
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

    async def refuse_slow_reader(self) -> None:
        """407 where it still arrives, then the end."""
        encoding = self.reader.session.encoding
        self.reader.outbox.clear()
        frame = encoding.frame([encoding.encode(stream_error(407))])
        try:
            async with asyncio.timeout(1.0):
                await self.wire.send(frame, binary=encoding.binary)
                await self.wire.close(self._rules.close_code)
        except (TimeoutError, ConnectionError, RuntimeError):
            self.wire.reset()  # it does not even read its own end

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
        writer = asyncio.create_task(self._write(), name="trading-writer")
        keys = keys_of_headers(headers)
        if keys is not None:
            self.reader.session.sign_in_by_header(*keys)
        try:
            while (frame := await self.wire.receive()) is not None:
                self.reader.say(self.reader.session.receive(frame))
            await self.wire.thawed.wait()
        finally:
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
