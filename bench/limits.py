"""The limit: a bare socket that pipes to Redis exactly the bytes that the broker would send."""

from __future__ import annotations

import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from multiprocessing.connection import Connection

import hiredis
import msgspec
import redis

from main.utils.redis.batch import JournalBounds, Packer
from main.utils.redis.config import pack_command
from main.utils.redis.constants import BusNames, get_ticker_channel
from main.utils.redis.functions import function_library
from main.utils.redis.messages import PriceMessage, encode

from .worker import requests

WINDOW = 4  # batches on their way: Redis never waits for us
NAMES = BusNames("")


def pipe_batches(pipe: Connection, port: int, shape: PriceMessage) -> None:
    """A worker: asked for a run, it makes the bytes first and then sends them.

    A request is (kind, symbols, messages, batch, per second or 0). Kinds: `fcall`, what the broker
    sends; `publish`, the same messages in bare PUBLISH commands, as many to a write.
    """
    client = redis.Redis(port=port, protocol=2)
    client.function_load(function_library().decode(), replace=True)
    wire = socket.create_connection(("127.0.0.1", port))
    wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    epoch = int(time.time() * 1_000)
    client.set(NAMES.BROKER_EPOCH, epoch)
    packer = Packer(NAMES, epoch, JournalBounds())
    for kind, symbols, messages, batch, per_s in requests(pipe):
        made = list(_batches(kind, packer, shape, symbols, messages, batch))
        begun = time.process_time()
        _send(wire, made, batch / per_s if per_s else 0.0)
        pipe.send((sum(len(data) for data, _ in made), time.process_time() - begun))


def _batches(
    kind: str,
    packer: Packer,
    shape: PriceMessage,
    symbols: Sequence[str],
    messages: int,
    batch: int,
) -> Iterator[tuple[bytes, int]]:
    """The bytes of each batch, and how many replies it gets."""
    each = [msgspec.structs.replace(shape, symbol=symbol) for symbol in symbols]
    seqs = Counter[str]()
    for first in range(0, messages, batch):
        numbers = range(first, min(first + batch, messages))
        trades = [each[n % len(each)] for n in numbers]
        if kind == "fcall":
            yield packer.pack(trades).call(), 1
            continue
        commands = []
        for trade in trades:
            seqs[trade.symbol] = seq = seqs[trade.symbol] + 1
            body = encode(trade)[:-1] + b',"epoch":%d,"seq":%d}' % (packer.epoch, seq)
            commands.append(pack_command("PUBLISH", get_ticker_channel(trade.symbol), body))
        yield b"".join(commands), len(commands)


def _send(wire: socket.socket, batches: Sequence[tuple[bytes, int]], gap_s: float) -> None:
    replies, owed, due = hiredis.Reader(), [], time.monotonic()
    for data, answers in batches:
        if gap_s and (early_s := due - time.monotonic()) > 0:
            time.sleep(early_s)
        due += gap_s
        wire.sendall(data)
        owed.append(answers)
        while len(owed) > WINDOW:
            _take_replies(wire, replies, owed.pop(0))
    _take_replies(wire, replies, sum(owed))


def _take_replies(wire: socket.socket, replies: hiredis.Reader, count: int) -> None:
    while count:
        reply = replies.gets()
        if reply is False:
            replies.feed(wire.recv(1 << 16))
        elif not isinstance(reply, int):
            raise RuntimeError(f"Redis answered {reply!r}")
        else:
            count -= 1
