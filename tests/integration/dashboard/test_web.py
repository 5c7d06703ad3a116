"""The page over HTTP, without a browser: who gets in, what is sent, and how it ends."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path

import pytest
import redis

from main.embedded_valkey import EmbeddedValkey
from main.utils.redis.config import RedisConfig
from main.utils.redis.messages import encode
from tests.conftest import wait_for
from tests.unit.dashboard.messages import gap, heartbeat, order, price

from .conftest import PATIENCE_S, TOKEN, Bus, Program, Site, free_port, page_for

pytestmark = pytest.mark.integration


def shows(site: Site, path: str, words: str) -> str:
    """The page's HTML, once it has the words."""
    return wait_for(
        lambda: text if words in (text := site.ask(path).text) else None,
        PATIENCE_S,
        f"{words!r} on {path}",
    )


# -- what is seen


def test_the_first_answer_says_all_without_a_single_event(site: Site, bus: Bus) -> None:
    bus.hold("bot-1", "AAPL")

    def row_of_aapl() -> str:
        bus.beat(heartbeat(tickers={"AAPL": "LIVE"}))
        bus.say(price(189.21, time.time()))
        row = re.search(r'<tr data-symbol="AAPL">.*?</tr>', site.ask("/").text, re.S)
        return row[0] if row else ""

    shows(site, "/registrations", "bot-1")
    row = wait_for(lambda: row if ">LIVE<" in (row := row_of_aapl()) else None, PATIENCE_S, "LIVE")
    assert re.search(r'class="c-last num \w*">189\.21<', row)
    assert re.search(r'class="c-held num">1<', row)
    for path in ("/orders", "/gaps", "/health", "/ticker/AAPL", "/ticker/BTC/USD"):
        answer = site.ask(path)
        assert answer.status == 200, path
        assert answer.headers["cache-control"] == "no-store"
    nowhere = site.ask("/nothing")
    assert nowhere.status == 404
    assert "There is no such page" in nowhere.text


def test_what_the_journals_held_before_the_page_was_opened_is_shown(
    redis_config: RedisConfig, bus: Bus, tmp_path: Path
) -> None:
    now_s = time.time()
    bus.hold("bot-1", "AAPL")
    prices = [price(100 + n, now_s - 60 + n) for n in range(50)]
    bus.journal("TICKER_LOG_AAPL", *prices, gap(now_s - 5, now_s - 4, backfilled=False))
    bus.journal("ORDER_LOG_AAPL", order("fill", now_s - 30, id="order-77"))
    with page_for(redis_config, tmp_path) as site:
        assert "149.00" in shows(site, "/", "149.00")
        assert "order-77" in shows(site, "/orders", "order-77")
        assert "the connection to Alpaca was lost" in shows(site, "/gaps", "missing")
        chart = json.loads(site.ask("/history/AAPL").text)
    assert chart["p"] == [100 + n for n in range(50)]
    assert [mark[2] for mark in chart["marks"]] == ["fill"]
    assert [refilled for *_, refilled in chart["gaps"]] == [False]


def test_looking_registers_nothing_and_writes_nothing(site: Site, bus: Bus) -> None:
    listening = bus.redis.pubsub(ignore_subscribe_messages=True)
    listening.psubscribe("BROKER_REGISTRATION*")
    with site.stream("ticker", "AAPL") as events:
        for path in ("/", "/ticker/AAPL", "/registrations", "/history/AAPL", "/health"):
            assert site.ask(path).status == 200
        for _ in range(3):
            events.next()
    assert bus.redis.keys() == []
    assert listening.get_message(timeout=0.2) is None
    listening.close()


def test_a_viewer_gets_at_most_four_events_a_second_and_the_last_price(
    site: Site, bus: Bus
) -> None:
    bus.beat(heartbeat(tickers={"AAPL": "LIVE"}))
    with site.stream("tickers") as events:
        begun_s, times = time.monotonic(), []
        sent = 0
        while time.monotonic() - begun_s < 3.0:
            pipeline = bus.redis.pipeline(transaction=False)
            for _ in range(100):
                sent += 1
                message = price(100 + sent / 100, time.time())
                pipeline.publish("TICKER_UPDATES_AAPL", encode(message))
            pipeline.execute()
            events.next()
            times.append(time.monotonic())
        last = f"{100 + sent / 100:,.2f}"
        events.until(
            lambda news: any(cells[1] == last for cells in news.get("rows", ())), f"price {last}"
        )
    steady = [t for t in times if t - begun_s > 0.6]
    assert sent > 500, "or else nothing was conflated"
    assert len(steady) <= 4 * (steady[-1] - steady[0]) + 2


def test_a_redis_that_goes_away_and_comes_back_is_shown_as_such(
    own_valkey: EmbeddedValkey, admin: redis.Redis, tmp_path: Path
) -> None:
    config = RedisConfig(host="127.0.0.1", port=own_valkey.port)
    with page_for(config, tmp_path) as site, site.stream("tickers") as events:
        events.next()
        admin.execute_command("CLIENT", "PAUSE", "4500", "ALL")
        stopped_s = time.monotonic()
        events.until(lambda n: "no answer since" in n.get("panels", {}).get("alerts", ""), "away")
        assert time.monotonic() - stopped_s < 4.0
        events.until(
            lambda n: "no answer" not in n.get("panels", {}).get("alerts", "no answer"), "back"
        )


def test_a_page_may_be_opened_before_there_is_a_redis(tmp_path: Path) -> None:
    config = RedisConfig(host="127.0.0.1", port=free_port())
    with page_for(config, tmp_path) as site:
        away = f"Redis at 127.0.0.1:{config.port}: no answer since"
        shows(site, "/", away)
        with EmbeddedValkey(config.port):
            wait_for(lambda: away not in site.ask("/").text, PATIENCE_S, "Redis found")
            shows(site, "/health", "Valkey")


def test_what_the_redis_user_may_not_ask_is_said_with_the_right_to_grant(
    own_valkey: EmbeddedValkey, admin: redis.Redis, tmp_path: Path
) -> None:
    rights = ["on", ">secret-word", "allkeys", "allchannels", "+@all", "-info", "-client|list"]
    admin.execute_command("ACL", "SETUSER", "looker", *rights)
    config = RedisConfig(host="127.0.0.1", port=own_valkey.port)
    url = f"redis://looker:secret-word@127.0.0.1:{own_valkey.port}"
    with page_for(config, tmp_path, REDIS_URL=url) as site:
        html = shows(site, "/health", "+info")
        assert "+client|list" in html
        assert "secret-word" not in html + site.program.said()


# -- who gets in


def test_a_name_that_was_bent_to_loopback_is_turned_away(site: Site) -> None:
    assert site.ask("/", Host=f"localhost:{site.port}").status == 200
    turned_away = site.ask("/", Host="rebound.example")
    assert turned_away.status == 421
    assert "AAPL" not in turned_away.text


def test_another_sites_page_gets_no_answer_in_the_background(site: Site) -> None:
    for relation in ("cross-site", "same-site"):
        asked = {"Sec-Fetch-Site": relation, "Sec-Fetch-Mode": "no-cors"}
        assert site.ask("/stream?view=tickers", **asked).status == 403
        assert site.ask("/history/AAPL", **asked).status == 403
        followed = site.ask("/", **(asked | {"Sec-Fetch-Mode": "navigate"}))
        assert followed.status == 200, "but a link may lead here"


def test_every_answer_forbids_what_is_not_ours(site: Site) -> None:
    for path in ("/", "/static/live.js", "/history/AAPL", "/nothing"):
        headers = site.ask(path).headers
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
        assert "frame-ancestors 'none'" in policy
    html = site.ask("/").text
    assert not re.search(r'(src|href)="(https?:)?//', html), "nothing comes from elsewhere"
    assert not re.search(r"<script(?![^>]*src=)|<style|\sstyle=|\son\w+=", html)


def test_a_form_of_another_site_changes_nothing(site: Site, bus: Bus) -> None:
    listening = bus.redis.pubsub(ignore_subscribe_messages=True)
    listening.psubscribe("BROKER_REGISTRATION*")
    secret = site.secret()
    good = {"tickers": "AAPL", "lease_s": "3600"}
    assert site.send("/subscribe", **good).status == 403
    assert site.send("/subscribe", secret="f" * 64, **good).status == 403
    elsewhere = {"Origin": "http://evil.example"}
    assert site.send("/subscribe", elsewhere, secret=secret, **good).status == 403
    assert site.send("/unsubscribe", elsewhere, secret=secret, ticker="AAPL").status == 403
    other = Site(site.port, site.program)
    assert other.send("/subscribe", secret=secret, **good).status == 403, "no session of its own"
    assert site.ask("/subscribe").status == 405
    assert site.send("/subscribe", secret=secret, tickers="A" * 9_000).status == 413
    assert listening.get_message(timeout=0.2) is None
    listening.close()


def test_without_a_broker_the_form_says_so_and_what_to_do(site: Site) -> None:
    answer = site.send(
        "/subscribe", {"HX-Request": "true"}, secret=site.secret(), tickers="AAPL", lease_s="3600"
    )
    assert answer.status == 200
    assert "no broker is listening: start one" in answer.text
    assert "<html" not in answer.text


@pytest.mark.parametrize(
    ("tickers", "lease_s", "words"),
    [
        ("BRK-B", "3600", "BRK.B"),
        ("", "3600", "name at least one ticker"),
        ("<script>alert(1)</script>", "3600", "&lt;script&gt;"),
        ("AAPL", "7", "choose how long"),
        ("AAPL", "9" * 40, "choose how long"),
    ],
)
def test_bad_input_is_answered_in_words(site: Site, tickers: str, lease_s: str, words: str) -> None:
    secret = site.secret()
    answer = site.send("/subscribe", secret=secret, tickers=tickers, lease_s=lease_s)
    assert answer.status == 200
    assert words.lower() in answer.text.lower()
    assert "<script>alert" not in answer.text


def test_with_a_token_nothing_is_shown_to_who_does_not_know_it(
    redis_config: RedisConfig, tmp_path: Path
) -> None:
    with page_for(redis_config, tmp_path, "--host", "0.0.0.0", DASHBOARD_TOKEN=TOKEN) as site:
        for path in ("/", "/orders", "/ticker/AAPL"):
            turned = site.ask(path)
            assert (turned.status, turned.headers["location"]) == (303, "/login")
        for path in ("/stream?view=tickers", "/history/AAPL"):
            assert site.ask(path, Accept="*/*").status == 401
        secret = site.secret("/login")
        assert site.send("/login", secret=secret, token="wrong").status == 401
        assert site.send("/subscribe", {"Accept": "*/*"}, secret=secret).status == 401
        entered = site.send("/login", secret=secret, token=TOKEN)
        assert (entered.status, entered.headers["location"]) == (303, "/")
        assert "HttpOnly" in entered.headers["set-cookie"]
        assert "SameSite=lax" in entered.headers["set-cookie"]
        assert 'id="tickers"' in site.ask("/").text
        site.cookie = ""
        assert site.ask("/health", Authorization=f"Bearer {TOKEN}").status == 200
        secret = site.secret("/login")
        for _ in range(4):
            assert site.send("/login", secret=secret, token="wrong").status == 401
        assert "wait a minute" in site.send("/login", secret=secret, token=TOKEN).text
        assert TOKEN not in site.program.said()


# -- the command


def test_elsewhere_than_on_loopback_the_command_wants_a_token(
    redis_config: RedisConfig, tmp_path: Path
) -> None:
    url = f"redis://127.0.0.1:{redis_config.port}"
    program = Program(tmp_path, "dashboard", "--host", "0.0.0.0", REDIS_URL=url)
    assert program.process.wait(PATIENCE_S) == 2
    assert "set DASHBOARD_TOKEN" in program.log.read_text()
    short = Program(tmp_path, "dashboard", REDIS_URL=url, DASHBOARD_TOKEN="secret")
    assert short.process.wait(PATIENCE_S) == 2
    assert "openssl rand -hex 16" in short.log.read_text()


def test_a_taken_port_is_said(site: Site, redis_config: RedisConfig, tmp_path: Path) -> None:
    url = f"redis://127.0.0.1:{redis_config.port}"
    program = Program(tmp_path, "dashboard", "--port", str(site.port), REDIS_URL=url)
    assert program.process.wait(PATIENCE_S) == 2
    assert f"port {site.port} is taken: give --port another one" in program.log.read_text()


def test_it_ends_within_five_seconds_while_somebody_looks(
    redis_config: RedisConfig, tmp_path: Path
) -> None:
    with page_for(redis_config, tmp_path) as page, page.stream("tickers") as events:
        events.next()
        asked_s = time.monotonic()
        assert page.program.end() == 0
        assert time.monotonic() - asked_s < 5.0
        assert "Cancel" not in page.program.log.read_text(), "the viewer was let go, not cut off"
