"""A road to Alpaca that loses answers: requests arrive, and nobody hears of it."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class UnreliableRoad:
    """`with UnreliableRoad(sim.url) as road`: `road.url` leads to Alpaca.

    `lose_answers` and `lose_requests` say how many of the next orders that happens to. While it is
    `open` requests go through; else they hang.
    """

    def __init__(self, url: str) -> None:
        self.lose_answers = self.lose_requests = 0
        self.counts: Counter[str] = Counter()
        self.open = threading.Event()
        self.open.set()
        self._target = urlsplit(url).netloc
        road = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_answer(*self.forward())

            do_DELETE = do_GET  # noqa: N815  (the base class's name)

            def do_POST(self) -> None:
                if road.lose_requests:
                    road.lose_requests -= 1
                    return
                answer = self.forward()
                if road.lose_answers:
                    road.lose_answers -= 1
                    return
                self.send_answer(*answer)

            def forward(self) -> tuple[int, bytes]:
                road.open.wait(20)
                road.counts[self.command] += 1
                length = int(self.headers.get("Content-Length") or 0)
                kept = {k: v for k, v in self.headers.items() if k.startswith("APCA")}
                kept["Content-Type"] = "application/json"
                there = http.client.HTTPConnection(road._target, timeout=5)
                there.request(self.command, self.path, self.rfile.read(length), kept)
                response = there.getresponse()
                body = response.read()
                there.close()
                return response.status, body

            def send_answer(self, status: int, body: bytes) -> None:
                self.send_response(status)
                if status != 204:
                    self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                """No line per request."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = False
        self._server.block_on_close = True
        self.url = f"http://127.0.0.1:{self._server.server_port}"
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, name="road"
        )

    def __enter__(self) -> UnreliableRoad:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.open.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
