"""`sim` with a scenario, a recording, trading hours and a clock of its own; and a parting word."""

from __future__ import annotations

import json
import signal
import subprocess
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from websockets.sync.client import connect

from tests.conftest import wait_for
from tests.integration.cli.conftest import (
    PATIENCE_S,
    Person,
    ended,
    free_port,
    interrupt,
    read_until,
)

pytestmark = pytest.mark.integration


@contextmanager
def running_sim(person: Person, options: str) -> Iterator[int]:
    """A local Alpaca; its port."""
    port = free_port()
    process = person.starts(f"sim --port {port} {options}")
    read_until(process, "Faults and oracle")
    try:
        yield port
    finally:
        assert interrupt(process).code == 0


def status_of(control_port: int) -> dict[str, Any]:
    with urllib.request.urlopen(f"http://127.0.0.1:{control_port}/status", timeout=5) as answer:
        status: dict[str, Any] = json.load(answer)
        return status


def test_its_clock_its_hours_and_a_scenario_are_as_told(person: Person) -> None:
    scenario = person.folder / "morning.yaml"
    scenario.write_text(
        "name: a morning\nsteps:\n  - {at: 0, do: set_symbol_limit, with: {limit: 1}}\n"
    )
    control = free_port()
    hours = "--session calendar --clock-start 2026-11-26T15:00:00Z"  # Thanksgiving
    with running_sim(person, f"--control-port {control} {hours} --scenario {scenario}"):
        status = status_of(control)
        assert "2026-11-26T15:0" in json.dumps(status)
        assert status["phase"] == "closed"
        wait_for(lambda: status_of(control)["scenario"]["done"] == 1)


def test_a_recording_is_played_to_the_first_subscriber(person: Person) -> None:
    recording = person.folder / "day.csv"
    recording.write_text("T,S,t,p,s\nt,AAPL,2026-01-05T15:00:00.000000001Z,187.25,100\n")
    with (
        running_sim(person, f"--replay {recording} --speed 1 --original-times") as port,
        connect(f"ws://127.0.0.1:{port}/v2/iex") as stream,
    ):
        stream.recv(timeout=5)
        stream.send('{"action":"auth","key":"local","secret":"local-secret"}')
        stream.recv(timeout=5)
        stream.send('{"action":"subscribe","trades":["AAPL"]}')
        stream.recv(timeout=5)
        (trade,) = json.loads(stream.recv(timeout=10))
    assert (trade["S"], trade["p"]) == ("AAPL", 187.25)
    assert trade["t"] == "2026-01-05T15:00:00.000000001Z"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ("--scenario bad.yaml", "--scenario bad.yaml: mutter: no such verb"),
        ("--replay bad.csv", "--replay bad.csv: bad.csv: no trades and no quotes"),
        ("--clock-start soon", "--clock-start: 'soon' is no moment"),
    ],
)
def test_what_cannot_be_played_is_said_at_once(person: Person, options: str, told: str) -> None:
    (person.folder / "bad.yaml").write_text("steps: [{at: 0, do: mutter}]\n")
    (person.folder / "bad.csv").write_text("x,y\n")
    refused = person.types(f"sim --port {free_port()} {options}")
    assert refused.code == 2
    assert told in refused.err
    assert "Traceback" not in refused.err


def test_who_presses_ctrl_c_is_told_at_once_that_it_was_heard(person: Person) -> None:
    process = person.starts(
        f"up --tickers BTC/USD --redis-port {free_port()} --sim-port {free_port()}"
    )
    read_until(process, "Ctrl-C ends it")
    told = threading.Event()
    reader = threading.Thread(target=_until_stopping, args=(process, told))
    reader.start()
    process.send_signal(signal.SIGINT)
    reader.join(PATIENCE_S)
    assert told.is_set(), "nothing was said"
    assert ended(process).code == 0


def _until_stopping(process: subprocess.Popen[str], told: threading.Event) -> None:
    assert process.stderr is not None
    for line in process.stderr:
        if "stopping" in line:
            told.set()
            return
