"""`dashboard`: the web page."""

from __future__ import annotations

import time
from typing import Annotated, Final

import typer

from ..demo import client_id_of
from ..extras import how_to_install
from ..ports import choose_port
from ..stack import DEFAULT_PAGE_PORT
from .common import Mistake, ended_by_signals, open_settings, say

LOOPBACK: Final = "127.0.0.1"
LOOK_S: Final = 0.2


def dashboard(
    port: Annotated[
        int | None,
        typer.Option(
            min=1,
            max=65535,
            metavar="PORT",
            help="Where it listens. Without it: 8787, or the next free one.",
        ),
    ] = None,
    host: Annotated[
        str, typer.Option(help="Other than loopback only with DASHBOARD_TOKEN set.")
    ] = LOOPBACK,
) -> None:
    """The web page: tickers live, orders, registrations, gaps, health.

    Reads Redis only, and looking registers nothing. On loopback whoever is on this machine may
    look; anywhere else DASHBOARD_TOKEN is asked for. Exit code 2: something is missing.
    """
    settings = open_settings()
    require_web_packages()
    from ..dashboard.config import DashboardConfig, DashboardRefused
    from ..dashboard.server import DashboardServer

    chosen = port or DEFAULT_PAGE_PORT
    if host == LOOPBACK:  # elsewhere it has to be where it was said to be
        chosen = choose_port(port, DEFAULT_PAGE_PORT, "--port")
    token = settings.dashboard_token
    try:
        config = DashboardConfig(
            redis=settings.redis_config("tickerbus-dashboard"),
            client_id=client_id_of("page"),
            host=host,
            port=chosen,
            token=None if token is None else token.get_secret_value(),
            secured=settings.registration_secured,
            symbol_limit=settings.alpaca_symbol_limit,
        )
    except DashboardRefused as refusal:
        raise Mistake(str(refusal)) from None
    server = DashboardServer(config)
    with ended_by_signals(server.stop) as interruption:
        server.start()
        say(f"The page is at {config.url}")
        while server.runs():
            interruption.look()
            time.sleep(LOOK_S)


def require_web_packages() -> None:
    """Say what to install, where the page's packages are missing.

    Raises:
        Mistake: one or more are.
    """
    if lacking := missing_web_packages():
        raise Mistake(f"The page needs {', '.join(lacking)}: {how_to_install('dashboard')}")


def missing_web_packages() -> list[str]:
    """Those of the extra `dashboard` that are not installed."""
    from importlib.util import find_spec

    return [name for name in ("fastapi", "uvicorn", "jinja2") if find_spec(name) is None]
