"""Real processes for tests: what they say is read as it comes, and none outlives the test."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.conftest import wait_for

REPOSITORY = Path(__file__).parents[3]


def environment(**changes: str) -> dict[str, str]:
    """Ours, without what a developer may have set for his own Redis and account."""
    foreign = ("REDIS_", "ALPACA_", "APCA_", "PAPER_ALPACA_", "BUS_", "JOURNAL_", "LOG_")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    return kept | {"PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "1"} | changes


class Process:
    """One running program. `lines` is all it has said so far, on either stream."""

    def __init__(
        self,
        arguments: Sequence[str],
        folder: Path,
        env: dict[str, str],
        program: str = sys.executable,
    ) -> None:
        self.lines: list[str] = []
        self._process = subprocess.Popen(
            [program, *arguments],
            cwd=folder,
            env=env,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, name=f"reads-{self._process.pid}")
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self.lines.append(line.rstrip("\n"))

    def wait_for_line(self, text: str, timeout_s: float = 15.0) -> str:
        def said() -> list[str]:
            lines = [line for line in self.lines if text in line]
            assert lines or self._process.poll() is None, f"ended: {self.lines}"
            return lines

        return wait_for(said, timeout_s, f"{text!r} among {self.lines}")[0]

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    def exit_code(self, timeout_s: float = 15.0) -> int:
        """Wait for its own end."""
        code = self._process.wait(timeout_s)
        self._reader.join()
        return code

    def end(self) -> None:
        """End it, if it still runs, and leave nothing of it."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(6)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                stream.close()


@contextmanager
def running(arguments: Sequence[str], folder: Path, env: dict[str, str]) -> Iterator[Process]:
    process = Process(arguments, folder, env)
    try:
        yield process
    finally:
        process.end()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class RealStack:
    """Where a running Valkey, local Alpaca and broker are; each is a process of its own."""

    def __init__(self, redis_port: int, sim_port: int, folder: Path) -> None:
        self.redis_port, self.folder = redis_port, folder
        self.alpaca_url = f"http://127.0.0.1:{sim_port}"
        self.env = environment(
            REDIS_HOST="127.0.0.1",
            REDIS_PORT=str(redis_port),
            ALPACA_API_KEY="local",
            ALPACA_API_SECRET="local-secret",
            ALPACA_DATA_URL=self.alpaca_url,
            ALPACA_TRADING_URL=self.alpaca_url,
            ALPACA_DATA_STREAM_URL=f"ws://127.0.0.1:{sim_port}/v2/iex",
            ALPACA_TRADING_STREAM_URL=f"ws://127.0.0.1:{sim_port}/stream",
            TICKERBUS_LIFELINE="stdin",  # the services end with us, however we end
        )

    def start(self, *arguments: str) -> Process:
        """`python <arguments>` in the folder, with the stack's environment. The caller ends it."""
        return Process(arguments, self.folder, self.env)


@contextmanager
def real_stack(redis_port: int, folder: Path) -> Iterator[RealStack]:
    stack = RealStack(redis_port, free_port(), folder)
    sim_port = stack.alpaca_url.rpartition(":")[2]
    sim = ["-m", "main", "sim", "--port", sim_port, "--rate", "20"]
    with running(sim, folder, stack.env) as alpaca:
        alpaca.wait_for_line(sim_port)
        with running(["-m", "main", "broker"], folder, stack.env) as broker:
            broker.wait_for_line("broker.running")
            yield stack
