"""One accepted websocket, and the ways in which it can be made to fail. Thin shell."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

from aiohttp import WSMessage, WSMsgType, web

_MAX_REQUEST_BYTES = 16 * 1024 * 1024


class Wire:
    """One accepted websocket, and the ways in which it can be made to fail."""

    def __init__(self, ws: web.WebSocketResponse, request: web.Request) -> None:
        self.ws = ws
        self._request = request
        self.awake = asyncio.Event()
        self.thawed = asyncio.Event()
        self.thawed.set()
        self.ended_clean = False
        self._heard_at = asyncio.get_running_loop().time()

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

    async def keep_alive(self, timeout_s: float) -> None:
        """Ping; a client that has not been heard for so long is cut. 0 is never."""
        clock = asyncio.get_running_loop().time
        with contextlib.suppress(ConnectionError, RuntimeError):
            while timeout_s:
                await asyncio.sleep(timeout_s / 3)
                if self.frozen:
                    self._heard_at = clock()
                elif clock() - self._heard_at > timeout_s:
                    self.reset()
                    return
                else:
                    await self.ws.ping()

    async def close(self, code: int, reason: str = "") -> None:
        """A closing handshake."""
        self.ended_clean = True
        await self.ws.close(code=code, message=reason.encode())

    async def receive(self) -> bytes | str | None:
        """The next frame of the client; None when the connection has ended."""
        while True:
            message: WSMessage = await self.ws.receive()
            self._heard_at = asyncio.get_running_loop().time()
            match message.type:
                case WSMsgType.TEXT | WSMsgType.BINARY:
                    return message.data  # type: ignore[no-any-return]
                case WSMsgType.PING:
                    with contextlib.suppress(ConnectionError):  # it is gone: the next read says so
                        await self.ws.pong(message.data)
                case WSMsgType.CLOSE:
                    self.ended_clean = True
                    return None
                case WSMsgType.PONG:
                    continue
                case _:
                    return None


async def upgrade(request: web.Request, *, compression: bool) -> Wire:
    """Accept the websocket. `Wire.receive` answers pings, so that a fault can stop it."""
    ws = web.WebSocketResponse(
        autoping=False,
        compress=compression,
        max_msg_size=_MAX_REQUEST_BYTES,
        timeout=2.0,
    )
    await ws.prepare(request)
    return Wire(ws, request)
