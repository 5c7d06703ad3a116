"""A cable between two parties: a TCP proxy that can be cut, stalled, plugged in elsewhere.

While it is stalled packets vanish for the moment, as TCP has it: nothing is forwarded, also no
end of a connection, and what was sent arrives when it flows again. It knows how many connections
its client side has open at once.
"""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import threading
from types import TracebackType
from typing import Self

_RESET = struct.pack("ii", 1, 0)  # SO_LINGER 0: closing sends a reset


class Cable:
    """Listens on a free port of loopback and forwards to `target`. Any thread may call it."""

    def __init__(self, name: str, target: int) -> None:
        self.name, self.target = name, target
        self.most_open = self.accepted = 0
        self._flows = threading.Event()
        self._flows.set()
        self._lock = threading.Lock()
        self._pairs: list[_Pair] = []
        self._threads: list[threading.Thread] = []
        self._closed = self._refusing = False
        self._door = self._listen(0)
        self.port = self._door.getsockname()[1]
        self._start(self._accept, self._door)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- faults

    def cut(self) -> None:
        """Reset every connection, at both ends."""
        with self._lock:
            pairs, self._pairs = self._pairs, []
        for pair in pairs:
            pair.reset()

    def stall(self) -> None:
        """Nothing gets through any more, in either direction, and nobody is told."""
        self._flows.clear()

    def flow(self) -> None:
        self._flows.set()

    def refuse(self) -> None:
        """New connections are reset at once; open ones live on."""
        self._refusing = True

    def admit(self) -> None:
        self._refusing = False

    def plug_into(self, target: int) -> None:
        """New connections go to another port; open ones stay where they are."""
        self.target = target

    @property
    def open_now(self) -> int:
        """Connections that neither side has closed."""
        with self._lock:
            self._pairs = [pair for pair in self._pairs if not pair.over]
            return sum(pair.is_open() for pair in self._pairs)

    def close(self) -> None:
        """End everything, and the threads."""
        self._closed = True
        self._flows.set()
        with contextlib.suppress(OSError):
            self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        self.cut()
        for thread in self._threads:
            thread.join(5)

    # -- private

    def _listen(self, port: int) -> socket.socket:
        door = socket.socket()
        door.bind(("127.0.0.1", port))
        door.listen(256)
        return door

    def _start(self, work: object, *arguments: object) -> None:
        thread = threading.Thread(
            target=work,  # type: ignore[arg-type]
            args=arguments,
            name=f"cable-{self.name}",
            daemon=True,
        )
        self._threads = [one for one in self._threads if one.is_alive()]
        self._threads.append(thread)
        thread.start()

    def _accept(self, door: socket.socket) -> None:
        while not self._closed:
            try:
                client, _ = door.accept()
            except OSError:
                return
            if self._closed:
                client.close()
                return
            self._start(self._join, client)

    def _join(self, client: socket.socket) -> None:
        if self._refusing:
            _reset(client)
            return
        self.accepted += 1
        pair = _Pair(client)
        with self._lock:
            self._pairs.append(pair)
        self.most_open = max(self.most_open, self.open_now)
        self._flows.wait()
        try:
            server = socket.create_connection(("127.0.0.1", self.target), 5)
        except OSError:
            pair.reset()
            return
        server.settimeout(None)
        if not pair.join(server):
            _reset(server)
            return
        self._start(self._pump, pair, server, client)
        self._pump(pair, client, server)

    def _pump(self, pair: _Pair, source: socket.socket, sink: socket.socket) -> None:
        try:
            while True:
                self._flows.wait()
                received = source.recv(262_144)
                self._flows.wait()
                if pair.over:
                    return  # it was reset: the end of this read is no end of the stream
                if not received:
                    break
                sink.sendall(received)
            pair.half_over()
            sink.shutdown(socket.SHUT_WR)
            pair.close_if_over()
        except OSError:
            pair.reset()


class _Pair:
    """Both ends of one connection."""

    def __init__(self, client: socket.socket) -> None:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._client = client
        self._ends: list[socket.socket] = [client]
        self._lock = threading.Lock()
        self._halves = 0
        self.over = False

    def join(self, server: socket.socket) -> bool:
        """Whether the client is still there."""
        server.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            if self.over:
                return False
            self._ends.append(server)
            return True

    def is_open(self) -> bool:
        with self._lock:
            if self.over or self._halves:
                return False
            poll = select.poll()
            poll.register(self._client, select.POLLRDHUP)
            return not poll.poll(0)

    def half_over(self) -> None:
        """One side has ended its direction properly."""
        with self._lock:
            self._halves += 1

    def close_if_over(self) -> None:
        """After the second half, the connection has ended."""
        with self._lock:
            if self._halves < 2 or self.over:
                return
            self.over = True
        for end in self._ends:
            end.close()

    def reset(self) -> None:
        with self._lock:
            if self.over:
                return
            self.over = True
        for end in self._ends:
            _reset(end)


def _reset(end: socket.socket) -> None:
    with contextlib.suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _RESET)
    with contextlib.suppress(OSError):
        end.shutdown(socket.SHUT_RD)  # wakes a thread that waits in recv
    end.close()
