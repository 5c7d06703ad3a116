"""Random things that clients, the market, the clock and tests do to a venue, for hypothesis."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

from hypothesis import strategies as st

from main.alpaca_sim.order_states import TRANSITIONS, IllegalTransition
from main.alpaca_sim.venue import Reply
from tests.unit.alpaca_sim.venue_driver import HOUR, VenueDriver

Action = tuple[str, dict[str, Any]]

_TIMES = ["day", "day", "day", "day", "gtc", "gtc", "gtc", "gtc", "ioc", "fok", "opg", "cls"]
SYMBOLS = ("AAPL", "MSFT", "BTC/USD")
_prices = st.integers(9_000, 11_000).map(lambda cents: str(Decimal(cents) / 100))
_symbols = st.sampled_from(SYMBOLS)
_qty = st.one_of(
    st.integers(1, 120).map(str),
    st.integers(1, 5_000).map(lambda thousandths: str(Decimal(thousandths) / 1_000)),
)


def _fields() -> st.SearchStrategy[dict[str, Any]]:
    """The body of an order: mostly sensible, sometimes not."""
    return st.fixed_dictionaries(
        {
            "symbol": _symbols,
            "side": st.sampled_from(["buy", "sell"]),
            "type": st.sampled_from(["market", "market", "limit", "limit", "stop", "stop_limit"]),
            "time_in_force": st.sampled_from(_TIMES),
        },
        optional={"extended_hours": st.booleans()},
    ).flatmap(_with_prices)


def _with_prices(fields: dict[str, Any]) -> st.SearchStrategy[dict[str, Any]]:
    needed: dict[str, st.SearchStrategy[Any]] = {}
    if fields["type"] in {"limit", "stop_limit"}:
        needed["limit_price"] = _prices
    if fields["type"] in {"stop", "stop_limit"}:
        needed["stop_price"] = _prices
    amount = st.one_of(
        st.fixed_dictionaries({"qty": _qty}),
        st.fixed_dictionaries({"qty": _qty}),
        st.fixed_dictionaries({"notional": st.integers(1, 20_000).map(str)}),
    )
    return st.tuples(amount, st.fixed_dictionaries(needed)).map(
        lambda parts: {**fields, **parts[0], **parts[1]}
    )


_trailing = st.fixed_dictionaries(
    {
        "symbol": st.sampled_from(["AAPL", "MSFT"]),
        "side": st.sampled_from(["buy", "sell"]),
        "type": st.just("trailing_stop"),
        "time_in_force": st.sampled_from(["day", "gtc"]),
        "qty": st.integers(1, 50).map(str),
        "trail_price": st.integers(1, 300).map(lambda cents: str(Decimal(cents) / 100)),
    }
)


def _legs_of(fields: dict[str, Any]) -> dict[str, Any]:
    low, high = fields.pop("low"), fields.pop("high")
    exits_by_selling = (fields["side"] == "buy") != (fields["order_class"] == "oco")
    profit, stop = (high, low) if exits_by_selling else (low, high)
    if fields["order_class"] == "oco":
        fields |= {"type": "limit"}
        del fields["limit_price"]
    elif fields["type"] == "market":
        del fields["limit_price"]
    if fields["order_class"] != "oto" or int(fields["qty"]) % 2:
        fields["take_profit"] = {"limit_price": profit}
    if "take_profit" not in fields or fields["order_class"] != "oto":
        fields["stop_loss"] = {"stop_price": stop}
    return fields


_groups = st.fixed_dictionaries(
    {
        "symbol": st.sampled_from(["AAPL", "MSFT"]),
        "side": st.sampled_from(["buy", "buy", "sell"]),
        "type": st.sampled_from(["market", "limit"]),
        "time_in_force": st.sampled_from(["day", "gtc"]),
        "qty": st.integers(1, 50).map(str),
        "limit_price": _prices,
        "order_class": st.sampled_from(["bracket", "oco", "oto"]),
        "low": st.integers(8_500, 9_900).map(lambda cents: str(Decimal(cents) / 100)),
        "high": st.integers(10_100, 11_500).map(lambda cents: str(Decimal(cents) / 100)),
    }
).map(_legs_of)
_which = st.integers(0, 40)
_changes = st.fixed_dictionaries(
    {},
    optional={
        "qty": st.integers(1, 120).map(str),
        "limit_price": _prices,
        "stop_price": _prices,
        "trail": st.just("1.5"),
        "time_in_force": st.sampled_from(["day", "gtc"]),
    },
)


def _action(name: str, **parts: st.SearchStrategy[Any]) -> st.SearchStrategy[Action]:
    return st.tuples(st.just(name), st.fixed_dictionaries(parts))


_quote = _action("quote", symbol=_symbols, price=_prices, spread=st.integers(0, 40))
_submit = _action("submit", fields=_fields())
_submit_group = _action("submit", fields=st.one_of(_trailing, _groups))
_replace = _action("replace", which=_which, changes=_changes)
_phase = st.sampled_from(["closed", "pre", "regular", "regular", "regular", "post"])
_percentage = st.sampled_from(["10", "33.3", "100"])
_race = st.sampled_from(["fill", "partial_fill", "refuse", "late_fill"])
_event = st.sampled_from(sorted(TRANSITIONS))
_ratio = st.sampled_from(["2", "4", "0.1", "1.5"])

Weights = list[tuple[int, st.SearchStrategy[Action]]]
_TRADING: Weights = [
    (10, _submit),
    (5, _submit_group),
    (8, _quote),
    (8, _action("step")),
    (3, _action("settle")),
    (5, _replace),
    (2, _action("cancel", which=_which)),
    (1, _action("cancel_all")),
    (1, _action("close", symbol=_symbols, percentage=_percentage)),
    (1, _action("close_all", cancel_orders=st.booleans())),
    (1, _action("phase", phase=_phase)),
]
_HOOKS: Weights = [
    (5, _action("inject", which=_which, event=_event)),
    (3, _action("race", outcome=_race)),
    (1, _action("split", symbol=_symbols, ratio=_ratio)),
    (1, _action("halt", symbol=_symbols, halted=st.booleans())),
]


def _weighted(weights: Weights) -> st.SearchStrategy[list[Action]]:
    kinds = [index for index, (weight, _) in enumerate(weights) for _ in range(weight)]
    one = st.sampled_from(kinds).flatmap(lambda index: weights[index][1])
    return st.lists(one, min_size=25, max_size=60)


trading_actions = _weighted(_TRADING)
all_actions = _weighted(_TRADING + _HOOKS)


class Player:
    """Does actions to a venue; every reply must be one that Alpaca could give."""

    def __init__(self, **settings: Any) -> None:
        self.driver = VenueDriver(partial_fill_rate=0.3, crypto_fee_posted_after_ns=0, **settings)
        self.splits: list[tuple[int, str, Decimal]] = []
        for symbol in SYMBOLS:
            self.driver.quote(symbol, "100", "100.05")

    def play(self, action: Action) -> None:
        name, parts = action
        doer: Callable[..., None] = getattr(self, f"do_{name}")
        doer(**parts)

    def do_quote(self, symbol: str, price: str, spread: int) -> None:
        self.driver.quote(symbol, price, Decimal(price) + Decimal(spread) / 100)

    def do_submit(self, fields: dict[str, Any]) -> None:
        self._check(self.driver.call("POST", "/v2/orders", None, **fields), 200, 403, 422)

    def do_cancel(self, which: int) -> None:
        if order_id := self._pick(which):
            self._check(self.driver.cancel(order_id), 204, 422)

    def do_replace(self, which: int, changes: dict[str, Any]) -> None:
        if order_id := self._pick(which):
            path = f"/v2/orders/{order_id}"
            body = {"qty": None, **changes}
            self._check(self.driver.call("PATCH", path, None, **body), 200, 403, 422)

    def do_step(self) -> None:
        if self.driver.venue.next_due_ns() is not None:
            self.driver.step()

    def do_settle(self) -> None:
        self.driver.settle()

    def do_cancel_all(self) -> None:
        self._check(self.driver.call("DELETE", "/v2/orders"), 207)

    def do_close(self, symbol: str, percentage: str) -> None:
        path = f"/v2/positions/{symbol.replace('/', '')}"
        query = {"percentage": percentage}
        self._check(self.driver.call("DELETE", path, query), 200, 403, 404, 422)

    def do_close_all(self, cancel_orders: bool) -> None:
        query = {"cancel_orders": str(cancel_orders)}
        self._check(self.driver.call("DELETE", "/v2/positions", query), 207)

    def do_phase(self, phase: Any) -> None:
        self.driver.phase(phase, after_ns=HOUR)

    def do_inject(self, which: int, event: str) -> None:
        order_id = self._pick(which)
        if order_id is None:
            return
        venue, now_ns = self.driver.venue, self.driver.now_ns
        before = repr(self.driver.order(order_id))
        try:
            venue.inject_event(order_id, event, now_ns)
        except IllegalTransition:
            assert repr(self.driver.order(order_id)) == before
        self.driver.events += venue.take_events()

    def do_race(self, outcome: Any) -> None:
        self.driver.venue.lose_next_race(outcome)

    def do_split(self, symbol: str, ratio: str) -> None:
        driver = self.driver
        self.splits.append((len(driver.events), symbol, Decimal(ratio)))
        driver.venue.split(symbol, Decimal(ratio), driver.now_ns)
        driver.events += driver.venue.take_events()

    def do_halt(self, symbol: str, halted: bool) -> None:
        self.driver.venue.set_halted(symbol, halted, self.driver.now_ns)
        self.driver.events += self.driver.venue.take_events()

    def _pick(self, which: int) -> str | None:
        """An order's id: of the youngest ones."""
        ids = [order.id for order in self.driver.venue.store.newest_first()]
        return ids[which % len(ids)] if ids else None

    @staticmethod
    def _check(reply: Reply, *allowed: int) -> None:
        assert reply.status in allowed, reply
