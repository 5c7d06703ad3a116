"""Programs of the lab in processes of their own, which never outlive it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

ROOT = Path(__file__).resolve().parents[2]
Hear = Callable[[str, int, str], None]  # who, when, what


class Program:
    """`python -m <module> <arguments>`; its stdin is its lifeline."""

    def __init__(
        self,
        name: str,
        module: str,
        arguments: Sequence[str],
        hear: Hear,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        """`hear` gets every line that it says, on a thread of its own."""
        self.name, self._hear = name, hear
        self.ready_at = 0
        self._ready = threading.Event()
        self._process = subprocess.Popen(
            [sys.executable, "-m", module, *arguments],
            cwd=ROOT,
            env=_clean_environment() | dict(environment or {}),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._listener = threading.Thread(target=self._listen, name=f"words-{name}", daemon=True)
        self._listener.start()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        return self._process.poll()

    def await_ready(self, timeout_s: float = 20.0) -> None:
        """Wait until it has said `ready`."""
        deadline = time.monotonic() + timeout_s
        while not self._ready.wait(0.05):
            assert self.exit_code is None, f"{self.name} ended with {self.exit_code}"
            assert time.monotonic() < deadline, f"{self.name} is not ready after {timeout_s} s"

    def say(self, command: str) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(command + "\n")
        self._process.stdin.flush()

    def signal(self, number: signal.Signals) -> None:
        if self._process.poll() is None:
            self._process.send_signal(number)

    def hang_up(self) -> None:
        """End its stdin: it leaves properly."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            self._process.stdin.close()

    def wait(self, timeout_s: float) -> int | None:
        """Its exit code, or None if it would not end."""
        try:
            return self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            return None

    def end(self, timeout_s: float = 5.0) -> int | None:
        """Let it leave; kill it if it does not. Its exit code, None if it was killed."""
        self.signal(signal.SIGCONT)
        self.hang_up()
        code = self.wait(timeout_s)
        if code is None:
            self._process.kill()
            self._process.wait()
        self._listener.join(5)
        return code

    def kill(self) -> None:
        """SIGKILL, and reap it."""
        self._process.kill()
        self._process.wait()
        self.hang_up()
        self._listener.join(5)

    def _listen(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                if line.startswith("ready "):
                    self.ready_at = int(line.split()[1])
                    self._ready.set()
                else:
                    self._hear(self.name, time.time_ns(), line.rstrip("\n"))


class Said(msgspec.Struct, frozen=True):
    """The part of a JSON log line that the lab looks at."""

    level: str = ""
    event: str = ""


def read_log_line(text: str) -> Said:
    try:
        return msgspec.json.decode(text, type=Said)
    except msgspec.DecodeError:
        return Said(event=text)


def _clean_environment() -> dict[str, str]:
    """What a program needs to run, and no setting of whoever runs the lab."""
    kept = ("PATH", "HOME", "LANG", "TMPDIR", "VIRTUAL_ENV", "SYSTEMROOT")
    return {name: os.environ[name] for name in kept if name in os.environ}
