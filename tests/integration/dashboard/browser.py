"""A real browser, headless: Chromium, driven by playwright. Every page keeps its screenshots."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, BrowserContext, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome")
SCREENSHOTS = Path(__file__).parents[3] / "test-output" / "dashboard"
AXE = Path(__file__).parent / "vendor" / "axe-4.14.1.min.js"
PATIENCE_MS = 20_000
DESK, PHONE = (1440, 900), (390, 844)


def find_chromium() -> str:
    """Skips, with the reason, where there is none."""
    for name in NAMES:
        if found := shutil.which(name):
            return found
    pytest.skip("no Chromium here, and tools/install_chromium.sh could not install it")


@contextmanager
def open_browser() -> Iterator[Browser]:
    executable = find_chromium()
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's own does not run as root
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=sandbox)
        try:
            yield browser
        finally:
            browser.close()


class Tab:
    """One open page, and all that the browser complained of."""

    def __init__(self, context: BrowserContext, url: str) -> None:
        self.url, self.complaints = url, list[str]()
        self.page: Page = context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("pageerror", lambda error: self.complaints.append(f"error: {error}"))
        self.page.on("dialog", self._dismiss)
        self.page.on("console", self._console)
        self.page.on("request", self._request)

    def _dismiss(self, dialog: Any) -> None:
        self.complaints.append(f"a dialog: {dialog.message}")
        dialog.dismiss()

    def _console(self, message: Any) -> None:
        # A server that is away is a test's own doing.
        if message.type == "error" and "ERR_" not in message.text:
            self.complaints.append(f"console: {message.text}")

    def _request(self, request: Any) -> None:
        if not request.url.startswith((self.url, "data:")):
            self.complaints.append(f"asked elsewhere: {request.url}")

    def open(self, path: str = "/") -> Page:
        self.page.goto(self.url + path)
        return self.page

    def wait_for(self, expression: str, what: str = "") -> Any:
        """Until a JavaScript expression is true; its value."""
        # Not playwright's own waiting: it evaluates within the page, whose policy forbids that.
        deadline = time.monotonic() + PATIENCE_MS / 1000
        while not (value := self.page.evaluate(expression)):
            if time.monotonic() > deadline:
                self.keep("failed")
                raise AssertionError(f"{what or expression}; the page: {self.complaints}")
            self.page.wait_for_timeout(30)
        return value

    def cell(self, symbol: str, name: str) -> str:
        """The text of a ticker's cell in the table."""
        return self.page.inner_text(f'tr[data-symbol="{symbol}"] .c-{name}')

    def keep(self, name: str, *, whole: bool = False) -> None:
        """A screenshot, to be looked at."""
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        safe = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        # Written here: playwright would start a thread for it, and keep it.
        (SCREENSHOTS / f"{safe}.png").write_bytes(self.page.screenshot(full_page=whole))

    def barriers(self, **options: Any) -> list[str]:
        """What axe-core finds that keeps people out, each with where it is."""
        # Through the debugger's door: the page's own policy forbids what is not its own.
        self.page.evaluate(AXE.read_text("utf-8"))
        given = {"resultTypes": ["violations"]} | options
        found = self.page.evaluate("(options) => axe.run(document, options)", given)
        return [
            f"{fault['id']} ({fault['impact']}): {node['target']} {node['failureSummary']}"
            for fault in found["violations"]
            for node in fault["nodes"][:3]
        ]


@contextmanager
def open_tab(
    browser: Browser, url: str, size: tuple[int, int] = DESK, **options: Any
) -> Iterator[Tab]:
    """A tab with a visitor of its own, which fails if the browser had to complain."""
    context = browser.new_context(viewport={"width": size[0], "height": size[1]}, **options)
    try:
        tab = Tab(context, url)
        yield tab
        assert tab.complaints == []
    finally:
        context.close()
