"""`up --dashboard` and `demo`: the page with everything else, by one command."""

from __future__ import annotations

import re
import urllib.request

import pytest

from tests.conftest import wait_for
from tests.integration.cli.conftest import (
    PATIENCE_S,
    Person,
    free_port,
    interrupt,
    read_until,
)
from tests.integration.cli.conftest import person as person  # noqa: PLC0414  (a fixture)

pytestmark = pytest.mark.integration


def look(url: str) -> str:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode())


def test_up_with_the_page_shows_its_address_and_all_that_it_started(person: Person) -> None:
    ports = (free_port(), free_port(), free_port())
    options = "--redis-port {} --sim-port {} --page-port {}".format(*ports)
    up = person.starts(f"up --dashboard --tickers AAPL,MSFT --rate 20 {options}")
    printed = read_until(up, "Ctrl-C ends it")
    url = f"http://127.0.0.1:{ports[2]}"
    assert re.search(rf"^web page +{url}$", printed, re.M)
    html = wait_for(
        lambda: page if (page := look(url)).count('s-live">LIVE') >= 2 else None,
        PATIENCE_S,
        "both tickers live on the page",
    )
    assert "RUNNING" in html
    wait_for(lambda: "scale-t-demo@" in look(f"{url}/registrations"), PATIENCE_S, "who trades")
    assert interrupt(up).code == 0


def test_demo_offers_the_page(person: Person) -> None:
    port = free_port()
    ports = f"--redis-port {free_port()} --sim-port {free_port()} --page-port {port}"
    demo = person.starts(f"demo --plain --tickers AAPL {ports}")
    read_until(demo, f"page: http://127.0.0.1:{port}")
    assert 'id="tickers"' in look(f"http://127.0.0.1:{port}/")
    end = interrupt(demo)
    assert end.code == 0, end.out + end.err
