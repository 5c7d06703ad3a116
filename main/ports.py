"""Which port of loopback a part may listen on."""

from __future__ import annotations

import socket
from collections.abc import Callable

TRIES = 100


class PortTaken(Exception):
    """The port that was asked for is not free. Somebody else's fault; choose another."""

    def __init__(self, port: int, option: str) -> None:
        self.port, self.option = port, option
        super().__init__(
            f"port {port} is taken: give {option} another one, or leave it out for the next free"
        )


def choose_port(
    asked: int | None, default: int, option: str, is_free: Callable[[int], bool] | None = None
) -> int:
    """The port that was asked for, or the first free one from `default` on.

    Raises:
        PortTaken: the one asked for is not free, or none of the next hundred is.
    """
    is_free = is_free or is_free_on_loopback
    if asked is not None:
        if not is_free(asked):
            raise PortTaken(asked, option)
        return asked
    for port in range(default, min(default + TRIES, 65536)):
        if is_free(port):
            return port
    raise PortTaken(default, option)


def is_free_on_loopback(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:`port` now."""
    with socket.socket() as caller:
        caller.settimeout(0.5)
        # macOS lets a second server bind 127.0.0.1 beside one that has every address.
        if caller.connect_ex(("127.0.0.1", port)) == 0:
            return False
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            server.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
