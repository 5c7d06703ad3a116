"""Who follows which ticker until when, checked against a plain model of it."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from main.alpaca_broker.registry import ANONYMOUS, Holding, Registry, is_crypto

TICKERS = st.sampled_from(["AAPL", "MSFT", "NVDA", "TSLA", "BTC/USD", "ETH/USD"])
CLIENTS = st.sampled_from([ANONYMOUS, "a", "b", "c"])
KINDS = st.sets(st.sampled_from(["trades", "quotes", "bars"]), min_size=1).map(frozenset)
TRADES = frozenset({"trades"})


def hold(ticker: str, client_id: str = "a", until_ms: int | None = None, data=TRADES) -> Holding:
    return Holding(ticker=ticker, client_id=client_id, until_ms=until_ms, data=data)


class Holders(RuleBasedStateMachine):
    """Any interleaving of holds, releases and expiries."""

    def __init__(self) -> None:
        super().__init__()
        self.registry = Registry(symbol_limit=2)
        self.model: dict[tuple[str, str], Holding] = {}
        self.now_ms = 1_000

    @rule(ticker=TICKERS, client_id=CLIENTS, lease_ms=st.none() | st.integers(1, 500), data=KINDS)
    def holds(self, ticker: str, client_id: str, lease_ms: int | None, data) -> None:
        if not self.registry.has_room_for(ticker):
            return
        until_ms = None if lease_ms is None else self.now_ms + lease_ms
        holding = hold(ticker, client_id, until_ms, data)
        self.registry.hold(holding)
        self.model[holding.key] = holding

    @rule(ticker=TICKERS, client_id=CLIENTS)
    def releases(self, ticker: str, client_id: str) -> None:
        assert self.registry.release(ticker, client_id) == self.model.pop((ticker, client_id), None)

    @rule(later_ms=st.integers(0, 300))
    def time_passes(self, later_ms: int) -> None:
        self.now_ms += later_ms
        over = {
            key
            for key, holding in self.model.items()
            if holding.until_ms is not None and holding.until_ms <= self.now_ms
        }
        assert {holding.key for holding in self.registry.expire(self.now_ms)} == over
        for key in over:
            del self.model[key]

    @precondition(lambda self: self.model)
    @rule()
    def restarts(self) -> None:
        """What is stored is taken up again; what expired meanwhile is not."""
        stored = self.registry.holdings()
        self.registry = Registry(symbol_limit=2)
        self.registry.restore(stored, self.now_ms)
        self.model = {
            key: holding
            for key, holding in self.model.items()
            if holding.until_ms is None or holding.until_ms > self.now_ms
        }

    @invariant()
    def what_is_wanted_is_what_somebody_holds(self) -> None:
        expected: dict[str, frozenset[str]] = {}
        for (ticker, _), holding in self.model.items():
            expected[ticker] = expected.get(ticker, frozenset()) | holding.data
        assert dict(self.registry.wanted()) == expected
        for ticker in expected:
            assert self.registry.follows(ticker)
            assert self.registry.holders(ticker) == sum(key[0] == ticker for key in self.model)

    @invariant()
    def the_budget_counts_tickers_of_each_stream(self) -> None:
        held = {ticker for ticker, _ in self.model}
        for crypto in (True, False):
            followed = {ticker for ticker in held if is_crypto(ticker) == crypto}
            assert len(followed) <= 2
            newcomer = "DOGE/USD" if crypto else "AMZN"
            assert self.registry.has_room_for(newcomer) == (len(followed) < 2)
        assert all(self.registry.has_room_for(ticker) for ticker in held)


TestHolders = Holders.TestCase
TestHolders.settings = settings(deadline=None, max_examples=30, stateful_step_count=30)


def test_unsubscribe_of_one_holder_keeps_the_ticker_for_the_others() -> None:
    registry = Registry(30)
    registry.hold(hold("AAPL", "a"))
    registry.hold(hold("AAPL", "b"))
    registry.release("AAPL", "a")
    assert registry.wanted() == {"AAPL": TRADES}
    registry.release("AAPL", "b")
    assert registry.wanted() == {}


def test_one_who_leaves_takes_along_only_the_kinds_that_nobody_else_wants() -> None:
    registry = Registry(30)
    registry.hold(hold("AAPL", "a", data=frozenset({"trades", "quotes"})))
    registry.hold(hold("AAPL", "b", data=frozenset({"trades", "bars"})))
    registry.release("AAPL", "a")
    assert registry.wanted() == {"AAPL": {"trades", "bars"}}


def test_all_anonymous_subscribers_are_one_holder_that_never_expires() -> None:
    registry = Registry(30)
    registry.hold(hold("AAPL", ANONYMOUS))
    registry.hold(hold("AAPL", ANONYMOUS))
    assert registry.holders("AAPL") == 1
    assert registry.expire(10**15) == []


def test_a_renewal_moves_the_end_of_the_lease() -> None:
    registry = Registry(30)
    registry.hold(hold("AAPL", "a", until_ms=100))
    registry.hold(hold("AAPL", "a", until_ms=200))
    assert registry.expire(199) == []
    assert [holding.ticker for holding in registry.expire(200)] == ["AAPL"]


def test_when_the_clock_is_set_every_lease_keeps_what_it_had_left() -> None:
    registry = Registry(30)
    registry.hold(hold("AAPL", "a", until_ms=1_000))
    registry.hold(hold("MSFT", ANONYMOUS))
    registry.shift(3_600_000)
    assert registry.expire(3_600_999) == []
    assert [holding.ticker for holding in registry.expire(3_601_000)] == ["AAPL"]


def test_what_is_wanted_keeps_the_order_of_arrival() -> None:
    registry = Registry(0)
    for ticker in ("MSFT", "AAPL", "NVDA"):
        registry.hold(hold(ticker))
    registry.hold(hold("MSFT", "b"))
    assert list(registry.wanted()) == ["MSFT", "AAPL", "NVDA"]


def test_a_limit_of_0_is_none() -> None:
    registry = Registry(0)
    for number in range(500):
        registry.hold(hold(f"S{number}"))
    assert registry.has_room_for("AAPL")
