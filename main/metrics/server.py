"""`/metrics`, `/healthz` and `/readyz`, on a port of their own. Reads only; no secret is served."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Final, Self

import structlog
from prometheus_client import GCCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector, CollectorRegistry

from .health import Health

log: Final = structlog.get_logger("tickerbus.metrics")

CALLER_TIMEOUT_S: Final = 5.0
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
        super().__init__(address, _Handler)


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = CALLER_TIMEOUT_S

    def version_string(self) -> str:
        """Who serves; which Python it is, is nobody's business."""
        return "tickerbus"

    def do_GET(self) -> None:
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
