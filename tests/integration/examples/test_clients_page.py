"""docs/clients.md is true: its programs run as they stand, and its commands are commands."""

from __future__ import annotations

import re
import shlex
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.integration.examples.processes import REPOSITORY, Process, RealStack

pytestmark = pytest.mark.integration

PAGE = (REPOSITORY / "docs" / "clients.md").read_text("utf-8")
PROGRAMS = re.findall(r"```python\n(.*?)```", PAGE, re.S)
COMMANDS = re.findall(r"^redis-cli (.*)$", PAGE, re.M)


@pytest.fixture
def commands(stack: RealStack) -> Iterator[redis.Redis]:
    client = redis.Redis(port=stack.redis_port)
    yield client
    client.close()


@pytest.mark.parametrize("style", [0, 1, 2], ids=["for", "async_for", "callbacks"])
def test_each_style_prints_both_tickers_and_ends_at_ctrl_c(
    stack: RealStack, tmp_path: Path, style: int
) -> None:
    assert len(PROGRAMS) == 3
    script = tmp_path / "consumer.py"
    script.write_text(PROGRAMS[style])
    process: Process = stack.start(str(script))
    try:
        for ticker in ("AAPL", "MSFT"):
            assert re.match(rf"{ticker} [\d.-]+", process.wait_for_line(f"{ticker} "))
        process.signal(signal.SIGINT)
        code = process.exit_code()
    finally:
        process.end()
    # `run` ends at Ctrl-C by itself; in a loop Python says that it was interrupted
    assert code == (0 if style == 2 else -signal.SIGINT)
    assert "broker.away" not in "\n".join(process.lines)


def test_its_redis_commands_are_understood(commands: redis.Redis) -> None:
    assert len(COMMANDS) == 5
    for line in COMMANDS:
        words = shlex.split(line)
        if words[0] == "SUBSCRIBE":
            with commands.pubsub() as channels:
                channels.subscribe(*words[1:])
                confirmed = [channels.get_message(timeout=5) for _ in words[1:]]
            assert [each["type"] for each in confirmed if each] == ["subscribe"] * 3
        else:
            commands.execute_command(*words)  # an error reply would raise


def test_the_javascript_of_the_page_is_the_examples_interface() -> None:
    (code,) = re.findall(r"```js\n(.*?)```", PAGE, re.S)
    module = (REPOSITORY / "examples" / "javascript" / "follow.mjs").read_text("utf-8")
    given = re.findall(r"^  (\w+):", code, re.M)
    (taken,) = re.findall(r"export async function follow\(\{ (.*?) \}\)", module)
    assert sorted(given) == sorted(taken.split(", "))


def test_its_links_lead_somewhere() -> None:
    links = [link for link in re.findall(r"\]\(([^)#]+)\)", PAGE) if "://" not in link]
    assert links
    for link in links:
        assert (REPOSITORY / "docs" / link).exists(), link
