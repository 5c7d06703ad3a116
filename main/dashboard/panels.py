"""Pure but for the templates' files: the page's parts as HTML, each made once for all viewers.

Jinja escapes everything: whatever Redis holds, it is text. A panel is made again only when what it
is made of has changed.
"""

from __future__ import annotations

import re
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import jinja2
from markupsafe import Markup, escape

from . import words
from .board import Board
from .registrations import Client, Lease
from .rows import Row

FOLDER: Final = Path(__file__).parent
SHORT: Final = 12
STATE_ORDER: Final = (
    "DOWN", "REFUSED", "MUTE", "LAGGING", "CONNECTING", "LIVE", "QUIET", "OFF",
)  # fmt: skip
PAGES: Final = (
    ("tickers", "/", "Tickers"),
    ("orders", "/orders", "Orders"),
    ("registrations", "/registrations", "Registrations"),
    ("gaps", "/gaps", "Gaps"),
    ("health", "/health", "Health"),
)
_QUOTED: Final = re.compile(r"`([^`]*)`")
ALWAYS: Final = ("head", "alerts")
PANELS_OF: Final[Mapping[str, tuple[str, ...]]] = {
    "tickers": (*ALWAYS, "states", "budget", "orders-short", "gaps-short"),
    "ticker": (*ALWAYS, "facts", "checks", "holders", "orders-of"),
    "orders": (*ALWAYS, "orders"),
    "registrations": (*ALWAYS, "budget", "clients"),
    "gaps": (*ALWAYS, "gaps"),
    "health": (*ALWAYS, "broker", "redis", "readers", "counters"),
}


@dataclass(frozen=True, kw_only=True)
class Asker:
    """What a panel depends on besides the board: who is asked for, and what may be done."""

    my_id: str
    may_let_go_for_others: bool
    leases: Mapping[int, str]


def environment() -> jinja2.Environment:
    """The templates, with escaping always on."""
    templates = jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    templates.filters |= {
        "clock": words.clock,
        "code": _code,
        "duration": words.duration,
        "iso": _iso,
        "lag": words.lag,
        "megabytes": words.megabytes,
        "ticker_path": ticker_path,
        "unix": words.unix_s,
        "word": words.word,
    }
    return templates


def ticker_path(symbol: str) -> str:
    return f"/ticker/{quote(symbol, safe='/')}"


def _code(text: str) -> Markup:
    """What stands between `backticks` as code; all of it escaped."""
    return Markup(_QUOTED.sub(r"<code>\1</code>", str(escape(text))))


def _iso(seconds: float) -> str:
    if not 0 <= seconds < 253_402_300_800:
        return ""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")


class Panels:
    """`render(name)` with the board's lock held. Forms are signed for each viewer, so a panel with
    a form carries a mark that the viewer's own secret replaces."""

    def __init__(self, board: Board, asker: Asker) -> None:
        self.templates = environment()
        self._board, self._asker = board, asker
        self._made: dict[tuple[str, str], tuple[Hashable, str]] = {}

    def render(self, name: str, now_s: float, symbol: str = "") -> str:
        """A panel's HTML; the same object as before if nothing of it has changed."""
        make = getattr(self, f"_{name.replace('-', '_')}")
        template, basis, context = make(now_s, symbol)
        known = self._made.get((name, symbol))
        if known is not None and known[0] == basis:
            return known[1]
        html = self.templates.get_template(template).render(
            now_s=now_s,
            form_secret=SECRET_MARK,
            my_id=self._asker.my_id,
            may_others=self._asker.may_let_go_for_others,
            symbol=symbol,
            **context,
        )
        if len(self._made) > MAX_KEPT:
            self._made.clear()
        self._made[name, symbol] = (basis, html)
        return html

    # -- each: the template, what it depends on, and its context

    def _head(self, now_s: float, _symbol: str) -> Made:
        head = self._board.head(now_s)
        rate = words.rate(self._board.rate)
        market = head["market"]
        account = (head["account"], head["paper"], head["is_local"])
        basis: Basis = (head["state"], *account, head["redis_ok"], rate)
        return (
            "_head.html",
            (*basis, market.is_open, market.changes_s),
            {"head": head, "rate": rate},
        )

    def _alerts(self, now_s: float, _symbol: str) -> Made:
        alerts = self._board.alerts(now_s)
        return "_alerts.html", tuple(alerts), {"alerts": alerts}

    def _states(self, _now_s: float, _symbol: str) -> Made:
        counts = self._board.states()
        known = [(state, counts[state]) for state in STATE_ORDER if counts.get(state)]
        return "_states.html", tuple(known), {"states": known}

    def _budget(self, _now_s: float, _symbol: str) -> Made:
        budget = self._board.budget()
        return "_budget.html", budget, {"budget": budget}

    def _orders_short(self, _now_s: float, _symbol: str) -> Made:
        news = (line for line in self._board.orders.lines if line.is_news)
        return self._order_lines(islice(news, SHORT), False)

    def _orders(self, _now_s: float, _symbol: str) -> Made:
        return self._order_lines(self._board.orders.lines, True)

    def _orders_of(self, _now_s: float, symbol: str) -> Made:
        return self._order_lines(islice(self._board.orders.of(symbol), 50), True)

    def _order_lines(self, lines: Iterable[Any], wide: bool) -> Made:
        shown = list(lines)
        basis = (self._board.orders.version, len(shown))
        return "_orders.html", basis, {"lines": shown, "wide": wide}

    def _gaps_short(self, _now_s: float, _symbol: str) -> Made:
        return self._gap_lines(6, False)

    def _gaps(self, _now_s: float, _symbol: str) -> Made:
        return self._gap_lines(200, True)

    def _gap_lines(self, most: int, wide: bool) -> Made:
        board = self._board
        basis = (board.gaps.version, board.all_gaps_known)
        shown = list(islice(board.gaps.outages, most))
        known = board.all_gaps_known
        return "_gaps.html", basis, {"outages": shown, "wide": wide, "all_gaps_known": known}

    def _clients(self, _now_s: float, _symbol: str) -> Made:
        clients = self._board.clients
        return "_clients.html", tuple(clients), {"clients": clients}

    def _checks(self, now_s: float, symbol: str) -> Made:
        board = self._board
        found, gap = board.checks(symbol, now_s), board.last_gap(symbol)
        causes = [check for check in found if check.ok is False]
        verdict = {"state": "live", "words": "Yes: all is well."}
        if causes:
            verdict = {"state": causes[0].state or "off", "words": f"No: {causes[0].words}."}
        row = board.rows.get(symbol)
        if causes and row is not None and row.diagnosis and row.diagnosis.state == "LAGGING":
            verdict["words"] = f"Yes, but {causes[0].words}."
        basis = (tuple(found), id(gap), gap.tickers[symbol] if gap else None)
        context = {"checks": found, "gap": gap, "verdict": verdict}
        return "_checks.html", basis, context

    def _holders(self, _now_s: float, symbol: str) -> Made:
        found = self._holders_of(symbol)
        return "_holders.html", tuple(found), {"holders": found}

    def _holders_of(self, symbol: str) -> list[tuple[Client, Lease]]:
        return [
            (client, lease)
            for client in self._board.clients
            for lease in client.leases
            if lease.ticker == symbol
        ]

    def _facts(self, _now_s: float, symbol: str) -> Made:
        row = self._board.rows.get(symbol) or Row(symbol=symbol)
        if not row.cells:
            row.render()
        _, price, tick, change, _, rate, lag, _, _, holders, at_s = row.cells
        shown = {"price": price, "tick": tick, "change": change, "rate": rate, "lag": lag}
        shown |= {"holders": holders, "at_s": at_s}
        return "_facts.html", tuple(shown.values()), {"row": shown}

    def _broker(self, now_s: float, _symbol: str) -> Made:
        board = self._board
        head = board.head(now_s)
        context = {"broker": board.broker, "head": head, "redis": board.redis}
        basis = (board.broker_heard_s, head["state"], board.redis.leader, board.redis.standbys)
        return "_broker.html", basis, context | {"heard_s": board.broker_heard_s}

    def _redis(self, _now_s: float, _symbol: str) -> Made:
        return "_redis.html", self._board.redis, {"redis": self._board.redis}

    def _readers(self, _now_s: float, _symbol: str) -> Made:
        return "_readers.html", self._board.redis.readers, {"redis": self._board.redis}

    def _counters(self, _now_s: float, _symbol: str) -> Made:
        broker = self._board.broker
        counters = sorted(broker.counters.items()) if broker else []
        counters += [("this page: messages", self._board.messages)]
        counters += [("this page: left out", self._board.dropped)]
        counters += [("this page: tickers not shown", self._board.not_shown)]
        return "_counters.html", tuple(counters), {"counters": counters}


Basis = tuple[Hashable, ...]
Made = tuple[str, Hashable, dict[str, Any]]
SECRET_MARK: Final = "form-secret-of-this-viewer"
MAX_KEPT: Final = 400


def signed(html: str, secret: str) -> Markup:
    """The panel for one viewer. `secret` is our own hexadecimal, so it needs no escaping."""
    return Markup(html.replace(f'value="{SECRET_MARK}"', f'value="{secret}"'))
