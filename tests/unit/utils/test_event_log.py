"""The bus's log events, and what it takes to import it."""

from __future__ import annotations

import subprocess
import sys

import structlog

from main.utils.event_log import EventLog


def test_an_event_goes_to_structlog_with_its_level_and_facts() -> None:
    structlog.reset_defaults()  # another test may have set a level
    log = EventLog("tickerbus.test")
    with structlog.testing.capture_logs() as lines:
        log.debug("a", n=1)
        log.info("b")
        log.warning("c", why="so")
        log.error("d")
    assert [(line["event"], line["log_level"]) for line in lines] == [
        ("a", "debug"),
        ("b", "info"),
        ("c", "warning"),
        ("d", "error"),
    ]
    assert (lines[0]["n"], lines[2]["why"]) == (1, "so")


def test_a_first_connection_after_the_main_thread_has_ended_is_one_like_any_other() -> None:
    """A script that starts a thread and is done: redis-py is imported only then."""
    code = """
import threading
from main.utils.redis import RedisConfig, RedisPublisher
from main.utils.redis.errors import RedisUnavailable

def work():
    threading.main_thread().join()
    try:
        RedisPublisher(RedisConfig(host="127.0.0.1", port=1))
    except RedisUnavailable:
        print("nobody is there")

threading.Thread(target=work).start()
"""
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (found.stdout.strip(), found.stderr) == ("nobody is there", "")


def test_the_bus_is_imported_without_what_only_others_need() -> None:
    heavy = ["structlog", "rich", "jsonschema", "pandas", "pydantic", "alpaca", "websockets"]
    heavy += ["redis", "asyncio"]  # these come with the first connection, or event loop
    code = f"import main.utils.redis, sys; print([m for m in {heavy} if m in sys.modules])"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"
