"""Parts of one machine's stack as processes of their own, which never outlive their parent.

A child's stdin is its lifeline: nothing is ever written to it, and it ends when the parent does,
also by SIGKILL. Linux tells the child by a signal besides.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import Final

PACKAGE: Final = (__package__ or "main").partition(".")[0]  # `main`, installed `tickerbus`
LIFELINE: Final = "TICKERBUS_LIFELINE"
LAST_WORDS: Final = 40  # lines kept of what a child says
PARTING_S: Final = 3.0  # how long a child whose parent is gone may take to end cleanly


class Child:
    """`python -m <this package> <arguments>` in a process of its own."""

    def __init__(
        self,
        name: str,
        arguments: Sequence[str],
        environment: Mapping[str, str],
        hear: Callable[[str], None] | None = None,
    ) -> None:
        """`hear` gets each line that the child says, on a thread of this child's."""
        self.name = name
        self._command = [sys.executable, "-m", PACKAGE, *arguments]
        self._environment = {**environment, LIFELINE: "stdin"}
        self._hear = hear
        self._words: deque[str] = deque(maxlen=LAST_WORDS)
        self._process: subprocess.Popen[str] | None = None
        self._listener: threading.Thread | None = None

    def start(self) -> None:
        """Start it, in a session of its own: Ctrl-C is for the parent, which ends them in order."""
        self._process = subprocess.Popen(
            self._command,
            env=self._environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            start_new_session=True,
        )
        self._listener = threading.Thread(
            target=self._listen, args=(self._process,), name=f"words-of-{self.name}", daemon=True
        )
        self._listener.start()

    @property
    def pid(self) -> int:
        assert self._process is not None, "not started"
        return self._process.pid

    @property
    def exit_code(self) -> int | None:
        """None while it runs, and before it was started."""
        return self._process.poll() if self._process else None

    @property
    def last_words(self) -> list[str]:
        return list(self._words)

    def obituary(self) -> str:
        """Why it ended, as far as it said."""
        telling = [line for line in self.last_words if " level=info " not in line]
        said = "\n".join(f"    {line}" for line in telling[-8:])
        code, signalled = self.exit_code, ""
        if code is not None and code < 0:
            with contextlib.suppress(ValueError):
                signalled = f" ({signal.Signals(-code).name})"
        why = f"{self.name} ended with exit code {code}{signalled}"
        return why + (f":\n{said}" if said else "")

    def ask_to_end(self) -> None:
        """And do not wait: `stop` does."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()

    def stop(self, timeout_s: float) -> None:
        """Ask it to end, wait, then make it end."""
        process = self._process
        if process is None:
            return
        self.ask_to_end()
        try:
            process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        self._hang_up(process)

    def _hang_up(self, process: subprocess.Popen[str]) -> None:
        assert process.stdin is not None
        process.stdin.close()
        if self._listener is not None:
            self._listener.join(1)

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout as lines:
            for line in lines:
                self._words.append(line.rstrip("\n"))
                if self._hear is not None:
                    self._hear(line.rstrip("\n"))


def obey_lifeline() -> None:
    """In a child: end as if by SIGTERM as soon as the parent is gone. Elsewhere: nothing."""
    if os.environ.pop(LIFELINE, None) is None:
        return
    if sys.platform == "linux":
        set_parent_death_signal = 1  # PR_SET_PDEATHSIG
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGTERM)
    threading.Thread(target=_end_with_parent, name="lifeline", daemon=True).start()


def _end_with_parent() -> None:
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(PARTING_S)
    os._exit(1)


class Guard:
    """Ends a process that knows no lifeline (Valkey), where no signal tells it of our end.

    A shell of ten lines' cost, that waits for its stdin to end and then ends `pid`.
    """

    def __init__(self, pid: int) -> None:
        self._shell = subprocess.Popen(
            ["/bin/sh", "-c", 'read -r _; kill "$0"', str(pid)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def dismiss(self) -> None:
        """The process is ended by us: nothing to guard any more."""
        self._shell.kill()
        self._shell.wait()
        assert self._shell.stdin is not None
        self._shell.stdin.close()
