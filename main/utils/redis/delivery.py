"""What a feed hands to its handler's queue: messages, and the words for what cannot be had."""

from __future__ import annotations

from collections import Counter
from typing import Final

from ..event_log import EventLog
from ..told_orders import ToldOrders
from .gap_tracker import UNTIMELY, Entry, Loss, Numbered, end_of_loss
from .messages import GapMessage, OrderMessage, now_rfc3339
from .outlet import Decode, Outlet, Undecoded

log: Final = EventLog("tickerbus.subscriber")

_KEPT_ORDERS: Final = 5_000  # of one ticker, and one handler


class Delivery:
    """From one channel to one outlet. Touched with the subscriber's lock held only."""

    def __init__(
        self,
        channel: str,
        outlet: Outlet,
        counters: Counter[str],
        *,
        symbol: str | None = None,
        decode: Decode | None = None,
    ) -> None:
        self.channel, self.outlet, self.symbol, self.decode = channel, outlet, symbol, decode
        self.last: Numbered | None = None  # the last message handed over that tells a time
        self.asked_since: str | None = None  # a late joiner asked for more than the journal has
        self._counters = counters
        self._told = ToldOrders(_KEPT_ORDERS)

    def is_new_order(self, message: OrderMessage) -> bool:
        """Whether the handler lacks this order event. A broker whose memory was lost with Redis
        tells again what the last one told, under other numbers. A new one is taken as told."""
        update = {**message.update, "event": message.event, "order": message.order_data}
        recovered = message.source == "reconcile"
        is_new = self._told.is_new(update, recovered=recovered)
        if is_new:
            self._told.note(update, recovered=recovered)
        else:
            self._counters["order_repeats_dropped"] += 1
        return is_new

    def hand_over(self, entry: Entry) -> None:
        """The next message."""
        if type(entry.message) is OrderMessage and not self.is_new_order(entry.message):
            return
        if self.asked_since is not None:
            self._tell(Loss(None, end_of_loss([entry])), entry.numbers.epoch, "journal_expired")
        if self.last is None or type(entry.message) not in UNTIMELY:
            self.last = entry.numbers
        if self.decode is not None:
            self.outlet.stage(Undecoded(self.channel, entry.payload, self.decode))
        elif entry.message is not None:
            self.outlet.stage(entry.message)
        else:
            self._counters["ignored"] += 1

    def tell(self, loss: Loss, epoch: int, cause: str) -> None:
        """Say aloud what cannot be had any more, in place of the messages."""
        unknown = self.asked_since is not None
        self._tell(Loss(None, loss.until) if unknown else loss, epoch, cause)

    def _tell(self, loss: Loss, epoch: int, cause: str) -> None:
        until = loss.until or now_rfc3339()
        begun = self.asked_since or (self.last.timestamp if self.last else until)
        self.asked_since = None
        self._counters["gaps"] += 1
        log.warning("ticker.gap", channel=self.channel, cause=cause, lost=loss.lost, begun=begun)
        self.outlet.stage(
            GapMessage(
                symbol=self.symbol or "",
                timestamp=now_rfc3339(),
                epoch=epoch,
                from_=begun,
                to=until,
                cause=cause,
                backfilled=False,
                lost=loss.lost,
            )
        )
