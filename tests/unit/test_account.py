"""PAPER or LIVE, and whose account it is."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from main.account import AccountRefused, AlpacaAccess


@contextmanager
def _alpaca(status: int, body: bytes) -> Iterator[tuple[str, list[dict[str, str]]]]:
    asked: list[dict[str, str]] = []

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append({"path": self.path, **{k.lower(): v for k, v in self.headers.items()}})
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None: ...

    with HTTPServer(("127.0.0.1", 0), Answers) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}", asked
        finally:
            server.shutdown()
            thread.join()


def _access(url: str, *, paper: bool = True) -> AlpacaAccess:
    return AlpacaAccess(url=url, key="K", secret="hunter2", paper=paper)


def test_the_number_is_asked_with_the_keys() -> None:
    with _alpaca(200, b'{"account_number": "PA3XYZ1A2B", "id": "x"}') as (url, asked):
        access = _access(url)
        number = access.account_number()
    assert number == "PA3XYZ1A2B"
    assert asked[0]["path"] == "/v2/account"
    assert asked[0]["apca-api-key-id"] == "K"
    assert access.banner(number) == "PAPER account …1A2B at the local Alpaca"
    assert access.short(number) == "…1A2B (local)"


def test_live_is_said() -> None:
    access = _access("https://api.alpaca.markets", paper=False)
    assert access.banner("123456789") == "LIVE account …6789 at Alpaca"
    assert access.short("123456789") == "…6789"


@pytest.mark.parametrize("status", [401, 403])
def test_refused_keys_are_an_error_that_says_what_to_check(status: int) -> None:
    with (
        _alpaca(status, b'{"message": "unauthorized."}') as (url, _),
        pytest.raises(AccountRefused, match="check ALPACA_API_KEY"),
    ):
        _access(url).account_number()


@pytest.mark.parametrize(
    ("status", "body"), [(500, b""), (200, b"no json"), (200, b"[]"), (200, b"{}"), (429, b"{}")]
)
def test_an_answer_that_tells_no_number_leaves_it_unknown(status: int, body: bytes) -> None:
    with _alpaca(status, body) as (url, _):
        assert _access(url).account_number() is None


def test_an_alpaca_that_does_not_answer_leaves_it_unknown() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    access = _access(f"http://127.0.0.1:{port}")
    assert access.account_number() is None
    assert "PAPER account of an unknown number" in access.banner(None)


def test_the_secret_is_in_no_repr() -> None:
    assert "hunter2" not in repr(_access("http://127.0.0.1:1"))
