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
        self.seqs: defaultdict[bytes, int] = defaultdict(int)
        self.ids: dict[bytes, int] = {}
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
        now, gets = time.monotonic(), self.replies.gets
        if not found.deliveries:
            found.first_s = now
        found.last_s = now
        reply: Any
        while reply := gets():
            self._check(reply[1], reply[2], found, expected)

    def _check(self, channel: bytes, body: bytes, found: Found, expected: Expectation) -> None:
        found.deliveries += 1
        found.bytes += len(body)
        if expected.numbered:
            seq = int(body[body.rindex(b'"seq":') + 6 : -1])
            last = self.seqs[channel]
            if seq != last + 1 and last:
                found.faults.append(f"{channel!r}: seq {seq} after {last}")
            self.seqs[channel] = seq
        if expected.id_key is not None:
            start = body.index(expected.id_key) + len(expected.id_key)
            number = int(body[start : body.index(b",", start)])
            before = self.ids.get(channel)
            if before is not None and number != before + 1:
                found.faults.append(f"{channel!r}: trade {number} after {before}")
            self.ids[channel] = number


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
            ear.seqs.clear()
            ear.ids.clear()
        while found.deliveries < expected.deliveries and time.monotonic() < deadline:
            for fd, _ in poll.poll(200):
                by_fd[fd].read(found, expected)
            if len(found.faults) > 5:
                break
        pipe.send(found)
