"""The cable cuts, stalls and moves as it says, and counts right."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from tests.conftest import wait_for
from tests.faults.cable import Cable

pytestmark = pytest.mark.integration


class Echo:
    """Sends back what it gets, with its name before."""

    def __init__(self, name: bytes) -> None:
        self._name = name
        self._door = socket.create_server(("127.0.0.1", 0))
        self.port = self._door.getsockname()[1]
        self._threads = [threading.Thread(target=self._serve)]
        self._threads[0].start()

    def _serve(self) -> None:
        while True:
            try:
                client, _ = self._door.accept()
            except OSError:
                return
            thread = threading.Thread(target=self._answer, args=(client,))
            self._threads.append(thread)
            thread.start()

    def _answer(self, client: socket.socket) -> None:
        with client:
            try:
                while received := client.recv(100):
                    client.sendall(self._name + received)
            except OSError:
                return

    def close(self) -> None:
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()
        for thread in self._threads:
            thread.join(5)


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo(b"a:")
    yield server
    server.close()


@pytest.fixture
def cable(echo: Echo) -> Iterator[Cable]:
    with Cable("test", echo.port) as cable:
        yield cable


def connect(cable: Cable) -> socket.socket:
    client = socket.create_connection(("127.0.0.1", cable.port), 5)
    client.sendall(b"hello")
    assert client.recv(100) == b"a:hello"
    return client


def test_it_forwards_and_counts_open_connections(cable: Cable) -> None:
    with connect(cable):
        assert (cable.open_now, cable.most_open) == (1, 1)
        with connect(cable):
            assert (cable.open_now, cable.most_open) == (2, 2)
    wait_for(lambda: cable.open_now == 0)
    assert cable.most_open == 2


def test_a_cut_resets_the_client(cable: Cable) -> None:
    with connect(cable) as client:
        cable.cut()
        with pytest.raises(ConnectionResetError):
            client.recv(100)
        assert cable.open_now == 0


def test_what_was_sent_while_stalled_arrives_when_it_flows(cable: Cable) -> None:
    with connect(cable) as client:
        cable.stall()
        client.sendall(b"late")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(100)
        cable.flow()
        client.settimeout(5)
        assert client.recv(100) == b"a:late"


def test_a_client_that_leaves_while_it_is_stalled_is_not_open(cable: Cable) -> None:
    client = connect(cable)
    cable.stall()
    client.close()
    wait_for(lambda: cable.open_now == 0)
    cable.flow()


def test_refused_connections_are_reset_and_open_ones_live_on(cable: Cable) -> None:
    with connect(cable) as client:
        cable.refuse()
        # The reset may come before or after the connection counts as made.
        with (
            pytest.raises(ConnectionError),
            socket.create_connection(("127.0.0.1", cable.port), 5) as other,
        ):
            other.recv(1)
        client.sendall(b"still")
        assert client.recv(100) == b"a:still"


def test_plugged_elsewhere_only_new_connections_move(cable: Cable) -> None:
    other = Echo(b"b:")
    try:
        with connect(cable) as client:
            cable.plug_into(other.port)
            client.sendall(b"x")
            assert client.recv(100) == b"a:x"
            with socket.create_connection(("127.0.0.1", cable.port), 5) as moved:
                moved.sendall(b"x")
                assert moved.recv(100) == b"b:x"
    finally:
        cable.cut()
        other.close()
