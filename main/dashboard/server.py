"""The page as a server: its socket, its threads, and their end."""

from __future__ import annotations

import socket
import threading
import time
from typing import Final

import uvicorn

from ..ports import PortTaken
from .board import Board
from .config import DashboardConfig
from .reader import BoardReader
from .web import Page, make_app

START_S: Final = 10.0
FIRST_LOOK_S: Final = 2.0
STOP_S: Final = 3.0


class DashboardServer:
    """`start`, `stop`; `runs` in between. From one thread."""

    def __init__(self, config: DashboardConfig) -> None:
        self.config = config
        board = Board(
            address=config.redis.address.removesuffix("/0"),
            symbol_limit=config.symbol_limit,
            now_s=time.time(),
        )
        self._reader = BoardReader(config, board)
        self._page = Page(config, board, self._reader)
        self._socket: socket.socket | None = None
        self._server = uvicorn.Server(
            uvicorn.Config(
                make_app(self._page),
                log_config=None,
                access_log=False,
                server_header=False,
                ws="none",
                http="h11",
                loop="asyncio",
                timeout_graceful_shutdown=1,
                timeout_keep_alive=30,
            )
        )
        self._thread = threading.Thread(target=self._run, name="dashboard-http", daemon=True)

    def start(self) -> None:
        """Listen, and begin to read Redis. One that does not answer is shown, and tried again.

        Raises:
            PortTaken: another program listens there.
        """
        self._socket = _listen(self.config.host, self.config.port)
        self._reader.start()
        self._reader.wait_for_first_look(FIRST_LOOK_S)
        self._thread.start()
        deadline = time.monotonic() + START_S
        while not self._server.started and self._thread.is_alive():
            if time.monotonic() > deadline:
                break
            time.sleep(0.01)

    def runs(self) -> bool:
        return self._thread.is_alive()

    def stop(self) -> None:
        """Let the viewers go, and end the threads, within a few seconds."""
        self._page.pulse.closing = True
        self._server.should_exit = True
        if self._thread.ident is not None:
            if self._thread.is_alive():  # else Ctrl-C came as it began, or it ended by itself
                self._thread.join(STOP_S)
            self._reader.stop()
        if self._socket is not None:
            self._socket.close()

    def _run(self) -> None:
        assert self._socket is not None
        self._server.run(sockets=[self._socket])


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listening = socket.socket(family, socket.SOCK_STREAM)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listening.bind((host, port))
    except OSError as error:
        listening.close()
        raise PortTaken(port, "--port") from error
    return listening
