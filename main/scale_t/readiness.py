"""Pure: may an entry be sent now? Only while its fill would be heard of, and its price is real.

Exits and cancels never ask: they always work.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from msgspec import UNSET

from ..utils.redis.broker_watch import BrokerView
from ..utils.redis.messages import BrokerStatus, PriceMessage, StatusMessage
from ..wording import account_name

# Trading status codes: tape C's letters, and the digits of tapes A and B.
HALTS = frozenset({"H", "P", "2"})
GOOD_STATES = frozenset({"LIVE", "QUIET"})


@dataclass
class Readiness:
    """What the bus last said of the ticker. `account_names`: ours, under all its names.

    A halt ends with the first trade after it that may set the last price, not with the word that
    trading resumes: until then nobody knows at which price.
    """

    account_names: frozenset[str]
    paper: bool = True
    ticker: str = ""
    rejected: str | None = None  # why the broker does not follow the ticker
    halted: str | None = None  # Alpaca's words
    _halted_at: str = field(default="")
    _traded_at: str = field(default="")

    def see_trading_status(self, message: StatusMessage) -> None:
        """In any order with the prices: the journal may tell of a halt that is over already."""
        if message.code in HALTS and message.timestamp >= self._traded_at:
            reason = message.reason_message or message.message
            self.halted, self._halted_at = reason or "halted", message.timestamp

    def see_price(self, message: PriceMessage) -> None:
        """A price says that the ticker is followed, and trades."""
        self.rejected = None
        if message.last_eligible:
            self._traded_at = max(self._traded_at, message.timestamp)
            if message.timestamp > self._halted_at:
                self.halted = None

    def obstacle(self, broker: BrokerView) -> str | None:
        """Why no entry may be sent now, or None."""
        status = broker.status
        if status is None or broker.away:
            return "no heartbeat of a broker"
        if status.paper is not self.paper:
            return f"the broker publishes a {'paper' if status.paper else 'live'} account"
        if status.account_id is None:
            return "the broker does not say which account it publishes"
        if status.account_id not in self.account_names:
            return f"the broker publishes another account, {account_name(status)}"
        if not broker.orders_ready:
            return f"the broker's order stream is not ready: {status.upstream.orders.state}"
        if self.rejected is not None:
            return f"the broker rejected the registration: {self.rejected}"
        if self.halted is not None:
            return f"trading is halted: {self.halted}"
        return self._price_obstacle(status)

    def _price_obstacle(self, status: BrokerStatus) -> str | None:
        """An entry needs prices that flow, or would if it traded: LIVE or QUIET."""
        if status.tickers is not UNSET:
            known = status.tickers.get(self.ticker)
            if known is None:
                return f"the broker does not follow {self.ticker}"
            state = known.state
        elif status.upstream.prices.state not in GOOD_STATES:
            return f"the broker's price stream is {status.upstream.prices.state}"
        else:  # more than a heartbeat lists: only those that are not well, and not all of them
            unwell = {} if status.unwell is UNSET else status.unwell
            states = {} if status.states is UNSET else status.states
            sick = sum(count for state, count in states.items() if state not in GOOD_STATES)
            state = unwell.get(self.ticker, "LIVE" if sick <= len(unwell) else "not known")
        return None if state in GOOD_STATES else f"the ticker's prices are {state}"
