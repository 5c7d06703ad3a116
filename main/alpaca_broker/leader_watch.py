"""What an owner does, every second, to stay one: and what once it is not, or cannot know."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import redis
import structlog

from ..utils.redis.errors import RedisUnavailable
from .leadership import LET_GO_S, Standing
from .parts import Parts

if TYPE_CHECKING:
    from .broker import AlpacaBroker

log: Final = structlog.get_logger("tickerbus.broker")


class LeaderWatch:
    """Used by the heartbeat thread."""

    def __init__(self, broker: AlpacaBroker) -> None:
        self._broker = broker

    def keep(self, parts: Parts) -> None:
        """Renew it, take it back, or find it taken."""
        if parts.leadership is None:
            return  # it does not lead yet
        try:
            if parts.publisher.is_elsewhere():
                log.warning("redis.primary_moved", address=self._broker.config.redis.address)
                parts.leave_redis()
            standing = parts.leadership.renew()
            if standing is Standing.RETAKEN:
                # Gone without us: Redis was emptied, or slept longer than the key lives.
                log.warning("leadership.retaken")
                if parts.publisher.epoch:
                    parts.publisher.restore_epoch()
                    parts.inquiry.save()
                if parts.registration is not None:
                    parts.registration.rewrite()
            elif standing is not Standing.OWNER:
                self._broker.supersede(f"{parts.leadership.holder} took the leadership")
                return
            elif parts.redis_was_renewed() and parts.registration is not None:
                parts.registration.rewrite()  # another primary may lack what was written last
            parts.upstreams.take_again()
        except redis.exceptions.ReadOnlyError as error:
            # A demoted primary. Who only publishes or listens there would not notice by itself.
            log.warning("redis.no_longer_primary", address=self._broker.config.redis.address)
            log.debug("redis.read_only", error=str(error))
            parts.leave_redis()
            self._let_go_in_time(parts)
        except (redis.RedisError, RedisUnavailable) as error:
            log.info("leadership.redis_away", error=str(error))
            self._let_go_in_time(parts)

    def _let_go_in_time(self, parts: Parts) -> None:
        """Nobody knows who leads. If it is another one, it waits for Alpaca's only slot."""
        assert parts.leadership is not None
        if parts.leadership.unknown_for_s() > LET_GO_S:
            parts.upstreams.let_go("Redis is out of reach: another broker may lead by now")
