"""The plain reader: counts what Redis delivers, and checks every message's number.

It is the same for the product, for every peer and for the limits: a socket, hiredis, and for each
message its trade id (and on the bus its `seq`), each one higher than the last of its channel.
"""

from __future__ import annotations

import select
import socket
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import hiredis

from main.utils.redis.config import pack_command

from .worker import requests

READ_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Expectation:
    """So many deliveries; `id_key` comes before the trade's id, None where ids do not count up."""

    deliveries: int
    id_key: bytes | None = None
    numbered: bool = True
    timeout_s: float = 60.0


@dataclass(kw_only=True)
class Found:
    """What came. `faults` are in words; the first of them end the run. Times are monotonic."""

    deliveries: int = 0
    bytes: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    faults: list[str] = field(default_factory=list)

    @property
    def per_s(self) -> float:
        return (self.deliveries - 1) / max(self.last_s - self.first_s, 1e-9)

    @property
    def mean_bytes(self) -> float:
        return self.bytes / max(self.deliveries, 1)


class Ear:
    """One connection on some channels."""

    def __init__(self, port: int, channels: Sequence[str]) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.replies = hiredis.Reader()
        self.last: defaultdict[bytes, list[int | None]] = defaultdict(lambda: [None, None])
        for start in range(0, len(channels), 500):
            part = channels[start : start + 500]
            self.socket.sendall(pack_command("SUBSCRIBE", *part))
            confirmed = 0
            while confirmed < len(part):
                self.replies.feed(self.socket.recv(65536))
                while self.replies.gets():
                    confirmed += 1

    def read(self, found: Found, expected: Expectation) -> None:
        self.replies.feed(self.socket.recv(READ_BYTES))
        now, gets, last = time.monotonic(), self.replies.gets, self.last
        if not found.deliveries:
            found.first_s = now
        found.last_s = now
        numbered, id_key = expected.numbered, expected.id_key
        count = size = 0
        reply: Any
        while reply := gets():
            _, channel, body = reply
            count += 1
            size += len(body)
            before = last[channel]
            if numbered:
                seq = int(body[body.rindex(b":") + 1 : -1])  # `"seq"` is the last field
                if before[0] is not None and seq != before[0] + 1:
                    found.faults.append(f"{channel!r}: seq {seq} after {before[0]}")
                before[0] = seq
            if id_key is not None:
                start = body.index(id_key) + len(id_key)
                number = int(body[start : body.index(b",", start)])
                if before[1] is not None and number != before[1] + 1:
                    found.faults.append(f"{channel!r}: trade {number} after {before[1]}")
                before[1] = number
        found.deliveries += count
        found.bytes += size


def read_plainly(pipe: Connection, port: int, shares: Sequence[Sequence[str]]) -> None:
    """A worker: one connection for each share of channels. Asked with an `Expectation`."""
    ears = [Ear(port, channels) for channels in shares]
    poll = select.poll()
    by_fd = {ear.socket.fileno(): ear for ear in ears}
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    for (expected,) in requests(pipe):
        found, deadline = Found(), time.monotonic() + expected.timeout_s
        for ear in ears:  # epochs and id ranges are new in each run
            ear.last.clear()
        while found.deliveries < expected.deliveries and time.monotonic() < deadline:
            for fd, _ in poll.poll(200):
                by_fd[fd].read(found, expected)
            if len(found.faults) > 5:
                break
        pipe.send(found)
