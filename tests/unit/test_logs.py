"""Logs are events with fields, one line each."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from main.logs import configure_logs


@pytest.fixture(autouse=True)
def _configured_as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:], root.level = handlers, level
    structlog.reset_defaults()


def test_an_event_is_one_line_of_key_equals_value() -> None:
    out = io.StringIO()
    configure_logs("text", "info", out)
    structlog.get_logger("tickerbus.upstream").info("upstream.lost", attempt=3, why="slow client")
    line = out.getvalue()
    assert line.startswith("timestamp=2")
    assert "level=info logger=tickerbus.upstream event=upstream.lost" in line
    assert line.endswith('attempt=3 why="slow client"\n')


def test_an_event_is_one_json_object_when_asked() -> None:
    out = io.StringIO()
    configure_logs("json", "info", out)
    structlog.get_logger("tickerbus.upstream").warning("upstream.lost", attempt=3)
    event = json.loads(out.getvalue())
    assert event.pop("timestamp").endswith("Z")
    assert event == {
        "event": "upstream.lost",
        "level": "warning",
        "logger": "tickerbus.upstream",
        "attempt": 3,
    }


def test_events_below_the_level_are_not_written() -> None:
    out = io.StringIO()
    configure_logs("text", "warning", out)
    structlog.get_logger().info("not.this")
    structlog.get_logger().warning("but.this")
    assert "not.this" not in out.getvalue()
    assert "but.this" in out.getvalue()


def test_a_value_from_outside_neither_begins_a_line_nor_steers_the_terminal() -> None:
    out = io.StringIO()
    configure_logs("text", "info", out)
    structlog.get_logger().info("registration.bad", ticker="A\r\nlevel=error\x1b[31m event=forged")
    assert out.getvalue().count("\n") == 1
    assert "\r" not in out.getvalue()
    assert "\x1b" not in out.getvalue()


@pytest.mark.parametrize("log_format", ["text", "json"])
def test_a_traceback_is_in_the_line_and_local_variables_are_not(log_format: str) -> None:
    out = io.StringIO()
    configure_logs(log_format, "info", out)  # type: ignore[arg-type]
    secret = "very" + "-secret"
    try:
        raise ValueError(len(secret))
    except ValueError:
        structlog.get_logger().exception("broker.failed")
    assert "ValueError" in out.getvalue()
    assert out.getvalue().count("\n") == 1
    assert "very-secret" not in out.getvalue()


def test_what_libraries_say_comes_out_in_the_same_form_from_warnings_up() -> None:
    out = io.StringIO()
    configure_logs("json", "info", out)
    logging.getLogger("websockets").info("not this")
    logging.getLogger("websockets").warning("but %s", "this")
    event = json.loads(out.getvalue())
    assert (event["event"], event["logger"], event["level"]) == (
        "but this",
        "websockets",
        "warning",
    )
