"""The streams over TLS: one thread reads for ever while others ask and ping on the same socket."""

from __future__ import annotations

import contextlib
import fcntl
import select
import shutil
import socket
import ssl
import struct
import termios
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from main.alpaca_broker.codec import decode_frame
from main.alpaca_broker.connection_config import ConnectionConfig
from main.alpaca_broker.frame_buffer import Frame, FrameBuffer
from main.alpaca_broker.streams import MarketStream
from main.alpaca_broker.tls_socket import SharedTlsSocket
from main.alpaca_sim import LocalAlpaca
from tests.conftest import wait_for
from tests.integration.alpaca_broker.bench import Bus
from tests.integration.alpaca_broker.conftest import StartBroker
from tests.integration.alpaca_broker.tls_relay import TlsRelay

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl to make a certificate"),
]

TRADES = frozenset({"trades"})
ROUNDS, BURST, AHEAD = 100, 100, 2_000
MUCH = 8 * 1_048_576  # more than the buffers of both ends hold


@pytest.fixture
def relay(sim: LocalAlpaca, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[TlsRelay]:
    """What every client trusts by its environment, as it trusts Alpaca's."""
    with TlsRelay(tmp_path, sim.address.port) as relay:
        monkeypatch.setenv("SSL_CERT_FILE", str(relay.ca))
        yield relay


@pytest.fixture
def overlaps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which calls began on a TLS socket while another one was under way there."""
    found: list[str] = []
    busy: dict[int, threading.Lock] = {}

    def watch(name: str) -> None:
        original = getattr(ssl.SSLSocket, name)

        def watched(sock: ssl.SSLSocket, *arguments: object) -> object:
            lock = busy.setdefault(id(sock), threading.Lock())
            if not lock.acquire(blocking=False):
                found.append(name)
                return original(sock, *arguments)
            try:
                return original(sock, *arguments)
            finally:
                lock.release()

        monkeypatch.setattr(ssl.SSLSocket, name, watched)

    watch("read")  # what recv does
    watch("send")  # what sendall does
    return found


class Reader:
    """Takes the frames as the producer would, and keeps the trades' numbers."""

    def __init__(self, buffer: FrameBuffer) -> None:
        self.trade_ids: list[int] = []
        self.others = 0
        self._buffer, self._ending = buffer, threading.Event()
        self._thread = threading.Thread(target=self._run, name="frame-reader")

    def __enter__(self) -> Reader:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._ending.is_set():
            for item in self._buffer.take(0.1):
                if not isinstance(item, Frame):
                    self.others += 1
                    continue
                messages, _ = decode_frame(item.payload)
                self.trade_ids += [m.i for m in messages if m.S == "AAPL"]  # type: ignore[union-attr]


@pytest.fixture
def stream(sim: LocalAlpaca, relay: TlsRelay) -> Iterator[MarketStream]:
    url = relay.url(sim.stream_url("iex"))
    config = ConnectionConfig(name="stocks", url=url, key="local", secret="local-secret")
    stream = MarketStream(config, "iex", FrameBuffer())
    stream.start()
    yield stream
    stream.begin_close()
    assert stream.join(5), "the thread ends"


class Asker:
    """Subscribes, unsubscribes and pings, as fast as it is answered."""

    def __init__(self, stream: MarketStream) -> None:
        self.failures: list[str] = []
        self._stream = stream
        self._thread = threading.Thread(target=self._run, name="asker")
        self._thread.start()

    @property
    def is_done(self) -> bool:
        return not self._thread.is_alive()

    def _run(self) -> None:
        for number in range(ROUNDS):
            self._ask("subscribe", number)
            self._ask("unsubscribe", number)
            connection = self._stream._socket
            if connection is None or not connection.ping().wait(10):
                self.failures.append(f"ping {number}")

    def _ask(self, action: Literal["subscribe", "unsubscribe"], number: int) -> None:
        change = self._stream.change(action, {"MSFT": TRADES})
        if not change.wait(10) or change.rejected:
            self.failures.append(f"{action} {number}: {change.rejected}")


def test_data_flows_while_another_thread_subscribes_unsubscribes_and_pings(
    sim: LocalAlpaca, relay: TlsRelay, stream: MarketStream, overlaps: list[str]
) -> None:
    happened: list[int] = []
    with Reader(stream._buffer) as reader:
        assert stream.wait_until_settled(10).state == "LIVE"
        assert stream.change("subscribe", {"AAPL": TRADES}).wait(10)
        asker = Asker(stream)
        while not asker.is_done or len(happened) < ROUNDS * BURST:
            sim.burst("AAPL", BURST)
            happened.extend(trade.trade_id for trade in sim.oracle.trades("AAPL")[-BURST:])
            # Not further ahead than the local Alpaca lets a slow reader be.
            wait_for(lambda: len(reader.trade_ids) > len(happened) - AHEAD, 20, "trades")
        wait_for(lambda: len(reader.trade_ids) >= len(happened), 20, "all trades")
    assert reader.trade_ids == happened
    assert (asker.failures, overlaps, reader.others) == ([], [], 0)
    assert (stream.sessions, relay.accepted, stream.counters["disconnects"]) == (1, 1, 0)


def test_a_broker_whose_alpaca_speaks_tls_loses_nothing_and_stops_cleanly(
    sim: LocalAlpaca, relay: TlsRelay, start_broker: StartBroker, bus: Bus, overlaps: list[str]
) -> None:
    broker = start_broker(
        alpaca_data_stream_url=f"wss://localhost:{relay.port}",
        alpaca_trading_stream_url=relay.url(sim.address.trading_stream_url),
    )
    bus.listen("TICKER_UPDATES_AAPL")
    bus.register("AAPL")
    for _ in range(10):
        sim.burst("AAPL", 300)
        assert bus.register("MSFT")["status"] == "accepted"
        assert bus.unregister("MSFT")["status"] == "accepted"
    prices = bus.wait_for_trades("AAPL", 3_000)
    assert [m["trade_id"] for m in prices] == [t.trade_id for t in sim.oracle.trades("AAPL")]
    assert [m["seq"] for m in prices] == list(range(1, 3_001))
    assert bus.status()["counters"].get("stocks_disconnects", 0) == 0
    assert relay.accepted == 2
    assert overlaps == []
    broker.stop()
    assert broker.state == "STOPPED"
    wait_for(lambda: not sim.connections(), what="both slots are free")


class Line:
    """A TLS connection whose server side is worked by hand, byte by byte."""

    def __init__(self, server: ssl.SSLContext, ca: Path) -> None:
        near, self.wire = socket.socketpair()
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._server = server.wrap_bio(self._in, self._out, server_side=True)
        context = ssl.create_default_context(cafile=ca)
        client = context.wrap_socket(
            near, server_hostname="localhost", do_handshake_on_connect=False
        )
        client.setblocking(False)
        self.wire.setblocking(False)
        wait_for(lambda: self._step(client), what="the handshake")
        client.setblocking(True)
        self.wire.setblocking(True)
        self._near = client
        self.client = SharedTlsSocket(client)

    def _step(self, client: ssl.SSLSocket) -> bool:
        done = 0
        for end in (client, self._server):
            with contextlib.suppress(ssl.SSLWantReadError):
                end.do_handshake()
                done += 1
            if out := self._out.read():
                self.wire.send(out)
            with contextlib.suppress(BlockingIOError):
                self._in.write(self.wire.recv(65_536))
        return done == 2

    def sealed(self, text: bytes) -> bytes:
        """The bytes on the wire of what the server says."""
        self._server.write(text)
        return self._out.read()

    def hear(self, size: int) -> bytearray:
        """That much of what the client said."""
        heard = bytearray()
        self.wire.settimeout(10)
        while len(heard) < size:
            try:
                heard += self._server.read(65_536)
            except ssl.SSLWantReadError:
                self._in.write(self.wire.recv(65_536))
        return heard

    def all_is_read(self) -> bool:
        """Whether the client has taken from the network whatever came."""
        waiting = fcntl.ioctl(self._near, termios.FIONREAD, bytes(4))
        return struct.unpack("i", waiting)[0] == 0

    def close(self) -> None:
        self.client.close()
        self.wire.close()


@pytest.fixture
def line(relay: TlsRelay) -> Iterator[Line]:
    made = Line(relay.context, relay.ca)
    yield made
    made.close()


class Job:
    """A call in a thread of its own, and what came of it."""

    def __init__(self, call: object, *arguments: object) -> None:
        self.outcome: object = None
        self._call, self._arguments = call, arguments
        self._thread = threading.Thread(target=self._run, name="job", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            self.outcome = self._call(*self._arguments)  # type: ignore[operator]
        except OSError as error:
            self.outcome = error

    def result(self) -> object:
        self._thread.join(10)
        assert not self._thread.is_alive(), "it waits for ever"
        return self.outcome


def test_half_a_record_keeps_no_ping_waiting(line: Line) -> None:
    sealed = line.sealed(b"trades")
    reading = Job(line.client.recv, 100)
    line.wire.sendall(sealed[: len(sealed) // 2])
    wait_for(line.all_is_read, what="the half is read")
    Job(line.client.sendall, b"ping").result()
    assert line.hear(4) == b"ping"
    line.wire.sendall(sealed[len(sealed) // 2 :])
    assert reading.result() == b"trades"


def test_a_server_that_takes_nothing_keeps_no_reader_waiting(line: Line) -> None:
    much = bytes(range(256)) * (MUCH // 256)
    sending = Job(line.client.sendall, much)
    wait_for(lambda: is_full(line.client), what="the window is full")
    line.wire.sendall(line.sealed(b"trades"))
    assert Job(line.client.recv, 100).result() == b"trades"
    assert line.hear(MUCH) == much
    assert sending.result() is None


def is_full(client: SharedTlsSocket) -> bool:
    return not select.select([], [client.fileno()], [], 0)[1]


def test_what_the_server_does_not_take_in_time_is_given_up(line: Line) -> None:
    line.client.settimeout(0.2)
    assert isinstance(Job(line.client.sendall, bytes(MUCH)).result(), TimeoutError)


def test_closing_wakes_who_reads_and_who_sends(line: Line) -> None:
    reading, sending = Job(line.client.recv, 100), Job(line.client.sendall, bytes(MUCH))
    wait_for(lambda: is_full(line.client), what="the window is full")
    line.client.shutdown(socket.SHUT_RDWR)
    line.client.close()
    assert isinstance(sending.result(), OSError)
    assert reading.result() == b"" or isinstance(reading.outcome, OSError)
    with pytest.raises(OSError, match="descriptor"):
        line.client.recv(100)


def test_what_came_before_the_end_is_read_and_never_as_it_was_sealed(line: Line) -> None:
    line.wire.sendall(line.sealed(b"first") + line.sealed(b"second"))
    line.client.shutdown(socket.SHUT_WR)
    line.wire.close()
    assert [line.client.recv(100) for _ in range(3)] == [b"first", b"second", b""]
