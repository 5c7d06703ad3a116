"""Which port of loopback a part gets."""

from __future__ import annotations

import socket

import pytest

from main.ports import PortTaken, choose_port, is_free_on_loopback


def test_the_default_is_taken_when_it_is_free() -> None:
    assert choose_port(None, 6379, "--redis-port", lambda _: True) == 6379


def test_the_next_free_one_follows_a_taken_default() -> None:
    assert choose_port(None, 6379, "--redis-port", lambda port: port >= 6381) == 6381


def test_a_port_that_was_asked_for_is_never_exchanged() -> None:
    with pytest.raises(PortTaken, match=r"port 6379 is taken: give --redis-port another"):
        choose_port(6379, 6379, "--redis-port", lambda _: False)


def test_the_search_ends() -> None:
    with pytest.raises(PortTaken):
        choose_port(None, 65_500, "--sim-port", lambda _: False)


@pytest.mark.parametrize("host", ["127.0.0.1", "0.0.0.0"])
def test_a_listening_server_takes_the_port(host: str) -> None:
    with socket.create_server((host, 0)) as server:
        port = server.getsockname()[1]
        assert not is_free_on_loopback(port)
    assert is_free_on_loopback(port)
