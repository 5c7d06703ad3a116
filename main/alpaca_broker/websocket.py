"""A websocket whose messages come straight from its socket.

The `websockets` library opens the connection (proxy, TLS, handshake), answers pings and closes it.
Data messages do not pass its parser, its queue and a second thread, which took half of the time of
a small frame: they are parted from the rest where the library reads its socket.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable
from typing import Any, Final, TypeAlias, cast

from websockets.client import ClientProtocol
from websockets.sync.client import ClientConnection

from .tls_socket import SharedTlsSocket

Message: TypeAlias = bytes | str

# RFC 6455, section 5.2: the first byte of a frame is FIN, three reserved bits, and the opcode.
_WHOLE_TEXT, _WHOLE_BINARY, _FIN, _RESERVED = 0x81, 0x82, 0x80, 0x70
_CONTINUATION, _TEXT, _BINARY = 0, 1, 2
_MASKED: Final = 0x80
_LENGTH_BYTES: Final = {126: 2, 127: 8}


class MessageSplitter:
    """Pure: parts what a server sends into data messages and what the library has to see: the
    answer to the handshake, control frames, and all that it will refuse."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._split = self._split_head
        self._parts: list[bytes] = []  # of what is not complete yet
        self._size = self._needed = 0
        self._unfinished: bytearray | None = None  # of a message in fragments
        self._is_text = False

    def split(self, received: bytes) -> tuple[list[Message], bytes]:
        """(messages that are complete now, what the library has to see now).

        Raises:
            ValueError: a message in fragments is too long, fragments come in an order that is
                none, or text is not UTF-8.
        """
        return self._split(received)

    def _split_head(self, received: bytes) -> tuple[list[Message], bytes]:
        self._parts.append(received)
        head, end, frames = b"".join(self._parts).partition(b"\r\n\r\n")
        if not end:
            return [], received
        self._parts = []
        if not head.startswith(b"HTTP/1.1 101 "):
            self._split = self._pass_on
            return [], received
        self._split = self._split_frames
        messages, rest = self._split_frames(frames)
        return messages, received[: len(received) - len(frames)] + rest

    def _pass_on(self, received: bytes) -> tuple[list[Message], bytes]:
        return [], received

    def _split_frames(self, received: bytes) -> tuple[list[Message], bytes]:
        self._parts.append(received)
        self._size += len(received)
        if self._size < self._needed:
            return [], b""
        data, size = b"".join(self._parts), self._size
        messages: list[Message] = []
        rest = b""
        position, self._needed = 0, 2
        while position + self._needed <= size:
            length, start = data[position + 1], position + 2
            if length in _LENGTH_BYTES:
                start += _LENGTH_BYTES[length]
                length = int.from_bytes(data[position + 2 : start]) if start <= size else 0
            elif length & _MASKED:
                length = self._max_bytes + 1  # servers do not mask: the library refuses it
            if length > self._max_bytes:
                self._split = self._pass_on
                return messages, rest + data[position:]
            if start + length > size:
                self._needed = start + length - position
                break
            first, payload = data[position], data[start : start + length]
            if first == _WHOLE_BINARY and self._unfinished is None:
                messages.append(payload)
            elif first == _WHOLE_TEXT and self._unfinished is None:
                messages.append(payload.decode())
            elif first & ~_FIN in (_CONTINUATION, _TEXT, _BINARY):
                self._take_fragment(first, payload, messages)
            else:
                rest += data[position : start + length]
            position, self._needed = start + length, 2
        self._parts, self._size = [data[position:]], size - position
        return messages, rest

    def _take_fragment(self, first: int, payload: bytes, messages: list[Message]) -> None:
        if first & ~_FIN != _CONTINUATION:
            if self._unfinished is not None:
                raise ValueError("a new message before the last fragment of the one before")
            self._unfinished, self._is_text = bytearray(), first & ~_FIN == _TEXT
        elif self._unfinished is None:
            raise ValueError("a fragment of no message")
        if len(self._unfinished) + len(payload) > self._max_bytes:
            raise ValueError(f"a message of more than {self._max_bytes} bytes")
        self._unfinished += payload
        if first & _FIN:
            whole, self._unfinished = bytes(self._unfinished), None
            messages.append(whole.decode() if self._is_text else whole)


class Inbox:
    """What has come and waits for the one thread that reads it, in order.

    While nothing waits, a `shortcut` may take messages at once, in the receiving thread.
    """

    def __init__(self, shortcut: Callable[[list[Message]], bool]) -> None:
        """`shortcut` says whether it took them: all, or none."""
        self._shortcut = shortcut
        self._waiting: deque[Message] = deque()
        self._ready = threading.Condition(threading.Lock())
        self._ended = False

    def put(self, messages: list[Message]) -> None:
        with self._ready:
            if not self._waiting and self._shortcut(messages):
                return
            self._waiting.extend(messages)
            self._ready.notify()

    def end(self) -> None:
        """Nothing will come any more."""
        with self._ready:
            self._ended = True
            self._ready.notify()

    def first(self, timeout_s: float) -> Message | None:
        """The message that has waited longest, None at the end. It stays the first, and blocks the
        shortcut, until it is `dropped`.

        Raises:
            TimeoutError: none came.
        """
        with self._ready:
            if not self._ready.wait_for(lambda: self._waiting or self._ended, timeout_s):
                raise TimeoutError
            return self._waiting[0] if self._waiting else None

    def drop_first(self) -> None:
        with self._ready:
            self._waiting.popleft()


class TappedConnection(ClientConnection):
    """The library's connection. Data messages go to an inbox: its own `recv` only tells its end."""

    def __init__(
        self,
        sock: socket.socket,
        protocol: ClientProtocol,
        *,
        shortcut: Callable[[list[Message]], bool],
        max_bytes: int,
        **options: Any,
    ) -> None:
        """`max_bytes`: of a message; what is longer ends the connection."""
        self.inbox = Inbox(shortcut)
        # The library takes for a socket what has a socket's methods.
        tap = cast(socket.socket, _Tap(sock, MessageSplitter(max_bytes), self.inbox))
        super().__init__(tap, protocol, **options)


class _Tap:
    """A socket of which the library reads what the splitter leaves to it."""

    def __init__(self, sock: socket.socket, splitter: MessageSplitter, inbox: Inbox) -> None:
        # The library reads when something has come; the tap waits in recv while others send.
        self._socket = SharedTlsSocket(sock) if isinstance(sock, ssl.SSLSocket) else sock
        self._splitter, self._inbox = splitter, inbox

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def recv(self, size: int) -> bytes:
        try:
            while received := self._socket.recv(size):
                messages, rest = self._splitter.split(received)
                if messages:
                    self._inbox.put(messages)
                if rest:
                    return rest
        except BaseException:
            self._inbox.end()
            raise
        self._inbox.end()
        return b""

    def close(self) -> None:
        # Shut down first: it wakes a thread that is blocked in recv.
        with contextlib.suppress(OSError):  # it may be gone already
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
