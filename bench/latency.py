"""Latency at an open loop: a source of its own sends one trade a frame at its times, whatever
comes of them, and stamps each with the moment at which it is sent.

The product: source → broker → Redis → `RedisSubscriber` → handler. The limit: the same source, its
frame relayed by a loop of two bare sockets. And what Redis alone costs: the loop with a PUBLISH.
"""

from __future__ import annotations

import contextlib
import socket
import statistics
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import Any

import hiredis
import msgspec
from websockets.sync.server import ServerConnection, serve

from main.alpaca_sim.encoding import pack_timestamp
from main.alpaca_sim.prepared import websocket_frame
from main.utils.redis.config import RedisConfig, pack_command
from main.utils.redis.constants import get_ticker_channel
from main.utils.redis.messages import PriceMessage, parse_rfc3339
from main.utils.redis.subscriber import RedisSubscriber

from .stage import RunFailed, open_stage
from .worker import Worker, requests

RATES = (1_000, 10_000)
SIZE = 104  # bytes of a relayed message: as long as a trade's websocket frame
_MARK = 1 << 62


def paced(count: int, per_s: float) -> Iterator[int]:
    """Numbers, each at its time. Late ones come at once: nobody is waited for."""
    start = time.perf_counter() + 0.05
    for number in range(count):
        early_s = start + number / per_s - time.perf_counter()
        if early_s > 0.00002:
            time.sleep(early_s)
        yield number


class _Trades:
    """Trades of one ticker as websocket frames, with the present time in them."""

    def __init__(self, ticker: str) -> None:
        self._id = 0
        trade = {"T": "t", "S": ticker, "i": _MARK, "x": "V", "p": 187.25, "s": 100, "c": ["@"]}
        text = msgspec.msgpack.encode([trade | {"t": msgspec.msgpack.Ext(-1, bytes(8)), "z": "C"}])
        self._head, rest = text.split(struct.pack(">Q", _MARK), 1)
        self._middle, self._tail = rest.split(bytes(8), 1)

    def next_frame(self) -> bytes:
        self._id += 1
        payload = b"".join(
            (
                self._head,
                struct.pack(">Q", self._id),
                self._middle,
                pack_timestamp(time.time_ns()),
                self._tail,
            )
        )
        return websocket_frame(payload, binary=True)


def stream_of_trades(pipe: Connection, ticker: str) -> None:
    """A worker: a market-data stream with as much of Alpaca's conversation as a broker needs.

    Its first word is its port; asked with (count, per second), it sends, and then answers.
    """
    connected: list[ServerConnection] = []

    def converse(connection: ServerConnection) -> None:
        def say(message: dict[str, Any]) -> None:
            connection.send(msgspec.msgpack.encode([message]))

        say({"T": "success", "msg": "connected"})
        subscribed: dict[str, list[str]] = {}
        for text in connection:
            request = msgspec.msgpack.decode(text)
            if request["action"] == "auth":
                say({"T": "success", "msg": "authenticated"})
                continue
            subscribed |= {key: value for key, value in request.items() if key != "action"}
            say({"T": "subscription", **subscribed})
            connected[:] = [connection]

    server = serve(converse, "127.0.0.1", 0, compression=None, ping_interval=None)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    trades = _Trades(ticker)
    for count, per_s in requests(pipe, server.socket.getsockname()[1]):
        raw = connected[0].socket
        for _ in paced(count, per_s):
            raw.sendall(trades.next_frame())
        pipe.send("sent")


def latencies_of_bus(pipe: Connection, port: int, ticker: str) -> None:
    """A worker: asked for so many messages, it answers with their ages in the handler, in ns."""
    ages: list[int] = []
    seqs: list[int] = []

    def on_message(message: PriceMessage) -> None:
        ages.append(time.time_ns() - parse_rfc3339(message.timestamp))
        seqs.append(message.seq)

    with RedisSubscriber(RedisConfig(host="127.0.0.1", port=port)) as bus:
        bus.subscribe(get_ticker_channel(ticker), on_message, capacity=1_000_000)
        bus.start_listening()
        for (count,) in requests(pipe):
            deadline = time.monotonic() + 60
            while len(ages) < count and time.monotonic() < deadline:
                time.sleep(0.02)
            right = seqs == list(range(seqs[0], seqs[0] + count)) if seqs else False
            pipe.send(list(ages) if right else None)
            ages.clear()
            seqs.clear()


# -- the bare loop


def relay(pipe: Connection) -> None:
    """A worker: what comes on one socket goes out on another."""
    server = socket.create_server(("127.0.0.1", 0))
    pipe.send(server.getsockname()[1])
    source, sink = (_quick(server.accept()[0]) for _ in range(2))
    while data := source.recv(65536):
        sink.sendall(data)


def relay_through_redis(pipe: Connection, redis_port: int) -> None:
    """A worker: the same, with a bare PUBLISH of what came; the sink subscribes by itself."""
    server = socket.create_server(("127.0.0.1", 0))
    pipe.send(server.getsockname()[1])
    source = _quick(server.accept()[0])
    redis_socket = _quick(socket.create_connection(("127.0.0.1", redis_port)))
    rest, replies = b"", hiredis.Reader()
    while data := source.recv(65536):
        rest += data
        cut = len(rest) - len(rest) % SIZE
        whole, rest = rest[:cut], rest[cut:]
        commands = [
            pack_command("PUBLISH", "BARE", whole[start : start + SIZE])
            for start in range(0, cut, SIZE)
        ]
        redis_socket.sendall(b"".join(commands))
        for _ in commands:
            while replies.gets() is False:
                replies.feed(redis_socket.recv(65536))


def pulses(pipe: Connection, port: int) -> None:
    """A worker: the source of the bare loop. Its first word: ready."""
    out = _quick(socket.create_connection(("127.0.0.1", port)))
    for count, per_s in requests(pipe):
        for _ in paced(count, per_s):
            out.sendall(struct.pack(">Q", time.time_ns()).ljust(SIZE, b"."))
        pipe.send("sent")


def latencies_of_relay(pipe: Connection, port: int) -> None:
    """A worker: its sink."""
    _answer_with_ages(pipe, _bodies(_quick(socket.create_connection(("127.0.0.1", port)))))


def latencies_of_redis(pipe: Connection, port: int) -> None:
    """A worker: the sink of the loop through Redis."""
    source = _quick(socket.create_connection(("127.0.0.1", port)))
    source.sendall(pack_command("SUBSCRIBE", "BARE"))
    _answer_with_ages(pipe, _bodies_of_redis(source))


def _answer_with_ages(pipe: Connection, bodies: Iterator[bytes]) -> None:
    for (count,) in requests(pipe):
        ages = []
        for _ in range(count):
            sent_ns = struct.unpack(">Q", next(bodies)[:8])[0]
            ages.append(time.time_ns() - sent_ns)
        pipe.send(ages)


def _bodies(source: socket.socket) -> Iterator[bytes]:
    rest = b""
    while True:
        rest += source.recv(65536)
        for start in range(0, len(rest) - len(rest) % SIZE, SIZE):
            yield rest[start : start + SIZE]
        rest = rest[len(rest) - len(rest) % SIZE :]


def _bodies_of_redis(source: socket.socket) -> Iterator[bytes]:
    replies = hiredis.Reader()
    while True:
        while (reply := replies.gets()) is not False:
            if reply[0] == b"message":
                yield reply[2]
        replies.feed(source.recv(65536))


def _quick(one: socket.socket) -> socket.socket:
    one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return one


# -- side by side


@dataclass(frozen=True, kw_only=True)
class Latencies:
    """Of all rounds together, in ns, sorted."""

    name: str
    per_s: int
    rounds: list[list[int]]

    def at(self, share: float) -> float:
        """Microseconds: the median over the rounds of this share."""
        found = [sorted(ages)[min(len(ages) - 1, int(share * len(ages)))] for ages in self.rounds]
        return statistics.median(found) / 1_000


def measure_latency(
    rounds: int, seconds: float, say: Callable[[str], None]
) -> dict[tuple[str, int], Latencies]:
    """Every road at every rate, in turns."""
    ticker = "LAT"
    with contextlib.ExitStack() as exits:
        up = exits.enter_context

        stream = up(Worker(stream_of_trades, ticker))
        stage = up(open_stage([ticker], data_stream_port=stream.first_word))
        stage.follow([ticker])
        bare = up(Worker(relay))
        bare_roads = (
            up(Worker(pulses, bare.first_word)),
            up(Worker(latencies_of_relay, bare.first_word)),
        )
        port = stage.valkey.port
        redis_relay = up(Worker(relay_through_redis, port))
        roads = {
            "TickerBus": (stream, up(Worker(latencies_of_bus, port, ticker))),
            "bare loop": bare_roads,
            "bare PUBLISH": (
                up(Worker(pulses, redis_relay.first_word)),
                up(Worker(latencies_of_redis, port)),
            ),
        }
        found: dict[tuple[str, int], list[list[int]]] = {}
        for number in range(rounds + 1):
            for per_s in RATES:
                for name, (source, sink) in roads.items():
                    count = int(per_s * seconds)
                    sink.tell(count)
                    source.ask(count, per_s)
                    ages = sink.answer()
                    if ages is None or len(ages) != count:
                        raise RunFailed(f"{name}: messages are missing or out of order")
                    if number:
                        found.setdefault((name, per_s), []).append(ages)
            say(f"  latency round {number}")
    return {key: Latencies(name=key[0], per_s=key[1], rounds=ages) for key, ages in found.items()}
