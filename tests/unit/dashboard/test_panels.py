"""The page's parts as HTML: whatever Redis holds, it is text."""

from __future__ import annotations

import re

import pytest

from main.dashboard.board import Board
from main.dashboard.panels import (
    PANELS_OF,
    SECRET_MARK,
    STATE_ORDER,
    Asker,
    Panels,
    signed,
    ticker_path,
)
from main.dashboard.redis_facts import Reader, RedisFacts
from main.holders import Holder

from .messages import FRIDAY_S, gap, halt, heartbeat, order, price

EVIL = "<script>alert(1)</script>"
BREAKOUT = '"><img src=x onerror=alert(1)>'
EVERY = sorted({name for names in PANELS_OF.values() for name in names})


@pytest.fixture
def board() -> Board:
    return Board(address="127.0.0.1:6379", symbol_limit=30, now_s=FRIDAY_S)


@pytest.fixture
def panels(board: Board) -> Panels:
    asker = Asker(my_id="page@here", may_let_go_for_others=True, leases={3600: "1 hour"})
    return Panels(board, asker)


def poison(board: Board) -> None:
    """Every text that the page shows, as an attacker who may write to Redis would have it."""
    held = [Holder(ticker=EVIL, client_id=BREAKOUT, until_ms=None, data=[EVIL])]
    board.take_holders(held)
    board.take_broker(
        heartbeat(
            EVIL,
            prices=BREAKOUT,
            reason=EVIL,
            tickers={EVIL: BREAKOUT},
            account_short="<img",
            local=True,
        ),
        FRIDAY_S,
    )
    board.take(price(symbol=EVIL), FRIDAY_S)
    board.take(halt(BREAKOUT, symbol=EVIL), FRIDAY_S)
    board.take(gap(FRIDAY_S - 5, FRIDAY_S, EVIL, backfilled=False, cause=BREAKOUT), FRIDAY_S)
    given = {"side": BREAKOUT, "qty": EVIL, "limit_price": EVIL, "client_order_id": f"{EVIL}:1"}
    board.take(order(EVIL, symbol=EVIL, id=BREAKOUT, type=EVIL, filled_qty=EVIL, **given), FRIDAY_S)
    reader = Reader(name=EVIL, address=BREAKOUT, channels=1, waiting=9_000_000, age_s=1)
    board.take_redis(
        RedisFacts(address=EVIL, readers=(reader,), version=EVIL, policy=EVIL, leader=EVIL)
    )
    board.tick(FRIDAY_S)


@pytest.mark.parametrize("name", EVERY)
def test_no_text_of_redis_becomes_html(board: Board, panels: Panels, name: str) -> None:
    poison(board)
    symbol = next(iter(board.rows))
    html = panels.render(name, FRIDAY_S, symbol)
    assert not re.search(r"<(script|img)\b", html)
    for tag in re.findall(r"<[^>]*>", html):
        assert "alert(" not in re.sub(r'"[^"]*"', "", tag), tag


def test_the_poison_would_have_shown(board: Board, panels: Panels) -> None:
    """The test above can fail: the texts do come out, as text."""
    poison(board)
    shown = "".join(panels.render(name, FRIDAY_S, next(iter(board.rows))) for name in EVERY)
    assert shown.count("&lt;script&gt;") > 8


@pytest.mark.parametrize("name", EVERY)
def test_every_panel_makes_sense_before_anything_was_heard(panels: Panels, name: str) -> None:
    html = panels.render(name, FRIDAY_S, "AAPL")
    assert "None" not in html
    assert "Undefined" not in html


def test_a_panel_is_made_again_only_when_it_has_changed(board: Board, panels: Panels) -> None:
    board.take_broker(heartbeat(), FRIDAY_S)
    first = panels.render("orders", FRIDAY_S)
    assert panels.render("orders", FRIDAY_S + 5) is first
    board.take(order(), FRIDAY_S)
    assert panels.render("orders", FRIDAY_S + 5) is not first


def test_each_viewers_forms_carry_its_own_secret(board: Board, panels: Panels) -> None:
    held = Holder(ticker="AAPL", client_id="bot", until_ms=None, data=["trades"])
    board.take_holders([held])
    html = panels.render("clients", FRIDAY_S)
    assert f'value="{SECRET_MARK}"' in html
    assert 'name="secret" value="abc"' in signed(html, "abc")
    assert SECRET_MARK not in signed(html, "abc")


def test_the_secrets_mark_in_a_text_is_not_replaced(board: Board, panels: Panels) -> None:
    board.take(order(f'value="{SECRET_MARK}"'), FRIDAY_S)
    html = panels.render("orders", FRIDAY_S)
    assert "s3cret" not in signed(html, "s3cret")


def test_who_may_not_let_go_for_others_gets_no_button_for_it(board: Board) -> None:
    asker = Asker(my_id="page@here", may_let_go_for_others=False, leases={})
    held = [
        Holder(ticker="AAPL", client_id=client, until_ms=None, data=["trades"])
        for client in ("bot", "page@here")
    ]
    board.take_holders(held)
    assert Panels(board, asker).render("clients", FRIDAY_S).count("<button") == 1


def test_a_tickers_page_says_the_cause_in_one_sentence(board: Board, panels: Panels) -> None:
    board.take_broker(heartbeat(tickers={}), FRIDAY_S)
    board.tick(FRIDAY_S)
    html = panels.render("checks", FRIDAY_S, "AAPL")
    assert "No: nobody holds it." in html
    assert "Subscribe it here" in html
    board.take(price(), FRIDAY_S)
    board.take_holders([Holder(ticker="AAPL", client_id="b", until_ms=None, data=["trades"])])
    board.take_broker(heartbeat(tickers={"AAPL": "LIVE"}), FRIDAY_S)
    board.tick(FRIDAY_S)
    assert "Yes: all is well." in panels.render("checks", FRIDAY_S, "AAPL")


def test_crypto_beside_the_budget_is_said_not_to_count(board: Board, panels: Panels) -> None:
    held = [
        Holder(ticker=ticker, client_id="b", until_ms=None, data=["trades"])
        for ticker in ("AAPL", "BTC/USD")
    ]
    board.take_holders(held[:1])
    assert "crypto" not in panels.render("budget", FRIDAY_S)
    board.take_holders(held)
    assert "1 of crypto beside them, not counted" in panels.render("budget", FRIDAY_S)


def test_the_account_goes_by_its_number_and_a_local_one_is_named(
    board: Board, panels: Panels
) -> None:
    board.take_broker(heartbeat(account_short="SIM1", local=True), FRIDAY_S)
    for name in ("head", "broker"):
        html = panels.render(name, FRIDAY_S)
        assert "…SIM1" in html
        assert "local Alpaca" in html
    board.take_broker(heartbeat(account_short="9Z8Y", local=False), FRIDAY_S)
    assert "…9Z8Y" in panels.render("head", FRIDAY_S)
    assert "local" not in panels.render("head", FRIDAY_S)


def test_a_gap_of_the_ticker_is_told_on_its_page(board: Board, panels: Panels) -> None:
    board.take(gap(FRIDAY_S - 60, FRIDAY_S - 50, backfilled=False), FRIDAY_S)
    html = panels.render("checks", FRIDAY_S, "AAPL")
    assert "the connection to Alpaca was lost" in html
    assert "not refilled" in html


def test_the_states_are_counted_the_worst_first(board: Board, panels: Panels) -> None:
    board.take_broker(heartbeat(tickers={"A": "LIVE", "B": "MUTE", "C": "LIVE"}), FRIDAY_S)
    held = [
        Holder(ticker=t, client_id="b", until_ms=None, data=["trades"]) for t in ("A", "B", "C")
    ]
    board.take_holders(held)
    board.tick(FRIDAY_S)
    html = panels.render("states", FRIDAY_S)
    assert re.findall(r'data-state="(\w+)"', html) == ["MUTE", "LIVE"]
    assert set(board.states()) <= set(STATE_ORDER)


@pytest.mark.parametrize(
    ("symbol", "path"),
    [
        ("AAPL", "/ticker/AAPL"),
        ("BTC/USD", "/ticker/BTC/USD"),
        ('"><b>', "/ticker/%22%3E%3Cb%3E"),
        ("javascript:x", "/ticker/javascript%3Ax"),
    ],
)
def test_a_tickers_address_holds_nothing_that_leads_elsewhere(symbol: str, path: str) -> None:
    assert ticker_path(symbol) == path
