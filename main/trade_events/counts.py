"""Counting from many threads."""

from __future__ import annotations

import threading
from collections import Counter


class Counts(Counter[str]):
    """A `Counter` to which any thread may add; whoever reads it sees whole numbers."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        super().__init__()

    def add(self, name: str, count: int = 1) -> None:
        with self._lock:
            self[name] += count
