"""Commands as real processes, each in an environment that can be found again."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import psutil
import pytest

from main.settings import Settings

ROOT = Path(__file__).parents[3]
MARK = "TICKERBUS_TEST_RUN"
ENDS_WITHIN_S = 5.0  # what the README promises of Ctrl-C
# One machine runs many tests: what a part may take before a test gives up on it.
PATIENCE_S = 40.0


class Ended(NamedTuple):
    code: int
    out: str
    err: str


class Person:
    """Types commands, and knows every process that came of them."""

    def __init__(self, folder: Path) -> None:
        self._mark = uuid.uuid4().hex
        self.folder, self._temporary = folder, folder / "tmp"
        self._temporary.mkdir()
        settings = {name.upper() for name in Settings.model_fields}
        kept = {name: value for name, value in os.environ.items() if name not in settings}
        self.environment = {
            **kept,
            MARK: self._mark,
            "TMPDIR": str(self._temporary),
            "PYTHONPATH": str(ROOT),
            "PYTHONUNBUFFERED": "1",
            "COLUMNS": "120",
        }
        self.was_killed = False  # by SIGKILL: nobody could tidy up
        self.program = [sys.executable, "-m", "main"]

    def starts(self, line: str, **environment: str) -> subprocess.Popen[str]:
        """Type a command and do not wait for its end."""
        return subprocess.Popen(
            [*self.program, *line.split()],
            cwd=self.folder,
            env={**self.environment, **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    def types(self, line: str, **environment: str) -> Ended:
        """Type a command and wait for its end."""
        return ended(self.starts(line, **environment))

    def processes(self) -> list[psutil.Process]:
        """Everything alive that came of this person's commands."""
        return [process for process in psutil.process_iter() if self._is_mine(process)]

    def _is_mine(self, process: psutil.Process) -> bool:
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            # Valkey writes its title over its environment, but it lives in its own folder of ours.
            is_here = Path(process.cwd()).is_relative_to(self._temporary)
            return is_here or process.environ().get(MARK) == self._mark
        except psutil.Error:
            return False

    def files(self) -> list[Path]:
        """Temporary files that are left."""
        return list(self._temporary.iterdir())


def ended(process: subprocess.Popen[str]) -> Ended:
    """Wait for the end of a command."""
    try:
        out, err = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        out, err = process.communicate()
        pytest.fail(f"{process.args} did not end: {out}\n{err}")
    return Ended(process.returncode, out, err)


def read_until(process: subprocess.Popen[str], words: str) -> str:
    """What a running command printed until a line with `words`."""
    assert process.stdout is not None
    read = ""
    deadline = time.monotonic() + PATIENCE_S
    while time.monotonic() < deadline:
        line = process.stdout.readline()
        read += line
        if words in line:
            return read
        if not line and process.poll() is not None:
            break
    rest = "" if process.poll() is None else ended(process).err
    pytest.fail(f"no {words!r} in what it printed:\n{read}\n{rest}")


def interrupt(process: subprocess.Popen[str], with_signal: int = signal.SIGINT) -> Ended:
    """Ctrl-C, and wait for the end."""
    process.send_signal(with_signal)
    return ended(process)


@pytest.fixture
def person(tmp_path: Path) -> Iterator[Person]:
    """A person in an empty folder. At the end, nothing of what was typed may be left."""
    typing = Person(tmp_path)
    yield typing
    left = _wait_until_gone(typing.processes)
    for process in left:
        process.kill()
    assert not left, f"left running: {left}"
    assert not typing.files() or typing.was_killed, typing.files()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """`up` in the first terminal, for all tests of a module."""
    typing = Person(tmp_path_factory.mktemp("up"))
    redis_port, sim_port = free_port(), free_port()
    process = typing.starts(
        f"up --tickers AAPL,MSFT --rate 20 --redis-port {redis_port} --sim-port {sim_port}"
    )
    printed = read_until(process, "Ctrl-C ends it")
    yield Up(redis_port, sim_port, printed)
    assert interrupt(process).code == 0
    assert not _wait_until_gone(typing.processes)


class Up(NamedTuple):
    redis_port: int
    sim_port: int
    printed: str


def _wait_until_gone(processes: Callable[[], list[psutil.Process]]) -> list[psutil.Process]:
    deadline = time.monotonic() + ENDS_WITHIN_S
    while (left := processes()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return left


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
