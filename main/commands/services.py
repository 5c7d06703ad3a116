"""`broker`: one part alone, as in production."""

from __future__ import annotations

import gc
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Any, Final

import structlog

from ..account import AccountRefused
from ..settings import Settings
from ..stack import alpaca_access, ask_redis
from ..utils.redis.config import is_passing
from ..utils.redis.errors import RedisUnavailable
from ..utils.turns import until_turn_s
from .common import (
    REFUSED,
    Mistake,
    ended_by_signals,
    open_settings,
    print_account,
    program,
)

if TYPE_CHECKING:
    from ..alpaca_broker import AlpacaBroker

log: Final = structlog.get_logger("tickerbus")

WAIT_STEP_S: Final = 1.0
REFUSED_STATE: Final = "REFUSED"


def broker() -> None:
    """The broker alone, for production.

    Needs a Redis that answers and Alpaca keys, from the environment or .env. With METRICS_PORT it
    serves /metrics, /healthz and /readyz there. Exit code 2: something is missing. 3: Alpaca
    refuses the keys or the feed. 1: it failed.
    """
    settings = open_settings()
    require(settings)
    # Refused keys are for the broker to tell, so that its status says REFUSED too.
    with suppress(AccountRefused):
        print_account(alpaca_access(settings))

    from ..alpaca_broker import AlpacaBroker, BrokerConfig, BrokerError, BrokerRefused
    from ..alpaca_broker.heap import tame

    tame()
    running = AlpacaBroker(BrokerConfig.from_settings(settings))
    figures = _figures(settings, running)
    # What is imported stays: the collector need not walk it again, nor look after every few frames.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)

    def stop() -> None:
        if running.state != "STOPPED":
            log.info("broker.ending", state=running.state)
            running.stop()

    with figures, ended_by_signals(stop) as interruption:
        try:
            running.start()
        except BrokerRefused as refusal:
            raise _ended_by_itself(REFUSED_STATE, str(refusal), settings) from None
        except BrokerError as error:
            raise Mistake(str(error), error.exit_code) from None
        while not running.wait(until_turn_s(WAIT_STEP_S)):
            interruption.look()
        raise _ended_by_itself(running.state, running.reason, settings)


def _figures(settings: Settings, running: AlpacaBroker) -> AbstractContextManager[Any]:
    """`/metrics` and its neighbours, if METRICS_PORT is set."""
    if settings.metrics_port is None:
        return nullcontext()
    from ..metrics import BrokerCollector, MetricsServer
    from ..metrics.health import liveness, readiness
    from ..metrics.server import MetricsPortTaken

    try:
        return MetricsServer(
            settings.metrics_host,
            settings.metrics_port,
            BrokerCollector(running, settings.alpaca_symbol_limit),
            alive=lambda: liveness(running),
            ready=lambda: readiness(running),
        )
    except MetricsPortTaken as error:
        raise Mistake(str(error)) from None


def _ended_by_itself(state: str, reason: str | None, settings: Settings) -> Mistake:
    if state != REFUSED_STATE:
        return Mistake(f"the broker is {state}: {reason or 'no reason known'}", exit_code=1)
    kind = "paper" if settings.alpaca_paper else "live"
    return Mistake(
        f"{reason}. Check that ALPACA_API_KEY and ALPACA_API_SECRET are a {kind} account's, "
        f"as ALPACA_PAPER says, and that its plan has ALPACA_DATA_FEED={settings.alpaca_data_feed}",
        exit_code=REFUSED,
    )


def require(settings: Settings) -> None:
    """Keys, and a Redis that answers.

    Raises:
        Mistake: naming all that is missing.
    """
    _demand([*_missing_keys(settings), *_redis_fault(settings)])


def require_redis(settings: Settings) -> None:
    """A Redis that answers: for what goes through it alone.

    Raises:
        Mistake: it does not.
    """
    _demand(_redis_fault(settings))


def require_keys(settings: Settings) -> None:
    """Keys alone: for what has to work without Redis.

    Raises:
        Mistake: naming those that are missing.
    """
    _demand(_missing_keys(settings))


def _redis_fault(settings: Settings) -> list[str]:
    try:
        ask_redis(settings.redis_config())
    except RedisUnavailable as error:
        if not is_passing(error.cause):  # else the service waits for it
            return [f"{error}. Set REDIS_URL, or REDIS_HOST and REDIS_PORT"]
    return []


def _missing_keys(settings: Settings) -> list[str]:
    keys = {
        "ALPACA_API_KEY": settings.alpaca_api_key,
        "ALPACA_API_SECRET": settings.alpaca_api_secret,
    }
    missing = [name for name, given in keys.items() if given is None]
    if not missing:
        return []
    return [
        *(f"{name} is not set" for name in missing[:-1]),
        f"{missing[-1]} is not set. For the local Alpaca: the `export …` lines that "
        f"`{program()} up` prints. For your own account: its keys, in .env or the environment",
    ]


def _demand(missing: list[str]) -> None:
    if missing:
        listed = "\n".join(f"  - {line}" for line in missing)
        raise Mistake(f"This is missing:\n{listed}")
