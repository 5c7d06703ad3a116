"""Alpaca's answers as values: refused, lost, found; quickly, and each request sent once."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from main.alpaca_sim import LocalAlpaca
from main.scale_t.desk import AskClock, AskFacts, Job, ListOpen, NoAnswer, OrderDesk, Told
from main.scale_t.intents import Cancel, Place
from main.scale_t.venue import Endpoints, TooManyOrders, Venue, VenueFailed
from main.utils import order_calls
from main.utils.answers import Found, Lost, Refused
from tests.conftest import wait_for
from tests.integration.scale_t.conftest import AccountOrders

pytestmark = pytest.mark.integration

PLACE = Place(
    client_order_id="scale-t:AAPL:entry:0:1",
    kind="entry",
    ticker="AAPL",
    side="buy",
    qty=Decimal(10),
    limit_price=Decimal("99.95"),
)


class Answers:
    """A server that gives every request the same answer; `status` 0 is none at all."""

    def __init__(self) -> None:
        self.status, self.body, self.requests = 200, b"{}", 0
        self.held_back = False
        self.let_go = threading.Event()
        answers = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                answers.requests += 1
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if answers.status == 0:
                    answers.held_back = True
                    answers.let_go.wait()
                    return
                self.send_response(answers.status)
                self.end_headers()
                self.wfile.write(answers.body)

            do_GET = do_DELETE = do_POST  # noqa: N815  (the base class's name)

            def log_message(self, *_: object) -> None:
                """No line per request."""

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = False


@pytest.fixture
def answers() -> Iterator[Answers]:
    answers = Answers()
    server = answers.server
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield answers
    answers.let_go.set()
    server.shutdown()
    thread.join()
    server.server_close()


def venue_at(url: str, timeout_s: float = 3.0) -> Venue:
    keys = {"key": "local", "secret": "local-secret"}
    return Venue(Endpoints(trading_url=url, data_url=url, **keys), timeout_s=timeout_s)


@pytest.fixture
def venue(answers: Answers) -> Iterator[Venue]:
    url = f"http://127.0.0.1:{answers.server.server_port}"
    venue = venue_at(url, timeout_s=0.3)
    yield venue
    venue.close()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422, 429])
def test_a_clear_no_is_a_refusal_and_is_not_repeated(
    answers: Answers, venue: Venue, status: int
) -> None:
    """alpaca-py would sleep and repeat a 429 by itself."""
    answers.status, answers.body = status, b'{"code": 40310000, "message": "insufficient"}'
    answer = venue.place(PLACE)
    assert isinstance(answer, Refused)
    assert answer.reason == f"HTTP {status} 40310000: insufficient"
    assert answers.requests == 1


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_servers_fault_says_nothing_about_the_order(
    answers: Answers, venue: Venue, status: int
) -> None:
    """It may have been taken before the fault."""
    answers.status = status
    assert isinstance(venue.place(PLACE), Lost)
    assert answers.requests == 1


@pytest.mark.parametrize(("status", "body"), [(200, b"<html>"), (0, b"")])
def test_no_readable_answer_in_time_is_lost(
    answers: Answers, venue: Venue, status: int, body: bytes
) -> None:
    """alpaca-py would wait for ever."""
    answers.status, answers.body = status, body
    assert isinstance(venue.place(PLACE), Lost)
    assert answers.held_back == (status == 0), "given up while the server still thinks"


def test_a_refusal_that_is_no_json_is_still_one(answers: Answers, venue: Venue) -> None:
    """A proxy on the way speaks HTML."""
    answers.status, answers.body = 403, b"<html>no</html>"
    answer = venue.place(PLACE)
    assert isinstance(answer, Refused)
    assert answer.reason == "HTTP 403: <html>no</html>"


@pytest.mark.parametrize(("status", "refused"), [(401, True), (403, True), (429, False)])
def test_only_refused_keys_are_final(
    answers: Answers, venue: Venue, status: int, refused: bool
) -> None:
    """Anything else is worth another try."""
    answers.status = status
    with pytest.raises(VenueFailed) as caught:
        venue.account()
    assert caught.value.keys_refused is refused


def test_nobody_there_is_lost() -> None:
    """Connection refused."""
    nobody = venue_at("http://127.0.0.1:1", timeout_s=0.3)
    assert isinstance(nobody.place(PLACE), Lost)
    nobody.close()


def test_all_orders_are_read_page_by_page(
    alpaca: LocalAlpaca, orders: AccountOrders, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is missed at a page's edge, and none comes twice."""
    for number in range(7):
        orders.buy(f"entry:{number}:1", 90.0)
    monkeypatch.setattr(order_calls, "PAGE", 3)
    venue = venue_at(alpaca.url)
    names = [order["client_order_id"] for order in venue.all_orders("AAPL")]
    assert sorted(names) == [f"scale-t:AAPL:entry:{number}:1" for number in range(7)]
    assert venue.all_orders("MSFT") == []
    with pytest.raises(TooManyOrders):
        venue.all_orders("AAPL", max_pages=2)
    venue.close()


def test_an_order_is_sent_with_its_exact_numbers(
    alpaca: LocalAlpaca, orders: AccountOrders
) -> None:
    """Decimals go through alpaca-py's floats and come out as they were."""
    venue = venue_at(alpaca.url)
    answer = venue.place(PLACE)
    assert isinstance(answer, Found)
    told = {key: answer.order_data[key] for key in ("qty", "limit_price", "side", "time_in_force")}
    assert told == {"qty": "10", "limit_price": "99.95", "side": "buy", "time_in_force": "day"}
    venue.close()


def test_pairs_have_no_closing_hour(alpaca: LocalAlpaca) -> None:
    """A stock's market is asked of Alpaca; a pair's session is the day of UTC, without asking."""
    alpaca.set_session("closed")
    venue = venue_at(alpaca.url)
    assert not venue.clock("AAPL").is_open
    nobody = venue_at("http://127.0.0.1:1")
    assert nobody.clock("BTC/USD").is_open
    nobody.close()
    venue.close()


@pytest.fixture
def told(venue: Venue) -> Iterator[tuple[OrderDesk, list[tuple[Job, Told]]]]:
    """A desk, and what it told."""
    told: list[tuple[Job, Told]] = []
    desk = OrderDesk(venue, "AAPL", lambda job, answer: told.append((job, answer)))
    desk.start()
    yield desk, told
    assert desk.stop(timeout_s=5)


def test_a_question_that_met_a_429_says_so(
    answers: Answers, told: tuple[OrderDesk, list[tuple[Job, Told]]]
) -> None:
    """So that nothing of the account is sent for a while."""
    answers.status = 429
    for question in (AskClock(), AskFacts(since=None), ListOpen(expected=frozenset())):
        told[0].submit(question)
    wait_for(lambda: len(told[1]) == 3)
    for _, answer in told[1]:
        assert isinstance(answer, NoAnswer)
        assert answer.refused is not None
        assert answer.refused.status == 429


def test_a_stop_does_not_wait_for_questions(
    answers: Answers, told: tuple[OrderDesk, list[tuple[Job, Told]]]
) -> None:
    """The check that is under way is given up after its request; the cancel behind it is sent."""
    answers.status = 0  # until it is let go
    desk, heard = told
    cancel = Cancel(client_order_id="x", order_id="b6b1b6a4-5c5e-4c8b-9d54-0a8f5a0f7c11")
    for job in (AskFacts(since=None), AskClock(), cancel):
        desk.submit(job)
    wait_for(lambda: answers.held_back)
    desk.drop_questions()
    answers.status = 200
    answers.let_go.set()
    wait_for(lambda: len(heard) == 3)
    assert answers.requests == 2, "the check's first, and the cancel"
    assert [type(answer) for _, answer in heard[:2]] == [NoAnswer, NoAnswer]
