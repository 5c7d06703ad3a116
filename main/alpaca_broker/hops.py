"""How long a trade is on its way, hop by hop: one observation a batch, never one a message."""

from __future__ import annotations

import time
from collections.abc import Sequence

from ..utils.figures import Histogram
from .frame_buffer import Frame, Item
from .translate import MarketTranslator


class Hops:
    """The price producer observes; any thread may read."""

    def __init__(self) -> None:
        # From a trade to its frame's arrival here, by feed: the network, Alpaca, and the clocks.
        self.from_alpaca: dict[str, Histogram] = {}
        # From a frame's arrival to Redis's confirmation of its messages, or, while more waits, to
        # their sending: waiting and work here.
        self.to_redis = Histogram()
        self._seen_trade_ns = 0

    def published(self, items: Sequence[Item], translator: MarketTranslator) -> None:
        """A batch of these was published just now."""
        frame = items[-1] if items else None
        if type(frame) is not Frame:
            return
        first = items[0]
        oldest_ns = first.received_ns if type(first) is Frame else frame.received_ns
        self.to_redis.observe((time.time_ns() - oldest_ns) / 1e9)
        trade_ns = translator.last_trade_ns
        if trade_ns != self._seen_trade_ns:  # else quotes only: the last trade says nothing now
            self._seen_trade_ns = trade_ns
            found = self.from_alpaca.get(frame.feed)
            if found is None:
                found = self.from_alpaca[frame.feed] = Histogram()
            found.observe((translator.last_received_ns - trade_ns) / 1e9)
