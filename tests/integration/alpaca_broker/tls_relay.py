"""The local Alpaca as the real one is reached: over TLS, by a relay that ends it."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.integration.security.tls_redis import make_ca, make_certificate


class TlsRelay:
    """Forwards what comes over TLS to a plain port of loopback. `ca` signed its certificate.

    One thread does all of it: nothing here can hide or cause what is tested at the other end.
    """

    def __init__(self, folder: Path, target: int) -> None:
        self.ca = make_ca(folder, "ca")
        certificate = make_certificate(folder, self.ca, "localhost")
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(certificate, certificate.with_suffix(".key"))
        self.accepted = self.port = 0
        self._target = target
        self._listening = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()), name="tls-relay")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._listening.wait(10), "the relay listens"
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join(10)

    def url(self, plain: str) -> str:
        """The same place by way of the relay."""
        return plain.replace(f"ws://127.0.0.1:{self._target}", f"wss://localhost:{self.port}")

    async def _run(self) -> None:
        self._loop, self._over = asyncio.get_running_loop(), asyncio.Event()
        server = await asyncio.start_server(self._join, "127.0.0.1", 0, ssl=self.context)
        self.port = server.sockets[0].getsockname()[1]
        self._listening.set()
        await self._over.wait()
        server.close()

    async def _join(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        up_reader, up_writer = await asyncio.open_connection("127.0.0.1", self._target)
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.gather(_pump(reader, up_writer), _pump(up_reader, writer))


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while received := await reader.read(65_536):
            writer.write(received)
            await writer.drain()
    writer.close()
