"""Orders over alpaca-py's `TradingClient`: submit, cancel, replace, close, and know what became.

Each call returns when its fate is known (or known to be unknown), and never raises for what Alpaca
answers: a refusal is an `OrderOutcome`. Everything that happens to an order later is told as trade
events, if there is a bus, and can be asked here at any time.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections import Counter
from decimal import Decimal
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, Self

from ..utils.answers import Accepted, Answer, Found
from ..utils.decimals import decimal_or_none
from ..utils.order_calls import OrderCalls
from ..utils.order_terms import InvalidTerms, OrderTerms, ReplaceTerms
from ..utils.orders import Order, belongs_to
from ..utils.redis.messages import OrderMessage
from ..utils.submission import Stage, Submission, SubmissionPolicy
from ..utils.submitter import Submitter
from .budget import Budget
from .config import ExecutorConfig
from .event_outlet import EventBus, EventOutlet
from .log import ExecutorLog
from .order_watch import OrderWatch
from .outcome import OrderOutcome
from .own_orders import own_orders

if TYPE_CHECKING:
    from alpaca.trading.client import TradingClient

CLOSE_TIMEOUT_S: Final = 5.0


class OrderExecutor:
    """One `client_id`'s orders on one account. Any thread may call anything.

    `with executor:` starts and ends its threads; a first call starts them too.
    """

    def __init__(
        self,
        config: ExecutorConfig,
        client: TradingClient,
        event_bus: EventBus | None = None,
        logger: Any = None,
    ) -> None:
        """Connects nothing, starts nothing."""
        self.config = config
        self._log = ExecutorLog(logger)
        budget = Budget(config.requests_per_minute)
        policy = SubmissionPolicy(
            look_up_first_s=min(0.5, config.absent_after_s / 4),
            look_up_cap_s=min(8.0, config.absent_after_s / 2),
            absent_after_s=config.absent_after_s,
            give_up_after_s=config.give_up_after_s,
            patience_s=config.patience_s,
        )
        # Two copies of the client: one thread's look must not stand before another's order.
        watch_calls = OrderCalls(client, config.timeout_s, lambda: budget.spend(time.monotonic()))
        self._submitter = Submitter(OrderCalls(client, config.timeout_s), policy, budget)
        self._outlet = (
            None
            if event_bus is None
            else EventOutlet(event_bus, config.client_id, self._log, config.event_buffer)
        )
        tell = None if self._outlet is None else self._outlet.tell
        self._watch = OrderWatch(
            watch_calls, budget, self._submitter, config.poll_s, self._log, tell
        )
        self._lock = threading.Lock()
        self._state = "new"  # new, running, closed

    # -- life

    def start(self) -> Self:
        """Start the threads; again changes nothing.

        Raises:
            RuntimeError: it was closed.
        """
        with self._lock:
            if self._state == "closed":
                raise RuntimeError("the executor is closed: build another one")
            if self._state == "new":
                if self._outlet is not None:
                    self._outlet.start()
                self._watch.start()
                self._state = "running"
        return self

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> list[str]:
        """End the threads, telling what happened so far. Working orders stay at Alpaca.

        Returns the names of what did not end, or did not get everything out, in time.
        """
        with self._lock:
            self._state = "closed"
        self._submitter.close()
        deadline = time.monotonic() + timeout_s
        stuck = [] if self._watch.close(timeout_s) else [self._watch.name]
        left_s = max(0.2, deadline - time.monotonic())
        if self._outlet is not None and not self._outlet.close(left_s):
            stuck.append(self._outlet.name)
        return stuck

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    # -- orders

    def submit(self, terms: OrderTerms, name: str | None = None) -> OrderOutcome:
        """Send a new order.

        With a `name` it is sent at most once, whatever happens: the same name again finds the order
        that it made, also after a restart. Without one, each call is a new order.

        Raises:
            InvalidTerms: the name; nothing was sent.
        """
        self.start()
        self._prepare(terms.symbol)
        client_order_id = self.order_id(terms.symbol, name)
        with self._watch.sending():
            submission = self._submitter.submit(terms, client_order_id)
            return self._outcome(terms.symbol, submission)

    def replace(self, order_id: str, terms: ReplaceTerms, name: str | None = None) -> OrderOutcome:
        """Ask for other terms of a working order of ours. The outcome is the new order's: Alpaca's
        yes is no promise, for the old one may fill first; then the new one is rejected.

        Raises:
            InvalidTerms: the name; nothing was sent.
        """
        self.start()
        symbol = self._symbol_of(order_id)
        self._prepare(symbol)
        with self._watch.sending():
            submission = self._submitter.replace(order_id, terms, self.order_id(symbol, name))
            return self._outcome(symbol, submission)

    def cancel(self, order_id: str) -> Answer:
        """Ask the venue to cancel. `Accepted` is no promise either: a fill may be quicker."""
        self.start()
        answer = self._submitter.cancel(order_id)
        self._watch.hurry()
        if not isinstance(answer, Accepted):
            reason = getattr(answer, "reason", "")
            self._log.warning("executor.cancel_refused", order=order_id, reason=reason)
        return answer

    def cancel_all(self, symbol: str | None = None) -> dict[str, Answer]:
        """Cancel every working order of ours, of one symbol or of all; by order id.

        Orders of an earlier run are among them, legs and what was replaced by hand: Alpaca's own
        list is asked.

        Raises:
            CallFailed: Alpaca does not say what works.
            TooManyOrders: it cannot say all.
        """
        self.start()
        ask, client_id = self._submitter.ask, self.config.client_id
        listed = ask(lambda calls: calls.open_orders(symbol))
        own = own_orders(client_id, listed, self._watch.is_ours(client_id), ask)
        for order in own:
            if belongs_to(client_id, order.get("client_order_id")):
                self._prepare(str(order["symbol"]))
                self._watch.see(order)
        return {str(order["id"]): self.cancel(str(order["id"])) for order in own}

    def close_position(
        self, symbol: str, qty: Decimal | None = None, name: str | None = None
    ) -> OrderOutcome | None:
        """Sell (or buy back) what the account holds of the symbol, or `qty` of it, at the market.

        None when nothing is held. It never goes through zero: the order is marked as closing, and
        no larger than the position.

        Raises:
            CallFailed: Alpaca does not say what is held.
            InvalidTerms: more than is held.
        """
        self.start()
        held = self.position(symbol)
        if not held:
            return None
        wanted = abs(held) if qty is None else qty
        if wanted > abs(held):
            raise InvalidTerms(f"{symbol} cannot be closed", [f"qty {wanted} of {abs(held)} held"])
        is_crypto = "/" in symbol
        terms = OrderTerms(
            symbol=symbol,
            side="sell" if held > 0 else "buy",
            qty=wanted,
            time_in_force="gtc" if is_crypto else "day",
            position_intent=None if is_crypto else "sell_to_close" if held > 0 else "buy_to_close",
        )
        return self.submit(terms, name)

    # -- what is known

    def order(self, order_id: str) -> Order | None:
        """The truth about an order of ours, as far as it was heard; None if it never was."""
        return self._watch.order(order_id)

    def orders(self) -> list[Order]:
        """All orders of ours that were heard of."""
        return self._watch.orders()

    def wait(self, order_id: str, timeout_s: float) -> Order | None:
        """The order when it has ended, or as it is when the time is over."""
        return self._watch.wait_for(order_id, timeout_s)

    def position(self, symbol: str) -> Decimal:
        """What the account holds, by whomever it was bought; negative for a short position.

        Raises:
            CallFailed: Alpaca does not say.
        """
        found = self._submitter.ask(lambda calls: calls.position(symbol))
        if found is None:
            return Decimal(0)
        qty = abs(decimal_or_none(found.get("qty")) or Decimal(0))
        return -qty if found.get("side") == "short" else qty

    def on_order(self, message: object) -> None:
        """A handler for order messages of the ticker's channel: fills are then known at once.

        client.on("AAPL", order=executor.orders.on_order)
        """
        if not isinstance(message, OrderMessage):
            return
        if belongs_to(self.config.client_id, message.order_data.get("client_order_id")):
            self._watch.see(message)

    def order_id(self, symbol: str, name: str | None = None) -> str:
        """A `client_order_id` that says whose it is: `<client_id>:<symbol>:<name>`."""
        unique = f"{time.time_ns() // 1_000_000}-{secrets.token_hex(4)}"
        return f"{self.config.client_id}:{symbol}:{name or unique}"

    @property
    def settled(self) -> bool:
        """Whether every order of ours ended and was told to the last execution."""
        return self._watch.idle

    @property
    def counters(self) -> Counter[str]:
        counters = Counter(self._watch.counters)
        if self._outlet is not None:
            counters.update(self._outlet.counters)
        return counters

    # -- private

    def _outcome(self, symbol: str, submission: Submission) -> OrderOutcome:
        outcome = OrderOutcome.of(submission)
        if submission.order_data is not None:
            self._watch.see(submission.order_data)
            self._log.info(
                "executor.order_accepted", order=outcome.client_order_id, order_id=outcome.order_id
            )
            return outcome
        if submission.stage in (Stage.REFUSED, Stage.ABSENT):
            self._watch.not_placed(symbol, submission)
        elif submission.stage is not Stage.READY:
            self._watch.watch(symbol, submission)
        self._log.warning(
            f"executor.order_{outcome.status}",
            order=outcome.client_order_id,
            cause=outcome.cause,
            reason=outcome.reason,
        )
        return outcome

    def _prepare(self, symbol: str) -> None:
        if self._outlet is not None:
            self._outlet.prepare(symbol)

    def _symbol_of(self, order_id: str) -> str:
        known = self._watch.order(order_id)
        if known is not None:
            return known.symbol
        answer = self._submitter.get(order_id)
        if isinstance(answer, Found):
            self._watch.see(answer.order_data)
            return str(answer.order_data.get("symbol") or "unknown")
        return "unknown"
