"""The caller's logger, whichever kind it is: structlog's takes fields, logging's takes a line."""

from __future__ import annotations

from typing import Any, Final

import structlog

_OWN: Final = structlog.get_logger("tickerbus.trader")


class ExecutorLog:
    """`log.info("executor.order_sent", order=…)` on a structlog logger, a `logging.Logger`, or
    anything else with the methods `info`, `warning` and `error`."""

    def __init__(self, logger: Any = None) -> None:
        self._logger = _OWN if logger is None else logger
        self._takes_fields = hasattr(self._logger, "bind")

    def info(self, event: str, **fields: object) -> None:
        self._log("info", event, fields)

    def warning(self, event: str, **fields: object) -> None:
        self._log("warning", event, fields)

    def error(self, event: str, **fields: object) -> None:
        self._log("error", event, fields)

    def _log(self, level: str, event: str, fields: dict[str, object]) -> None:
        method = getattr(self._logger, level)
        if self._takes_fields:
            method(event, **fields)
        else:
            method(" ".join([event, *(f"{name}={value}" for name, value in fields.items())]))
