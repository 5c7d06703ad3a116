"""The page in a real browser over a real broker and a local Alpaca: what a person does with it."""

from __future__ import annotations

import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from main.alpaca_sim import LocalAlpaca, MarketRules, SimConfig, StreamRules
from main.stack import local_alpaca_environment
from main.utils.redis.config import RedisConfig
from tests.conftest import wait_for

from .browser import Tab, open_tab
from .conftest import PATIENCE_S, Bus, Program, Site

pytestmark = pytest.mark.integration

STATE = "document.querySelector('#head .badge')?.textContent"


@pytest.fixture
def alpaca() -> Iterator[LocalAlpaca]:
    streams = StreamRules(handshake_limit=0, zombie_slot_s=0.2)
    market = MarketRules(default_rate=20)
    with LocalAlpaca(SimConfig(market=market, streams=streams)) as running:
        yield running


class Brokers:
    """Starts brokers, and ends those that a test did not."""

    def __init__(self, folder: Path, redis: RedisConfig, alpaca: LocalAlpaca) -> None:
        self._folder = folder
        self._environment = {
            **local_alpaca_environment(alpaca.address.port),
            "REDIS_URL": f"redis://127.0.0.1:{redis.port}",
        }
        self.started: list[Program] = []

    def start(self) -> Program:
        """Returns once it has begun; says what it said, should it have ended."""
        broker = Program(self._folder, "broker", **self._environment)
        self.started.append(broker)
        wait_for(lambda: broker.said().count("PAPER account") == len(self.started), PATIENCE_S)
        return broker


@pytest.fixture
def brokers(tmp_path: Path, redis_config: RedisConfig, alpaca: LocalAlpaca) -> Iterator[Brokers]:
    starting = Brokers(tmp_path, redis_config, alpaca)
    yield starting
    for broker in starting.started:
        if broker.process.poll() is None:
            broker.end()


def row(symbol: str, part: str) -> str:
    return f"document.querySelector('tr[data-symbol=\"{symbol}\"] {part}')?.textContent"


def subscribe(tab: Tab, tickers: str) -> None:
    tab.page.fill('input[name="tickers"]', tickers)
    tab.page.keyboard.press("Enter")


def test_a_ticker_is_followed_and_let_go_from_the_page(
    browser: Browser, own_page: Site, bus: Bus, brokers: Brokers
) -> None:
    brokers.start()
    with open_tab(browser, own_page.url) as tab:
        tab.open()
        tab.wait_for(f"{STATE} === 'RUNNING'", "the broker")
        subscribe(tab, "aapl, brk-b QQQQQQQ")
        said = "document.querySelector('#answers').innerText"
        tab.wait_for(f"{said}.includes('AAPL: followed for 1 hour, 1 holder')")
        assert "did you mean BRK.B" in tab.page.inner_text("#answers")
        assert "QQQQQQQ: rejected" in tab.page.inner_text("#answers")
        tab.wait_for(f"{row('AAPL', '.badge')} === 'LIVE'", "its prices come")
        assert bus.redis.hkeys("BROKER_LEASES") == [b"AAPL|page@test"]
        tab.keep("subscribe")

        # Somebody else's: it is asked first, and nothing is done unless it is said again.
        bus.redis.publish(
            "BROKER_REGISTRATION", '{"action":"subscribe","ticker":"AAPL","client_id":"bot-1"}'
        )
        tab.open("/registrations")
        theirs = 'button[aria-label="Unsubscribe AAPL for bot-1"]'
        tab.wait_for(f"document.querySelector('{theirs}') !== null")
        tab.page.click(theirs)
        assert "bot-1 will stop getting AAPL" in tab.page.inner_text("#confirm")
        tab.keep("asks first")
        tab.page.click("#confirm >> text=Cancel")
        assert bus.redis.hexists("BROKER_LEASES", "AAPL|bot-1")
        tab.page.click(theirs)
        tab.page.click("#confirm >> button.danger")
        tab.wait_for(f"{said}.includes('AAPL: let go for bot-1')")
        assert not bus.redis.hexists("BROKER_LEASES", "AAPL|bot-1")

        tab.page.click('button[aria-label="Unsubscribe AAPL for page@test"]')
        tab.wait_for(f"{said}.includes('AAPL: let go for page@test')")
        tab.open()
        tab.wait_for(f"{row('AAPL', '.why')} === 'nobody holds it'")


def test_a_killed_broker_shows_within_three_seconds_and_then_that_it_is_back(
    browser: Browser, own_page: Site, bus: Bus, brokers: Brokers
) -> None:
    broker = brokers.start()
    with open_tab(browser, own_page.url) as tab:
        tab.open()
        tab.wait_for(f"{STATE} === 'RUNNING'", "the broker")
        subscribe(tab, "AAPL")
        tab.wait_for(f"{row('AAPL', '.badge')} === 'LIVE'", "its prices come")

        broker.end(signal.SIGKILL)
        killed_s = time.monotonic()
        tab.wait_for(f"{STATE} === 'SILENT' && {row('AAPL', '.badge')} === 'DOWN'", "it is away")
        assert time.monotonic() - killed_s < 3.0
        tab.wait_for("document.querySelector('#alerts').innerText.includes('No broker')")
        assert "tickerbus broker" in tab.page.inner_text("#alerts"), "and what to do"
        tab.keep("broker killed")

        brokers.start()
        tab.wait_for(f"{STATE} === 'RUNNING' && {row('AAPL', '.badge')} === 'LIVE'", "it is back")
        tab.wait_for("!document.querySelector('#alerts').innerText.includes('No broker')")
        gaps = "document.querySelector('#gaps-short').innerText"
        tab.wait_for(f"{gaps}.includes('the broker was restarted')", "the gap is told")
        tab.keep("broker back")


def test_a_page_whose_server_is_gone_says_that_it_is_old(
    browser: Browser, running_page: Site
) -> None:
    with open_tab(browser, running_page.url) as tab:
        tab.open()
        tab.wait_for(f"Boolean({STATE})")
        running_page.program.process.send_signal(signal.SIGSTOP)
        try:
            tab.wait_for("!document.getElementById('stale').hidden", "it says so")
            tab.keep("server away")
        finally:
            running_page.program.process.send_signal(signal.SIGCONT)
        tab.wait_for("document.getElementById('stale').hidden", "and that it is back")
