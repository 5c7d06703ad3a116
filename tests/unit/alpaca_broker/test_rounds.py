"""Rounds of registrations: gathered, decided in order, carried out once, kept, and answered."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import fakeredis
import pytest
import redis

from main.alpaca_broker.errors import BrokerNotReady
from main.alpaca_broker.lease_store import LeaseStore
from main.alpaca_broker.pending_change import PendingChange
from main.alpaca_broker.registration_requests import Request
from main.alpaca_broker.registry import Holding, Registry
from main.alpaca_broker.rest import RestRefused, RestUnavailable
from main.alpaca_broker.rounds import RegistrationThread
from main.alpaca_broker.upstreams import Rejection
from main.utils.redis.constants import BusNames
from main.utils.redis.messages import RegistrationReply
from tests.conftest import wait_for

Symbols = Mapping[str, frozenset[str]]
TRADES = frozenset({"trades"})


class FakeConductor:
    """Follows what Alpaca does not reject; stays in a round while `gate` is shut."""

    def __init__(self) -> None:
        self.rejects: dict[str, Rejection] = {}
        self.calls: list[tuple[str, dict[str, frozenset[str]]]] = []
        self.gate = threading.Event()
        self.gate.set()
        self.wanted: set[str] = set()
        self.lapsed_tickers: list[str] = []
        self.waited: list[bool] = []
        self.timeouts_s: list[float | None] = []
        self._following: dict[str, frozenset[str]] = {}

    def subscribe_symbols(
        self, symbols: Symbols, timeout_s: float | None = None
    ) -> Mapping[str, Rejection]:
        self.calls.append(("subscribe", dict(symbols)))
        self.timeouts_s.append(timeout_s)
        assert self.gate.wait(10)
        for symbol, data in symbols.items():
            if symbol not in self.rejects:
                self._following[symbol] = self._following.get(symbol, frozenset()) | data
        return {s: why for s, why in self.rejects.items() if s in symbols}

    def forget_losses(self, wanted: Collection[str]) -> None:
        self.wanted = set(wanted)

    def lapsed(self, tickers: Collection[str]) -> None:
        self.lapsed_tickers += sorted(tickers)

    def unsubscribe_symbols(self, symbols: Symbols, *, wait: bool = True) -> None:
        self.calls.append(("unsubscribe", dict(symbols)))
        self.waited.append(wait)
        for symbol, data in symbols.items():
            left = self._following[symbol] - data
            if left:
                self._following[symbol] = left
            else:
                del self._following[symbol]

    def drop_symbols(self, symbols: Collection[str]) -> None:
        self.calls.append(("drop", dict.fromkeys(symbols, frozenset())))
        for symbol in symbols:
            self._following.pop(symbol, None)

    def following(self) -> Symbols:
        return dict(self._following)


class FakeAssets:
    def __init__(self) -> None:
        self.reasons = {
            "NOSUCH": "unknown_ticker",
            "OPTION": "unsupported_asset_class",
            "BTCUSD": "unsupported_asset_class",
        }
        self.error: Exception | None = None
        self.asked: list[list[str]] = []

    def judge(self, tickers: Iterable[str], within_s: float = 2.5) -> dict[str, str]:
        asked = list(tickers)
        self.asked.append(asked)
        if self.error is not None:
            raise self.error
        return {t: self.reasons[t] for t in asked if t in self.reasons}

    def meant(self, ticker: str) -> str | None:
        return {"BTCUSD": "BTC/USD"}.get(ticker)


class Desk:
    """A registration thread with fakes around it, and a lock to put several requests at once."""

    def __init__(self, symbol_limit: int = 30) -> None:
        self.conductor, self.assets = FakeConductor(), FakeAssets()
        self.redis_hears = True
        self.redis = fakeredis.FakeRedis()
        self.store = LeaseStore(self.redis, BusNames())
        self.registry = Registry(symbol_limit)
        self.replies: list[RegistrationReply] = []
        self.failures: list[tuple[str, BaseException]] = []
        self.thread = self.make_thread()

    def make_thread(self) -> RegistrationThread:
        return RegistrationThread(
            self.conductor,
            self.registry,
            self.assets,  # type: ignore[arg-type]
            self.store,
            self.replies.append,
            lambda name, error: self.failures.append((name, error)),
            redis_hears=lambda: self.redis_hears,
        )

    @contextmanager
    def running(self) -> Iterator[Desk]:
        self.thread.start()
        try:
            yield self
        finally:
            self.conductor.gate.set()
            self.thread.begin_stop()
            assert self.thread.join(5)
            self.redis.close()

    def ask(self, *requests: Request) -> list[RegistrationReply]:
        """One round of these requests, and their replies."""
        with self.gathered():
            for request in requests:
                assert self.thread.put(request)
        return self.answers(len(requests))

    @contextmanager
    def gathered(self) -> Iterator[None]:
        """What is put meanwhile comes into one round."""
        with self.thread._wake:
            yield

    def answers(self, count: int) -> list[RegistrationReply]:
        wait_for(lambda: len(self.replies) >= count, what="the replies")
        taken, self.replies[:] = list(self.replies), []
        return taken

    def stored(self) -> set[tuple[str, str]]:
        return {holding.key for holding in self.store.load()}


@pytest.fixture
def desk() -> Iterator[Desk]:
    with Desk().running() as running:
        yield running


def subscribe(ticker: str, client_id: str = "a", **fields: Any) -> Request:
    return Request(action="subscribe", ticker=ticker, client_id=client_id, **fields)


def unsubscribe(ticker: str, client_id: str = "a", **fields: Any) -> Request:
    return Request(action="unsubscribe", ticker=ticker, client_id=client_id, **fields)


def outcomes(replies: Iterable[RegistrationReply]) -> list[str | None]:
    return [reply.reason if reply.status == "rejected" else "accepted" for reply in replies]


def test_a_round_follows_keeps_and_answers(desk: Desk) -> None:
    (reply,) = desk.ask(subscribe("AAPL", request_id="r1"))
    assert (reply.status, reply.holders, reply.request_id) == ("accepted", 1, "r1")
    assert desk.conductor.following() == {"AAPL": TRADES}
    assert desk.stored() == {("AAPL", "a")}


def test_requests_that_wait_make_one_round_and_one_change(desk: Desk) -> None:
    desk.ask(subscribe("AAPL"), subscribe("MSFT"), subscribe("AAPL", "b"))
    assert desk.conductor.calls == [("subscribe", {"AAPL": TRADES, "MSFT": TRADES})]
    assert desk.thread.rounds == 1


def test_requests_that_come_during_a_round_make_the_next(desk: Desk) -> None:
    desk.conductor.gate.clear()
    desk.thread.put(subscribe("AAPL"))
    wait_for(lambda: desk.conductor.calls)
    for ticker in ("MSFT", "NVDA"):
        desk.thread.put(subscribe(ticker))
    desk.conductor.gate.set()
    desk.answers(3)
    assert [set(symbols) for _, symbols in desk.conductor.calls] == [{"AAPL"}, {"MSFT", "NVDA"}]


def test_unsubscribe_of_one_holder_keeps_the_ticker_for_the_others(desk: Desk) -> None:
    desk.ask(subscribe("AAPL"), subscribe("AAPL", "b"))
    (reply,) = desk.ask(unsubscribe("AAPL"))
    assert (reply.status, reply.holders) == ("accepted", 1)
    assert desk.conductor.following() == {"AAPL": TRADES}
    desk.ask(unsubscribe("AAPL", "b"))
    assert desk.conductor.following() == {}
    assert desk.stored() == set()


def test_a_round_that_leaves_and_follows_waits_for_one_answer_only(desk: Desk) -> None:
    """A reply comes after five seconds at the most, however much has to be asked."""
    desk.ask(subscribe("AAPL"))
    desk.ask(unsubscribe("AAPL"), subscribe("MSFT"))
    desk.ask(unsubscribe("MSFT"))
    assert [kind for kind, _ in desk.conductor.calls[1:]] == [
        "unsubscribe",
        "subscribe",
        "unsubscribe",
    ]
    assert desk.conductor.waited == [False, True]
    assert all(0 < (timeout_s or 0) <= 5 for timeout_s in desk.conductor.timeouts_s)


def test_after_a_round_nothing_is_kept_of_tickers_that_nobody_wants(desk: Desk) -> None:
    desk.ask(subscribe("AAPL"), subscribe("MSFT"))
    assert desk.conductor.wanted == {"AAPL", "MSFT"}
    desk.ask(unsubscribe("AAPL"))
    assert desk.conductor.wanted == {"MSFT"}


def test_what_nobody_holds_cannot_be_left_and_nothing_changes(desk: Desk) -> None:
    desk.ask(subscribe("AAPL", "b"))
    calls = list(desk.conductor.calls)
    assert outcomes(desk.ask(unsubscribe("AAPL"), unsubscribe("MSFT", ""))) == [
        "not_registered",
        "not_registered",
    ]
    assert desk.conductor.calls == calls
    assert desk.stored() == {("AAPL", "b")}


def test_a_renewal_changes_no_producer_and_asks_alpaca_nothing(desk: Desk) -> None:
    desk.ask(subscribe("AAPL", lease_s=60))
    calls, asked = list(desk.conductor.calls), list(desk.assets.asked)
    (before,) = desk.store.load()
    (reply,) = desk.ask(subscribe("AAPL", lease_s=600))
    assert reply.status == "accepted"
    assert (desk.conductor.calls, desk.assets.asked) == (calls, asked)
    (after,) = desk.store.load()
    assert after.until_ms is not None
    assert before.until_ms is not None
    assert after.until_ms > before.until_ms + 500_000


def test_tickers_that_alpaca_does_not_know_are_told_apart(desk: Desk) -> None:
    replies = desk.ask(subscribe("NOSUCH"), subscribe("OPTION"), subscribe("AAPL"))
    assert outcomes(replies) == ["unknown_ticker", "unsupported_asset_class", "accepted"]
    assert desk.conductor.calls == [("subscribe", {"AAPL": TRADES})]
    assert desk.stored() == {("AAPL", "a")}


def test_a_pair_without_its_slash_is_answered_with_what_was_meant(desk: Desk) -> None:
    pair, other = desk.ask(subscribe("BTCUSD"), subscribe("OPTION"))
    assert pair.detail == "BTCUSD is neither a stock nor a crypto pair: did you mean BTC/USD?"
    assert other.detail == "OPTION is neither a stock nor a crypto pair"


@pytest.mark.parametrize("error", [RestUnavailable("away"), RestRefused("no")])
def test_without_the_asset_list_only_new_tickers_are_rejected(desk: Desk, error) -> None:
    desk.ask(subscribe("AAPL"))
    desk.assets.error = error
    replies = desk.ask(subscribe("AAPL", "b"), subscribe("MSFT"))
    assert outcomes(replies) == ["accepted", "upstream_unavailable"]


def test_the_symbol_limit_is_first_come_first_served() -> None:
    with Desk(symbol_limit=2).running() as desk:
        replies = desk.ask(subscribe("A"), subscribe("B"), subscribe("C"), subscribe("A", "b"))
        assert outcomes(replies) == ["accepted", "accepted", "symbol_limit", "accepted"]
        assert outcomes(desk.ask(unsubscribe("B"), subscribe("C"))) == ["accepted", "accepted"]
        assert [kind for kind, _ in desk.conductor.calls[1:]] == ["unsubscribe", "subscribe"]
        assert set(desk.conductor.following()) == {"A", "C"}


# -- what upstream would not follow is taken back


FULL = Rejection(reason="symbol_limit", detail="Alpaca: 405")


def test_a_hold_that_upstream_rejects_is_taken_back(desk: Desk) -> None:
    desk.conductor.rejects = {"MSFT": FULL}
    replies = desk.ask(subscribe("AAPL"), subscribe("MSFT"), subscribe("MSFT", "b"))
    assert outcomes(replies) == ["accepted", "symbol_limit", "symbol_limit"]
    assert [reply.holders for reply in replies] == [1, 0, 0]
    assert desk.stored() == {("AAPL", "a")}
    desk.conductor.rejects = {}
    assert outcomes(desk.ask(unsubscribe("MSFT"))) == ["not_registered"]


def test_more_data_that_upstream_rejects_leaves_what_was_held(desk: Desk) -> None:
    desk.ask(subscribe("AAPL"))
    desk.conductor.rejects = {"AAPL": FULL}
    (reply,) = desk.ask(subscribe("AAPL", data=frozenset({"trades", "quotes"})))
    assert (reply.reason, reply.holders) == ("symbol_limit", 1)
    (kept,) = desk.store.load()
    assert kept.data == TRADES
    assert desk.conductor.following() == {"AAPL": TRADES}


def test_a_renewal_survives_while_its_ticker_is_away_upstream(desk: Desk) -> None:
    """Else an outage of Alpaca would end every lease that is renewed during it."""
    desk.ask(subscribe("AAPL"))
    desk.conductor.rejects = {"AAPL": FULL}
    desk.thread.lost("AAPL")
    wait_for(lambda: len(desk.conductor.calls) == 2)
    assert outcomes(desk.ask(subscribe("AAPL"))) == ["accepted"]
    assert desk.stored() == {("AAPL", "a")}


def test_a_ticker_that_alpaca_let_go_is_asked_for_again(desk: Desk) -> None:
    """The producers keep it: what came of it before its loss is published, and its gap."""
    both = frozenset({"trades", "quotes"})
    desk.ask(subscribe("AAPL", data=both))
    desk.thread.lost("AAPL")
    wait_for(lambda: len(desk.conductor.calls) == 2)
    desk.ask(subscribe("MSFT"))
    assert desk.conductor.calls == [
        ("subscribe", {"AAPL": both}),
        ("subscribe", {"AAPL": both}),
        ("subscribe", {"MSFT": TRADES}),
    ]


def test_what_was_restored_and_merely_lacks_in_the_answer_is_kept_and_asked_for_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("main.alpaca_broker.rounds._ASK_AGAIN_S", (0.01, 0.02))
    desk = Desk()
    for ticker in ("AAPL", "MSFT"):
        desk.registry.hold(Holding(ticker=ticker, client_id="a", until_ms=None))
    desk.store.write(desk.registry.holdings(), [])
    desk.conductor._following = {"AAPL": TRADES, "MSFT": TRADES}
    restored = PendingChange("subscribe", dict(desk.registry.wanted()))
    restored.settle(rejected={"AAPL": (0, "missing"), "MSFT": (405, "symbol limit exceeded")})
    desk.thread.await_restored([restored])
    with desk.running():
        wait_for(lambda: ("subscribe", {"AAPL": TRADES}) in desk.conductor.calls, timeout_s=10)
        assert desk.stored() == {("AAPL", "a")}


def test_a_lost_ticker_is_asked_for_until_alpaca_follows_it_or_nobody_wants_it(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("main.alpaca_broker.rounds._ASK_AGAIN_S", (0.01, 0.02))
    desk.ask(subscribe("AAPL"))
    desk.conductor.rejects = {"AAPL": FULL}
    desk.thread.lost("AAPL")
    wait_for(lambda: len(desk.conductor.calls) >= 3, timeout_s=10)
    desk.ask(unsubscribe("AAPL"))
    ended = len(desk.conductor.calls)
    desk.conductor.rejects = {}
    assert outcomes(desk.ask(subscribe("AAPL"))) == ["accepted"]
    asked = desk.conductor.calls[ended:]
    assert asked == [("subscribe", {"AAPL": TRADES})]


# -- leases


def test_a_lease_that_is_over_ends_by_itself() -> None:
    desk = Desk()
    desk.registry.hold(Holding(ticker="AAPL", client_id="a", until_ms=1))
    desk.registry.hold(Holding(ticker="MSFT", client_id="a", until_ms=None))
    desk.store.write(desk.registry.holdings(), [])
    desk.conductor._following = {"AAPL": TRADES, "MSFT": TRADES}
    with desk.running():
        wait_for(lambda: desk.conductor.following() == {"MSFT": TRADES}, timeout_s=3)
        wait_for(lambda: desk.stored() == {("MSFT", "a")})
        desk.ask(unsubscribe("MSFT"))
    assert desk.conductor.lapsed_tickers == ["AAPL"], "and MSFT was left on purpose"


def test_a_lease_does_not_run_out_while_nobody_can_renew_it() -> None:
    desk = Desk()
    now_ms = time.time_ns() // 1_000_000
    desk.registry.hold(Holding(ticker="AAPL", client_id="a", until_ms=now_ms + 500))
    desk.conductor._following = {"AAPL": TRADES}
    desk.redis_hears = False
    with desk.running():
        wait_for(lambda: time.time_ns() // 1_000_000 > now_ms + 2_500)
        assert desk.registry.follows("AAPL")
        desk.redis_hears = True
        wait_for(lambda: not desk.registry.follows("AAPL"), timeout_s=5)


def test_one_who_renews_in_the_round_of_its_end_keeps_the_ticker() -> None:
    desk = Desk()
    desk.registry.hold(Holding(ticker="AAPL", client_id="a", until_ms=1))
    desk.conductor._following = {"AAPL": TRADES}
    desk.thread.put(subscribe("AAPL"))
    with desk.running():
        assert outcomes(desk.answers(1)) == ["accepted"]
        assert desk.conductor.following() == {"AAPL": TRADES}
        assert desk.stored() == {("AAPL", "a")}
        assert desk.conductor.calls == [], "upstream and producers need not change"


# -- faults


def test_beyond_its_bound_a_request_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("main.alpaca_broker.rounds.MAX_WAITING", 3)
    desk = Desk()
    assert [desk.thread.put(subscribe("AAPL")) for _ in range(4)] == [True, True, True, False]


def test_when_redis_takes_no_lease_the_round_is_answered_and_kept_later(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    write: Callable[..., None] = desk.store.write

    def refuse(*_: object) -> None:
        raise redis.ConnectionError("away")

    monkeypatch.setattr(desk.store, "write", refuse)
    assert outcomes(desk.ask(subscribe("AAPL"))) == ["accepted"]
    monkeypatch.setattr(desk.store, "write", write)
    wait_for(lambda: desk.stored() == {("AAPL", "a")}, timeout_s=5)


def test_an_unforeseen_error_is_told_with_the_threads_name(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    fault = RuntimeError("poisoned")

    def fail(_symbols: Symbols, *_: object) -> Mapping[str, Rejection]:
        raise fault

    monkeypatch.setattr(desk.conductor, "subscribe_symbols", fail)
    desk.thread.put(subscribe("AAPL"))
    wait_for(lambda: desk.failures)
    assert desk.failures == [("registration", fault)]


def test_a_broker_that_ends_in_the_middle_of_a_round_is_no_fault(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It says so before it stops this thread."""

    def refuse(_symbols: Symbols, *_: object) -> Mapping[str, Rejection]:
        raise BrokerNotReady("the broker is ending")

    monkeypatch.setattr(desk.conductor, "subscribe_symbols", refuse)
    desk.thread.put(subscribe("AAPL"))
    assert desk.thread.join(5), "it has nothing left to do"
    assert desk.failures == []
    assert desk.replies == []
