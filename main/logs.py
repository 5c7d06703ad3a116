"""Logs are events with fields, on stderr: `key=value` for people, JSON with `LOG_FORMAT=json`.

Only the edge calls `configure_logs`. What the libraries below say through the standard `logging`
comes out in the same form, from warnings up.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Final, Literal, TextIO, cast

import structlog

LogFormat = Literal["text", "json"]
LogLevel = Literal["debug", "info", "warning", "error"]

_LEVELS: Final[dict[LogLevel, int]] = {
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warning": logging.WARNING,
    "error": logging.ERROR,
}
Event = MutableMapping[str, Any]


def configure_logs(
    log_format: LogFormat = "text", level: LogLevel = "info", stream: TextIO | None = None
) -> None:
    """Send every log event of this process to `stream` (stderr), from `level` up."""
    stream = stream or cast(TextIO, _StandardError())
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        _name_logger,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    last = _json_steps() if log_format == "json" else _text_steps()
    structlog.configure(
        processors=[*shared, *last],
        wrapper_class=structlog.make_filtering_bound_logger(_LEVELS[level]),
        logger_factory=lambda *name: _NamedLogger(stream, *name),
        cache_logger_on_first_use=False,  # tests and the table redirect them
    )
    _adopt_standard_logging(shared, last, max(logging.WARNING, _LEVELS[level]), stream)


class _StandardError:
    """Whatever `sys.stderr` is when a line is written: a live table puts itself there."""

    def write(self, text: str) -> int:
        return sys.stderr.write(text)

    def flush(self) -> None:
        sys.stderr.flush()


class _NamedLogger(structlog.WriteLogger):
    """Knows what `get_logger` was called with, so that each line says which part speaks."""

    def __init__(self, stream: TextIO, name: str = "tickerbus") -> None:
        super().__init__(stream)
        self.name = name


def _name_logger(logger: Any, _method: str, event: Event) -> Event:
    if name := getattr(logger, "name", None):
        event.setdefault("logger", name)
    return event


def _json_steps() -> list[Any]:
    # Local variables stay out of tracebacks: a secret may be among them.
    frames = structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
    return [
        structlog.processors.ExceptionRenderer(frames),
        structlog.processors.JSONRenderer(),
    ]


def _text_steps() -> list[Any]:
    return [
        structlog.processors.format_exc_info,
        _one_line,
        structlog.processors.LogfmtRenderer(
            key_order=["timestamp", "level", "logger", "event"],
            drop_missing=True,
            bool_as_flag=False,
        ),
    ]


def _one_line(_logger: object, _method: str, event: Event) -> Event:
    """No value may begin a line of its own or steer a terminal: some come from outside."""
    for key, value in event.items():
        if isinstance(value, str) and not value.replace("\n", "").isprintable():
            event[key] = "".join(
                c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in value
            )
    return event


def _adopt_standard_logging(shared: list[Any], last: list[Any], level: int, stream: TextIO) -> None:
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_logger_name, *shared],
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
