"""The metrics server: who is answered, and how many at once."""

from __future__ import annotations

import http.client
import socket
import socketserver
import threading
from collections.abc import Iterable, Iterator
from contextlib import ExitStack

import pytest
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from main.metrics.health import Health
from main.metrics.server import MOST_CALLERS, MetricsServer
from tests.conftest import wait_for


class NoFigures(Collector):
    def collect(self) -> Iterable[Metric]:
        return ()


def serving(host: str) -> MetricsServer:
    def well() -> Health:
        return Health(state="LIVE", reasons=())

    return MetricsServer(host, 0, NoFigures(), well, well)


@pytest.fixture
def local() -> Iterator[MetricsServer]:
    with serving("127.0.0.1") as server:
        yield server


def status(server: MetricsServer, host: str | None, path: str = "/healthz") -> int:
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=5)
    connection.putrequest("GET", path, skip_host=True)
    if host is not None:
        connection.putheader("Host", host)
    connection.endheaders()
    try:
        return connection.getresponse().status
    finally:
        connection.close()


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("127.0.0.1:9464", 200),
        ("localhost", 200),
        ("[::1]:9464", 200),
        (None, 200),
        ("metrics.example:9464", 421),
        ("127.0.0.1.example", 421),
        ("[nonsense", 421),
    ],
)
@pytest.mark.parametrize("path", ["/metrics", "/healthz"])
def test_on_loopback_only_its_own_names_are_answered(
    local: MetricsServer, host: str | None, expected: int, path: str
) -> None:
    """A page elsewhere that bends its name to 127.0.0.1 reads nothing."""
    assert status(local, host, path) == expected


def test_in_a_network_any_name_reaches_it() -> None:
    """A container's name, a proxy's: METRICS_HOST opened it."""
    with serving("0.0.0.0") as server:
        assert status(server, "broker:9464") == 200


def threads() -> int:
    return sum("process_request_thread" in each.name for each in threading.enumerate())


def test_callers_that_say_nothing_are_bounded_and_bar_nobody(local: MetricsServer) -> None:
    """Of too many the oldest has to go: its thread ends, and whoever asks is answered."""
    before = threads()
    with ExitStack() as opened:
        silent = [
            opened.enter_context(socket.create_connection(("127.0.0.1", local.port), timeout=5))
            for _ in range(3 * MOST_CALLERS)
        ]
        assert status(local, "localhost") == 200
        assert threads() - before <= MOST_CALLERS
        assert silent[0].recv(1) == b"", "the oldest was closed"
    wait_for(lambda: threads() <= before, what="all threads ended")


def test_a_machine_that_has_no_thread_left_loses_no_place_of_a_caller(
    local: MetricsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refused(*_: object) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patched:
        patched.setattr(socketserver.ThreadingMixIn, "process_request", refused)
        for _ in range(MOST_CALLERS):
            with socket.create_connection(("127.0.0.1", local.port), timeout=5) as caller:
                assert caller.recv(1) == b"", "it was closed"
    assert status(local, "localhost") == 200
