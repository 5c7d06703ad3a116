"""The parts of one run of the broker, made together and thrown away together.

A run begins when Redis is reachable. A broker that is superseded and later takes over again makes
a new run: nothing of the old one (numbers, held messages, connections) may leak into it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass, field

import redis

from ..utils.redis.constants import BusNames
from ..utils.redis.order_memory import OrderMemory
from ..utils.redis.publisher import RedisPublisher
from ..utils.redis.subscriber import RedisSubscriber
from .absence import Absence
from .assets import AssetList
from .bookmark import Bookmark
from .broker_config import BrokerConfig
from .connection_config import StreamState
from .frame_buffer import FrameBuffer
from .heap import Tidy
from .housekeeping import Housekeeping
from .leadership import Leadership
from .lease_store import LeaseStore
from .market_clock import MarketClock
from .order_buffer import OrderBuffer
from .order_desk import OrderDesk
from .order_inquiry import OrderInquiry
from .order_ledger import OrderLedger
from .order_record import OrderRecord
from .price_desk import PriceDesk
from .producers import Producer
from .reconcile import Reconciler
from .recovery import Recovery
from .rounds import RegistrationThread
from .sale_conditions import LastPriceRule
from .translate import MarketTranslator
from .upstreams import Upstreams


@dataclass(kw_only=True)
class Parts:
    """What one run consists of. Those that need the account come later."""

    publisher: RedisPublisher
    redis: redis.Redis
    names: BusNames
    prices: FrameBuffer
    orders: OrderBuffer
    upstreams: Upstreams
    assets: AssetList
    clock: MarketClock
    store: LeaseStore
    translator: MarketTranslator
    recovery: Recovery
    absence: Absence
    price_desk: PriceDesk
    ledger: OrderLedger
    inquiry: OrderInquiry
    reconciler: Reconciler
    leadership: Leadership | None = None
    order_desk: OrderDesk | None = None
    registration: RegistrationThread | None = None
    subscriber: RedisSubscriber | None = None
    producers: list[Producer] = field(default_factory=list)

    _reconnects_seen: int = field(default=0, init=False)

    def redis_was_renewed(self) -> bool:
        """Whether the publisher has a new connection, since this was asked before."""
        seen, self._reconnects_seen = self._reconnects_seen, self.publisher.counters["reconnects"]
        return seen != self._reconnects_seen

    def leave_redis(self) -> None:
        """Resolve the address again: the server that is connected is not the primary any more."""
        self.publisher.reconnect()
        self.redis.connection_pool.disconnect(inuse_connections=False)
        if self.subscriber is not None:
            self.subscriber.reconnect()

    def close(self) -> None:
        """Close the connections to Redis."""
        if self.subscriber is not None:
            self.subscriber.close()
        self.publisher.close()
        self.redis.close()


def make_parts(
    config: BrokerConfig,
    on_state: Callable[[str, StreamState], None],
    on_lost: Callable[[str, int, str], None],
    following: Callable[[], Collection[str]],
    order_memory: OrderMemory,
    order_record: OrderRecord,
) -> Parts:
    """Connect to Redis, and wire everything that does not need Alpaca yet.

    Raises:
        RedisUnavailable: nobody answers there, or refuses us.
    """
    publisher = RedisPublisher(config.redis, config.journal, order_memory)
    client, names = config.redis.client(), publisher.names
    prices = FrameBuffer(
        fold_cause=lambda: "redis_unavailable" if publisher.trouble else "overload"
    )
    orders = OrderBuffer()
    clock = MarketClock(config.rest)
    translator = MarketTranslator(LastPriceRule(clock.is_regular))
    rule = LastPriceRule(clock.is_regular)  # its own: it remembers, and lives in another thread
    recovery = Recovery(config.data_rest, client, names, prices, config.feed, rule)
    ledger = OrderLedger()
    assets = AssetList(config.rest, config.feed)
    bookmark = Bookmark(client, names, order_record)
    inquiry = OrderInquiry(config.rest, ledger, bookmark, clock.alpaca_ns)
    upstreams = Upstreams(config, prices, orders, on_state, on_lost)
    tidy = Tidy(lambda: upstreams.disconnects() + publisher.counters["reconnects"])
    keeper = Housekeeping(client, names, config.journal.order_days, following)
    return Parts(
        publisher=publisher,
        redis=client,
        names=names,
        prices=prices,
        orders=orders,
        upstreams=upstreams,
        assets=assets,
        clock=clock,
        store=LeaseStore(client, names),
        translator=translator,
        recovery=recovery,
        absence=Absence(client, names, prices),
        price_desk=PriceDesk(translator, recovery.ask),
        ledger=ledger,
        inquiry=inquiry,
        reconciler=Reconciler(
            inquiry,
            orders,
            (clock.refresh, keeper.keep, assets.load_pairs, assets.load_lists, tidy),
        ),
    )
