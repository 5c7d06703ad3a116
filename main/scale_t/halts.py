"""Was the ticker halted before this program began to listen? The ticker's journal knows."""

from __future__ import annotations

from typing import Final

import structlog

from ..utils.redis.config import RedisConfig
from ..utils.redis.constants import BusNames
from ..utils.redis.errors import RedisUnavailable
from ..utils.redis.gap_tracker import BEGINNING, Entry
from ..utils.redis.journal import Journal
from ..utils.redis.messages import PriceMessage, StatusMessage
from .readiness import Readiness

log: Final = structlog.get_logger("tickerbus.scale_t")

PAGE: Final = 1_000


def read_back(config: RedisConfig, ticker: str, readiness: Readiness) -> None:
    """Tell `readiness` what the journal holds: halts, and the trades that ended them.

    A Redis that does not answer is told, and no reason not to start: without a heartbeat no entry
    is sent either.
    """
    journal, place = Journal(config, BusNames(config.bus_prefix)), BEGINNING
    try:
        while True:
            refill = journal.refill(ticker, place, PAGE, frozenset())
            for entry in refill.plan:
                if isinstance(entry, Entry):
                    place = entry.place
                    _see(entry.message, readiness)
            if refill.complete or not refill.plan:
                return
    except RedisUnavailable as error:
        log.warning("scale_t.halts_not_read", reason=str(error))
    finally:
        journal.close()


def _see(message: object, readiness: Readiness) -> None:
    if isinstance(message, StatusMessage):
        readiness.see_trading_status(message)
    elif isinstance(message, PriceMessage):
        readiness.see_price(message)
