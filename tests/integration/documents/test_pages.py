"""Every command in README and docs does what the page says: it is run, beside a running stack."""

from __future__ import annotations

import ast
import json
import os
import shutil
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
import yaml

from main.embedded_valkey import EmbeddedValkey
from tests.conftest import wait_for
from tests.integration.cli.conftest import Person, free_port, interrupt, read_until
from tests.integration.documents.pages import LANGUAGES, ROOT, blocks_of, pages, script_of

pytestmark = pytest.mark.integration

SCRIPT_S = 240  # a loaded machine is no failure
RUNNABLE = [page for page in pages() if script_of(page)]
NEEDED = ("bash", "redis-cli", "curl")


class Stack(NamedTuple):
    redis_port: int
    sim_port: int
    metrics_port: int

    def environment(self, folder: Path) -> dict[str, str]:
        """What a person has who typed the exports that `up` prints."""
        url = f"http://127.0.0.1:{self.sim_port}"
        return {
            "PATH": f"{folder}:{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(folder),
            "TMPDIR": str(folder),
            "PYTHONUNBUFFERED": "1",
            "REDIS_URL": f"redis://127.0.0.1:{self.redis_port}",
            "ALPACA_API_KEY": "local",
            "ALPACA_API_SECRET": "local-secret",
            "ALPACA_DATA_URL": url,
            "ALPACA_TRADING_URL": url,
            "ALPACA_DATA_STREAM_URL": url.replace("http", "ws"),
            "ALPACA_TRADING_STREAM_URL": url.replace("http", "ws") + "/stream",
        }


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """`tickerbus up` on ports that are free, with a Redis that has a disk."""
    missing = [program for program in NEEDED if shutil.which(program) is None]
    if missing:
        pytest.skip(f"not on this machine: {', '.join(missing)}")
    with EmbeddedValkey(None, "--appendonly", "no") as redis:
        up = Stack(redis.port, free_port(), free_port())
        typing = Person(tmp_path_factory.mktemp("up"))
        process = typing.starts(
            f"up --rate 20 --sim-port {up.sim_port}",
            REDIS_URL=f"redis://127.0.0.1:{up.redis_port}",
            METRICS_PORT=str(up.metrics_port),
        )
        invitation = read_until(process, "Ctrl-C ends it")
        assert f"figures       http://127.0.0.1:{up.metrics_port}/metrics" in invitation
        wait_for(lambda: is_ready(up), timeout_s=20, what="the broker is ready")
        yield up
        assert interrupt(process).code == 0


def is_ready(stack: Stack) -> bool:
    try:
        address = f"http://127.0.0.1:{stack.metrics_port}/readyz"
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


@pytest.fixture
def folder(tmp_path: Path, stack: Stack) -> Path:
    """As after `git clone`: a page may write into it. `redis-cli` finds the stack's Redis."""
    for name in ("main", "docs", "examples", ".env.example", "Makefile", "pyproject.toml"):
        (tmp_path / name).symlink_to(ROOT / name)
    shim = tmp_path / "redis-cli"
    # An error reply shall be an exit code.
    shim.write_text(f'#!/bin/sh\nexec {shutil.which("redis-cli")} -e -p {stack.redis_port} "$@"\n')
    shim.chmod(0o755)
    return tmp_path


@pytest.mark.timeout(SCRIPT_S + 60)
@pytest.mark.parametrize("page", RUNNABLE, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_command_of_a_page_works(page: Path, stack: Stack, folder: Path) -> None:
    script = script_of(page).replace("127.0.0.1:9464", f"127.0.0.1:{stack.metrics_port}")
    ended = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        env=stack.environment(folder),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SCRIPT_S,
        check=False,
    )
    assert ended.returncode == 0, f"{ended.stderr[-3000:]}\n{ended.stdout[-3000:]}"
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize("page", pages(), ids=lambda page: str(page.relative_to(ROOT)))
def test_every_block_says_what_it_is_and_can_be_read(page: Path) -> None:
    for block in blocks_of(page):
        where = f"{page.name}, line {block.line}"
        assert block.language in LANGUAGES, f"{where}: {block.language!r}"
        if block.language == "python":
            ast.parse(block.text, where)
        elif block.language == "json":
            json.loads(block.text)
        elif block.language == "yaml":
            yaml.safe_load(block.text)


def test_the_pages_that_newcomers_read_are_run() -> None:
    names = {str(page.relative_to(ROOT)) for page in RUNNABLE}
    assert {"README.md", "docs/getting-started.md", "docs/operating.md"} <= names
    assert {"docs/troubleshooting.md", "docs/wire.md", "docs/monitoring/README.md"} <= names


def test_a_command_that_is_wrong_fails_its_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("```sh\nprintf one\nfalse\nprintf two\n```\n")
    ended = subprocess.run(
        ["bash", "-c", script_of(page)], capture_output=True, text=True, check=False
    )
    assert ended.returncode != 0
    assert ended.stdout == "one"


def test_a_marked_block_is_left_out_with_its_reason_and_only_that_one(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "<!-- not run: it needs docker -->\n```sh\nfalse\n```\n\n```sh\ntrue\n```\n"
        "<!-- not run: -->\n```sh\nreally\n```\n"
    )
    assert [block.why_not for block in blocks_of(page)] == ["it needs docker", "", ""]
    assert "false" not in script_of(page)
    assert "really" in script_of(page), "a marker without a reason marks nothing"


def test_a_line_that_tells_of_ctrl_c_is_ended_so(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(
        "```sh\nwhile true; do echo on; sleep 0.05; done   # on and on; Ctrl-C ends it\n```\n"
    )
    ended = subprocess.run(
        ["bash", "-c", script_of(page)], capture_output=True, text=True, check=False, timeout=30
    )
    assert ended.returncode == 0, ended.stdout
    assert "on" in ended.stdout


# -- the systemd unit


def test_the_unit_is_one_that_systemd_takes() -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("no systemd-analyze here")
    ended = subprocess.run(
        [analyze, "verify", "--man=no", str(ROOT / "docs/systemd/tickerbus.service")],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    told = [line for line in ended.stderr.splitlines() if "tickerbus.service" in line]
    # Neither the program nor its user are on this machine.
    unexpected = [line for line in told if "is not executable" not in line]
    assert unexpected == []
