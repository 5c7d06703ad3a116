"""Processes of the benchmark's own: spawned, told what to do over a pipe, ended with it.

A worker is a function `work(pipe, *arguments)`: it sends its first word when it is ready, then
answers each request with one reply, and ends when the pipe does.
"""

from __future__ import annotations

import contextlib
import multiprocessing
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Any

_context = multiprocessing.get_context("spawn")
START_S, ANSWER_S = 60.0, 90.0


class WorkerFailed(Exception):
    """A worker ended, or did not answer in time."""


class Worker:
    """`with Worker(work, …) as worker: worker.ask(…)`. It never outlives the benchmark."""

    def __init__(self, work: Callable[..., None], *arguments: object) -> None:
        self.name = work.__name__
        self._pipe, theirs = _context.Pipe()
        self._process = _context.Process(
            target=_run, args=(work, theirs, *arguments), daemon=True, name=self.name
        )
        self._process.start()
        theirs.close()
        self.first_word = self._receive(START_S)

    @property
    def pid(self) -> int:
        assert self._process.pid is not None
        return self._process.pid

    def tell(self, *request: object) -> None:
        self._pipe.send(request)

    def answer(self, timeout_s: float = ANSWER_S) -> Any:
        return self._receive(timeout_s)

    def ask(self, *request: object, timeout_s: float = ANSWER_S) -> Any:
        self.tell(*request)
        return self.answer(timeout_s)

    def close(self) -> None:
        self._pipe.close()
        self._process.join(2)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def __enter__(self) -> Worker:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _receive(self, timeout_s: float) -> Any:
        try:
            if not self._pipe.poll(timeout_s):
                raise WorkerFailed(f"{self.name}: no answer within {timeout_s:.0f} s")
            found = self._pipe.recv()
        except EOFError:
            raise WorkerFailed(f"{self.name} ended; its last words are above") from None
        if isinstance(found, Exception):
            raise WorkerFailed(f"{self.name}: {found!r}") from found
        return found


def _run(work: Callable[..., None], pipe: Connection, *arguments: object) -> None:
    with contextlib.suppress(EOFError, BrokenPipeError, KeyboardInterrupt):
        try:
            work(pipe, *arguments)
        except (EOFError, BrokenPipeError, KeyboardInterrupt):
            raise
        except Exception as error:
            pipe.send(WorkerFailed(repr(error)))
            raise


def requests(pipe: Connection, ready: object = "ready") -> Iterator[tuple[Any, ...]]:
    """What a worker is asked, until the pipe ends."""
    pipe.send(ready)
    while True:
        yield pipe.recv()
