"""A TLS socket that one thread reads while others write.

OpenSSL allows one call at a time on a connection, reading or writing: two at once end in a broken
record or a hang. So every call is made under one lock, and none waits for the peer while it holds
it: neither half a record nor a full window at the other side keeps anybody else waiting.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any, Final, TypeVar

_T = TypeVar("_T")

# How long to wait before trying again anyway: another thread's call may have taken from the network
# what is waited for here, and who closes the socket may do it before the wait has begun.
_LOOK_S: Final = 0.5


class SharedTlsSocket:
    """As much of a socket as a websocket needs. Any thread may call it at any time."""

    def __init__(self, sock: ssl.SSLSocket) -> None:
        """`sock` has shaken hands, and belongs to this object from now on."""
        self._socket, self._lock = sock, threading.Lock()
        self._timeout_s = sock.gettimeout()
        sock.setblocking(False)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._socket, name)

    def settimeout(self, timeout_s: float | None) -> None:
        """For `sendall`. Who reads waits until something comes, or the socket is shut down."""
        self._timeout_s = timeout_s

    def recv(self, size: int) -> bytes:
        """What has come, b"" at the end.

        Raises:
            OSError: the connection was lost, or closed here.
        """
        return self._call(partial(self._socket.recv, size), None)

    def sendall(self, data: bytes) -> None:
        """Send everything; one thread at a time, as the library sees to.

        Raises:
            TimeoutError: the peer did not take it in time.
            OSError: the connection was lost, or closed here.
        """
        end_s = None if self._timeout_s is None else time.monotonic() + self._timeout_s
        left = memoryview(data)
        while left:
            left = left[self._call(partial(self._socket.send, left), end_s) :]

    def shutdown(self, how: int) -> None:
        """End the TCP connection, which wakes all who wait."""
        with self._lock:
            # An SSLSocket's own shutdown ends TLS too: its recv would give what is encrypted.
            socket.socket.shutdown(self._socket, how)

    def close(self) -> None:
        with self._lock:  # nobody is inside a call on a descriptor that may be somebody else's soon
            self._socket.close()

    def _call(self, attempt: Callable[[], _T], end_s: float | None) -> _T:
        """The outcome of `attempt` once it need not wait. `end_s`: of the monotonic clock."""
        while True:
            with self._lock:
                try:
                    return attempt()
                except ssl.SSLWantReadError:
                    event = select.POLLIN
                except ssl.SSLWantWriteError:
                    event = select.POLLOUT
                ready = select.poll()
                ready.register(self._socket, event)
            left_s = _LOOK_S if end_s is None else end_s - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("timed out")
            ready.poll(min(left_s, _LOOK_S) * 1_000)
