"""A road to Alpaca on which answers get lost, and requests are lost or arrive late."""

from __future__ import annotations

import http.client
import threading
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Road:
    """`with Road(sim.url) as road`: `road.url` leads to Alpaca.

    `lose_answers`, `lose_requests` and `delay` say to how many of the next orders (POST, PATCH)
    that happens; a delayed one arrives when the test says `arrive()`. `lose_looks` is for GET.
    With `answers` the next orders are answered by these (status, body), and do not arrive; with
    `look_answers` the next GETs, those with None arriving as ever.
    """

    def __init__(self, url: str) -> None:
        self.lose_answers = self.lose_requests = self.delay = self.lose_looks = 0
        self.answers: list[tuple[int, bytes]] = []
        self.look_answers: list[tuple[int, bytes] | None] = []
        self.counts: Counter[str] = Counter()
        self.arrived = threading.Event()
        self._may_arrive = threading.Event()
        self._target = urlsplit(url).netloc
        road = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                told = road.look_answers.pop(0) if road.look_answers else None
                if told is not None:
                    road.counts["GET answered"] += 1
                    self.send_answer(*told)
                    return
                answer = self.forward()
                if road.lose_looks:
                    road.lose_looks -= 1
                    return
                self.send_answer(*answer)

            def do_DELETE(self) -> None:
                self.send_answer(*self.forward())

            def do_POST(self) -> None:
                if road.answers:
                    road.counts["answered"] += 1
                    self.rfile.read(int(self.headers.get("Content-Length") or 0))
                    self.send_answer(*road.answers.pop(0))
                elif road.lose_requests:
                    road.lose_requests -= 1
                elif road.delay:
                    road.delay -= 1
                    self.arrive_late()
                elif road.lose_answers:
                    road.lose_answers -= 1
                    self.forward()
                else:
                    self.send_answer(*self.forward())

            do_PATCH = do_POST  # noqa: N815  (the base class's name)

            def arrive_late(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))

                def later() -> None:
                    if road._may_arrive.wait(10):
                        self.forward(body)
                        road.arrived.set()

                threading.Thread(target=later, name="late-request").start()

            def forward(self, body: bytes | None = None) -> tuple[int, bytes]:
                road.counts[self.command] += 1
                if body is None:
                    body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                kept = {k: v for k, v in self.headers.items() if k.startswith("APCA")}
                kept["Content-Type"] = "application/json"
                there = http.client.HTTPConnection(road._target, timeout=5)
                there.request(self.command, self.path, body, kept)
                response = there.getresponse()
                told = response.read()
                there.close()
                return response.status, told

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

    def arrive(self) -> None:
        """What was delayed reaches Alpaca now."""
        self._may_arrive.set()
        assert self.arrived.wait(5), "the late request did not arrive"

    def __enter__(self) -> Road:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._may_arrive.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
