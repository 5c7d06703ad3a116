"""Log events of the bus, without structlog's weight on its import.

structlog brings rich along where that is installed, and takes as long to import as all the rest of
the bus: a strategy that never logs anything need not wait for it.
"""

from __future__ import annotations

from typing import Any


class EventLog:
    """`structlog.get_logger(name)`, looked up at each event."""

    def __init__(self, name: str) -> None:
        self._name = name

    def debug(self, event: str, **facts: Any) -> None:
        self._write("debug", event, facts)

    def info(self, event: str, **facts: Any) -> None:
        self._write("info", event, facts)

    def warning(self, event: str, **facts: Any) -> None:
        self._write("warning", event, facts)

    def error(self, event: str, **facts: Any) -> None:
        self._write("error", event, facts)

    def _write(self, level: str, event: str, facts: dict[str, Any]) -> None:
        import structlog  # noqa: PLC0415

        getattr(structlog.get_logger(self._name), level)(event, **facts)
