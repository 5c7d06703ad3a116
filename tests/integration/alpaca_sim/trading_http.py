"""A bare HTTP client for measuring: ready-made requests on one kept-alive connection."""

from __future__ import annotations

import json
import socket
from typing import Any, Self


class BareHttp:
    """Sends one request at a time and reads its answer; nothing else of HTTP."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._rest = b""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def call(self, method: str, path: str, fields: dict[str, Any] | None = None) -> tuple[int, Any]:
        """Status and decoded body."""
        body = b"" if fields is None else json.dumps(fields).encode()
        head = (
            f"{method} {path} HTTP/1.1\r\nHost: 127.0.0.1\r\n"
            "APCA-API-KEY-ID: local\r\nAPCA-API-SECRET-KEY: local-secret\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        self._socket.sendall(head.encode() + body)
        return self._answer()

    def _answer(self) -> tuple[int, Any]:
        while b"\r\n\r\n" not in self._rest:
            self._read()
        head, _, rest = self._rest.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n")[1:]:
            name, _, value = line.partition(b":")
            if name.lower() == b"content-length":
                length = int(value)
        while len(rest) < length:
            self._rest = b""
            self._read()
            rest += self._rest
        self._rest = rest[length:]
        body = rest[:length]
        return int(head.split(b" ", 2)[1]), json.loads(body) if body else None

    def _read(self) -> None:
        chunk = self._socket.recv(65_536)
        if not chunk:
            raise ConnectionError("the server closed the connection")
        self._rest += chunk
