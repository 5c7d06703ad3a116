"""The page in a real browser, spoken to as a broker would: everything but the broker is real."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser

from main.utils.redis.config import RedisConfig
from main.utils.redis.messages import MarketStatus
from tests.unit.dashboard.messages import at, gap, halt, heartbeat, order, price

from .browser import DESK, PHONE, open_tab
from .conftest import ROOT, Bus, Site, page_for

pytestmark = pytest.mark.integration

EVIL = '<img src=x onerror="window.pwned=1">'


@contextmanager
def beating(bus: Bus, beat: Callable[[], object]) -> Iterator[None]:
    """`beat` four times a second, for as long as the block lasts."""
    ended = threading.Event()

    def run() -> None:
        while not ended.wait(0.25):
            beat()

    thread = threading.Thread(target=run, name="speaks-as-broker")
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


@contextmanager
def market(bus: Bus, *tickers: str, states: dict[str, str] | None = None) -> Iterator[None]:
    """Tickers that trade, under a broker that is well."""
    found = dict.fromkeys(tickers, "LIVE") | (states or {})
    bus.hold("bot-1", *found)
    steps = iter(range(1_000_000))

    def beat() -> None:
        hours = MarketStatus(is_open=True, changes_at=at(time.time() + 3_600))
        bus.beat(heartbeat(tickers=found, limits={"symbols": 30}, market=hours))
        step = next(steps)
        for number, ticker in enumerate(tickers):
            bus.say(price(100 + number + step / 100, time.time(), ticker, seq=step + 1, epoch=7))

    beat()
    with beating(bus, beat):
        yield


def test_the_first_paint_makes_sense_without_any_script(
    browser: Browser, own_page: Site, bus: Bus
) -> None:
    with market(bus, "AAPL", "MSFT"):
        with open_tab(browser, own_page.url) as scripted:
            scripted.open()
            scripted.wait_for("document.querySelectorAll('#tickers .s-live').length === 2")
        with open_tab(browser, own_page.url, java_script_enabled=False) as tab:
            tab.open()
            assert tab.cell("AAPL", "state").startswith("LIVE")
            assert float(tab.cell("AAPL", "last")) > 100
            assert tab.page.inner_text("#head .badge") == "RUNNING"
            tab.page.fill('input[name="tickers"]', "BRK-B")
            tab.page.click("aside .subscribe button")
            assert "did you mean BRK.B" in tab.page.inner_text(".answers")
            tab.keep("without scripts")


def test_a_price_moves_the_table_the_chart_and_the_feed(
    browser: Browser, own_page: Site, bus: Bus
) -> None:
    with market(bus, "AAPL", "BTC/USD"), open_tab(browser, own_page.url) as tab:
        tab.open()
        cell = "document.querySelector('tr[data-symbol=\"AAPL\"] .c-last')"
        tab.wait_for(f"{cell}?.textContent")
        before = tab.cell("AAPL", "last")
        tab.wait_for(f"{cell}.textContent !== '{before}'", "a live update")
        tab.wait_for(f"{cell}.getAnimations().length > 0", "a flash")
        tab.wait_for(f"{cell}.classList.contains('up')")
        bus.say(order("fill", time.time(), update={"qty": "4", "price": "101.5"}, seq=9))
        tab.wait_for("document.querySelector('#orders-short')?.textContent.includes('101.50')")
        tab.keep("live update")
        tab.page.click('tr[data-symbol="BTC/USD"] a')
        tab.wait_for("document.querySelector('#chart canvas') !== null", "the chart")
        assert tab.page.inner_text("h1") == "BTC/USD"
        tab.wait_for("document.querySelector('.verdict')?.textContent.includes('all is well')")
        tab.keep("ticker")


def test_why_a_ticker_is_silent_is_found_on_the_page_alone(
    browser: Browser, own_page: Site, bus: Bus
) -> None:
    causes: dict[str, tuple[Callable[[], object], str]] = {
        "HALT": (lambda: bus.say(halt(symbol="HALT", at_s=time.time())), "trading is halted"),
        "MUTE": (lambda: None, "should trade and does not"),
        "LATE": (lambda: None, "come"),
    }
    with (
        market(bus, "AAPL", states={"HALT": "QUIET", "MUTE": "MUTE", "LATE": "LAGGING"}),
        open_tab(browser, own_page.url) as tab,
    ):
        tab.open()
        for ticker, (act, words) in causes.items():
            act()
            row = f"document.querySelector('tr[data-symbol=\"{ticker}\"] .why')?.textContent"
            tab.wait_for(f"{row}?.includes('{words}')", ticker)
        tab.page.click('#states [data-state="MUTE"]')
        tab.wait_for("document.querySelectorAll('#tickers tbody tr:not([hidden])').length === 1")
        tab.keep("why silent")
        tab.page.click('tr[data-symbol="MUTE"] a')
        assert "should trade and does not" in tab.page.inner_text(".verdict")
        assert "asks Alpaca for it again" in tab.page.inner_text(".checks .fails")
        tab.open("/ticker/GOOG")
        assert tab.page.inner_text(".verdict") == "No: nobody holds it."


def test_hostile_text_is_shown_as_text(browser: Browser, own_page: Site, bus: Bus) -> None:
    def poison() -> None:
        bus.say(price(66.6, time.time(), EVIL))
        bus.say(order(EVIL, time.time(), EVIL, 1, side=EVIL, qty=EVIL, id=EVIL, type=EVIL))
        bus.say(gap(time.time() - 2, time.time(), EVIL, backfilled=False, cause=EVIL))

    bus.hold(EVIL, EVIL)
    bus.redis.client_setname("pwned<b>")
    beat = heartbeat(prices="DOWN", reason=EVIL, tickers={EVIL: EVIL})
    with beating(bus, lambda: bus.beat(beat)), open_tab(browser, own_page.url) as tab:
        tab.open()
        poison()
        tab.wait_for("document.querySelector('#tickers').innerText.includes('<img')", "its name")
        tab.keep("hostile text")
        tab.page.click("#tickers a >> text=<img")
        tab.wait_for("document.querySelector('#chart canvas') !== null")
        for path in ("/orders", "/registrations", "/gaps", "/health", "/"):
            tab.open(path)
            poison()
            tab.wait_for("document.body.innerText.includes('<img')", path)
            assert tab.page.evaluate("window.pwned") is None
            assert tab.page.locator("main img, .alerts img").count() == 0


def test_five_hundred_tickers_at_five_thousand_messages_a_second_stay_smooth(
    browser: Browser, redis_config: RedisConfig, tmp_path: Path
) -> None:
    words = [sys.executable, "-m", "tests.integration.dashboard.storm", str(redis_config.port)]
    storm = subprocess.Popen(words, cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        with page_for(redis_config, tmp_path) as page, open_tab(browser, page.url) as tab:
            tab.open()
            tab.wait_for("document.querySelectorAll('#tickers tbody tr').length >= 500")
            tab.wait_for("document.querySelectorAll('#tickers .s-live').length > 10")
            seen = tab.page.evaluate(SMOOTHNESS)
            tab.keep("500 tickers")
            out, _ = storm.communicate(timeout=30)
            last = out.split()[-1]  # of T000: the newest of all must be what is shown in the end
            cell = "document.querySelector('tr[data-symbol=\"T000\"] .c-last').textContent"
            tab.wait_for(f"{cell} === '{last}'", "the newest of all")
    finally:
        storm.kill()
        storm.wait()
    rate = float(out.split()[0])
    assert rate > 500, "or else it was no storm"
    # How many frames there are is the machine's matter; that all that comes is drawn is ours.
    assert 0 < seen["events"] <= seen["frames"], seen
    assert seen["events"] <= 4.6, f"four a second for each viewer: {seen}"


SMOOTHNESS = """async () => {
  const seconds = 2;
  let frames = 0, events = 0;
  const source = new EventSource('/stream?view=tickers');
  await new Promise((resolve) => { source.onmessage = resolve; });
  source.onmessage = () => { events += 1; };
  const end = performance.now() + seconds * 1000;
  await new Promise((resolve) => {
    const frame = (at) => { frames += 1; at < end ? requestAnimationFrame(frame) : resolve(); };
    requestAnimationFrame(frame);
  });
  source.close();
  return {frames: frames / seconds, events: events / seconds};
}"""

PAGES = ("/", "/ticker/AAPL", "/orders", "/registrations", "/gaps", "/health")


def fill(bus: Bus) -> None:
    now_s = time.time()
    bus.say(order("fill", now_s, update={"qty": "4", "price": "101.5"}, seq=1))
    bus.say(order("rejected", now_s, seq=2))
    bus.say(gap(now_s - 60, now_s - 40))
    bus.say(gap(now_s - 30, now_s - 20, "MSFT", backfilled=False, lost=None))


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_on_any_page_keeps_people_out(
    browser: Browser, own_page: Site, bus: Bus, scheme: str
) -> None:
    states = {"MUTE": "MUTE", "LATE": "LAGGING", "DOWN": "DOWN", "OLD": "QUIET"}
    options: dict[str, Any] = {"color_scheme": scheme, "reduced_motion": "reduce"}
    # In the dark everything but the colours is the same.
    colours = {"runOnly": {"type": "rule", "values": ["color-contrast"]}}
    rules: dict[str, Any] = {} if scheme == "light" else colours
    tab_opened = open_tab(browser, own_page.url, **options)
    with market(bus, "AAPL", "MSFT", states=states), tab_opened as tab:
        tab.open()
        fill(bus)
        tab.wait_for("document.querySelectorAll('#tickers .badge').length >= 6")
        for path in PAGES:
            tab.open(path)
            tab.wait_for("document.querySelector('#head .badge')?.textContent === 'RUNNING'")
            tab.keep(f"{scheme} {path}", whole=True)
            assert tab.barriers(**rules) == [], path


def test_a_phone_shows_every_page_without_sideways_scrolling(
    browser: Browser, own_page: Site, bus: Bus
) -> None:
    with (
        market(bus, "AAPL", "BTC/USD"),
        open_tab(browser, own_page.url, PHONE) as tab,
    ):
        tab.open()
        fill(bus)
        for path in PAGES:
            tab.open(path)
            tab.wait_for("document.querySelector('#head .badge')?.textContent === 'RUNNING'")
            wide = tab.page.evaluate("document.documentElement.scrollWidth - innerWidth")
            assert wide <= 0, f"{path} is {wide} px too wide"
            tab.keep(f"phone {path}")
        tab.open()
        badge = tab.page.locator('tr[data-symbol="AAPL"] .badge').bounding_box()
        assert badge is not None
        assert badge["x"] + badge["width"] <= PHONE[0], "the state can be read"


def test_the_keyboard_is_enough(browser: Browser, own_page: Site, bus: Bus) -> None:
    focus = "document.activeElement"
    with market(bus, "AAPL", "MSFT", "TSLA"), open_tab(browser, own_page.url) as tab:
        page = tab.open()
        tab.wait_for("document.querySelectorAll('#tickers tbody tr').length >= 3")
        page.keyboard.press("Tab")
        assert page.evaluate(f"{focus}.className") == "skip"
        page.keyboard.press("Enter")
        assert page.evaluate(f"{focus}.id") == "main"
        page.keyboard.press("/")
        page.keyboard.type("msf")
        tab.wait_for("document.querySelectorAll('#tickers tbody tr:not([hidden])').length === 1")
        page.fill("#filter", "")
        page.focus('[data-sort="last"]')
        page.keyboard.press("Enter")
        assert page.get_attribute(".tickers th.c-last", "aria-sort") == "descending"
        assert page.inner_text("#tickers tbody tr >> nth=0 >> .c-symbol") == "TSLA"
        outlined = page.evaluate(f"getComputedStyle({focus}).outlineStyle")
        assert outlined == "solid", "where one is can be seen"
        page.focus('tr[data-symbol="AAPL"] a')
        # Rows change below the fingers: the focus stays.
        cell = "document.querySelector('tr[data-symbol=\"AAPL\"] .c-last').textContent"
        before = page.evaluate(cell)
        tab.wait_for(f"{cell} !== '{before}'")
        page.keyboard.press("Enter")
        page.wait_for_url("**/ticker/AAPL")


def test_light_or_dark_is_the_systems_until_one_is_chosen(browser: Browser, own_page: Site) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    with open_tab(browser, own_page.url, DESK, color_scheme="dark") as tab:
        page = tab.open()
        dark = page.evaluate(background)
        page.click("#theme")
        light = page.evaluate(background)
        assert light != dark
        page.reload()
        assert page.evaluate(background) == light, "it is remembered"


def test_numbers_stand_in_line(browser: Browser, own_page: Site, bus: Bus) -> None:
    with market(bus, "AAPL", "MSFT", "TSLA"), open_tab(browser, own_page.url) as tab:
        tab.open()
        tab.wait_for("document.querySelectorAll('#tickers .s-live').length >= 3")
        for column in ("last", "rate", "lag", "age", "held"):
            found = tab.page.evaluate(
                f"""[...document.querySelectorAll('#tickers tbody .c-{column}')].map((cell) => {{
                    const range = document.createRange();
                    range.selectNodeContents(cell);
                    const right = Math.round(range.getBoundingClientRect().right);
                    return [right, getComputedStyle(cell).fontVariantNumeric];
                }})"""
            )
            assert len({right for right, _ in found}) == 1, f"{column}: {found}"
            assert {digits for _, digits in found} == {"tabular-nums"}, column
