"""`/metrics`, `/healthz` and `/readyz`, on a port of their own. Reads only; no secret is served."""

from __future__ import annotations

import json
import socket
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Final, Self
from urllib.parse import urlsplit

import structlog
from prometheus_client import GCCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from ..utils.hosts import is_loopback
from ..utils.tracebacks import plain_traceback
from .health import Health

log: Final = structlog.get_logger("tickerbus.metrics")

CALLER_TIMEOUT_S: Final = 5.0
MOST_CALLERS: Final = 16  # at once
_LEAVE_S: Final = 1.0
HELP: Final = b"tickerbus: /metrics /healthz /readyz\n"


class MetricsPortTaken(Exception):
    """Nothing can listen there. `port` is METRICS_PORT."""

    def __init__(self, host: str, port: int, cause: OSError) -> None:
        self.host, self.port = host, port
        super().__init__(
            f"METRICS_PORT: nothing can listen on {host}:{port} ({cause.strerror or cause}): "
            "choose another one, or unset it"
        )


class MetricsServer:
    """`with MetricsServer(host, port, collector, alive, ready): …`. Its threads are daemons."""

    def __init__(
        self,
        host: str,
        port: int,
        collector: Collector,
        alive: Callable[[], Health],
        ready: Callable[[], Health],
    ) -> None:
        """Listen; `port` 0 takes a free one.

        Raises:
            MetricsPortTaken: it cannot.
        """
        registry = CollectorRegistry(auto_describe=False)
        registry.register(collector)
        ProcessCollector(registry=registry)  # these two register themselves
        GCCollector(registry=registry)
        try:
            self._server = _Server((host, port), registry, alive, ready)
        except OSError as error:
            raise MetricsPortTaken(host, port, error) from error
        self.host, self.port = host, int(self._server.server_address[1])
        self._thread = threading.Thread(
            target=self._server.serve_forever, name="metrics", daemon=True, args=(0.1,)
        )

    def __enter__(self) -> Self:
        self._thread.start()
        log.info("metrics.listening", host=self.host, port=self.port)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(2)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    request_queue_size = 64
    # Two brokers on one port would share it on some systems.
    allow_reuse_port = False

    def __init__(
        self,
        address: tuple[str, int],
        registry: CollectorRegistry,
        alive: Callable[[], Health],
        ready: Callable[[], Health],
    ) -> None:
        self.registry, self.alive, self.ready = registry, alive, ready
        self.is_local = is_loopback(address[0])
        self._callers: dict[socket.socket, None] = {}  # in the order in which they came
        self._changed = threading.Condition()
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        """A thread for each caller, up to a bound. Who has been here longest has to go then: a
        scrape takes a moment, so that is one who does not come to the point."""
        with self._changed:
            if len(self._callers) >= MOST_CALLERS:
                with suppress(OSError):
                    next(iter(self._callers)).shutdown(socket.SHUT_RDWR)
            if not self._changed.wait_for(lambda: len(self._callers) < MOST_CALLERS, _LEAVE_S):
                self.shutdown_request(request)
                return
            self._callers[request] = None
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """However it ended, also where no thread could be started for it."""
        try:
            super().shutdown_request(request)
        finally:
            with self._changed:
                self._callers.pop(request, None)
                self._changed.notify_all()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that went away is no event; anything else is ours."""
        if not isinstance(sys.exc_info()[1], OSError):
            log.error("metrics.request_failed", traceback=plain_traceback())


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = CALLER_TIMEOUT_S

    def version_string(self) -> str:
        """Who serves; which Python it is, is nobody's business."""
        return "tickerbus"

    def do_GET(self) -> None:
        if not self._is_meant_for_us():
            body = b"this is a tickerbus on 127.0.0.1, and no other name's\n"
            self._answer(HTTPStatus.MISDIRECTED_REQUEST, "text/plain; charset=utf-8", body)
            return
        path = self.path.partition("?")[0]
        if path == "/metrics":
            encode, content_type = choose_encoder(self.headers.get("Accept", ""))
            self._answer(HTTPStatus.OK, content_type, encode(self.server.registry))
        elif path == "/healthz":
            self._tell(self.server.alive(), "alive")
        elif path == "/readyz":
            self._tell(self.server.ready(), "ready")
        else:
            status = HTTPStatus.OK if path == "/" else HTTPStatus.NOT_FOUND
            self._answer(status, "text/plain; charset=utf-8", HELP)

    def _is_meant_for_us(self) -> bool:
        """On loopback a page elsewhere, its name bent to 127.0.0.1, comes with its own name. In a
        network we have names that we do not know, and are open to all who reach us."""
        host = self.headers.get("Host")
        if not self.server.is_local or host is None:  # no browser leaves it out
            return True
        try:
            return is_loopback(urlsplit(f"//{host}").hostname or "")
        except ValueError:
            return False

    def _tell(self, health: Health, well: str) -> None:
        status = HTTPStatus.OK if health.is_well else HTTPStatus.SERVICE_UNAVAILABLE
        body = json.dumps(health.as_json(well)).encode() + b"\n"
        self._answer(status, "application/json", body)

    def _answer(self, status: HTTPStatus, content_type: str, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """A probe every few seconds is no event."""
