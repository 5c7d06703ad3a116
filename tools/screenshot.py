"""`make screenshot`: docs/dashboard.png and its siblings, from a real run of `up --dashboard`.

Takes six minutes: the sparklines show five.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
import urllib.request
from pathlib import Path

from playwright.sync_api import sync_playwright

from main.ports import choose_port

FOLDER = Path(__file__).parent.parent / "docs"
TICKERS = "AAPL,AMD,AMZN,COIN,GOOG,META,MSFT,NFLX,NVDA,QQQ,SPY,TSLA,BTC/USD,ETH/USD"
RUN_S = 330.0
SIZE = {"width": 1400, "height": 812}
PICTURES = (
    ("dashboard.png", "", "light"),
    ("dashboard-dark.png", "", "dark"),
    ("dashboard-ticker.png", "ticker/AAPL", "light"),
    ("dashboard-ticker-dark.png", "ticker/AAPL", "dark"),
)


def main() -> int:
    """Run everything on ports of its own, wait, and look."""
    wanted = (("--redis-port", 6390), ("--sim-port", 8790), ("--page-port", 8890))
    ports = {name: choose_port(None, default, name) for name, default in wanted}
    words = [word for name, port in ports.items() for word in (name, str(port))]
    settings = {name: value for name, value in os.environ.items() if "REDIS" not in name}
    command = [sys.executable, "-m", "main", "up", "--dashboard", "--tickers", TICKERS, *words]
    up = subprocess.Popen(command, env=settings, stdout=subprocess.DEVNULL)
    try:
        url = f"http://127.0.0.1:{ports['--page-port']}/"
        time.sleep(RUN_S)
        urllib.request.urlopen(url, timeout=5).close()
        take(url)
    finally:
        up.terminate()
        up.wait(10)
    return 0


def take(url: str) -> None:
    chromium = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
    sandbox = ["--no-sandbox"] if os.geteuid() == 0 else []  # Chromium's own does not run as root
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=chromium, args=sandbox)
        for name, path, scheme in PICTURES:
            page = browser.new_page(viewport=SIZE, color_scheme=scheme)
            page.goto(url + path)
            page.wait_for_timeout(3_000)  # the first prices have moved
            page.screenshot(path=FOLDER / name)
            sys.stderr.write(f"wrote {FOLDER / name}\n")
        browser.close()


if __name__ == "__main__":
    sys.exit(main())
