"""`broker`, `sim`, `scale-t run`: one part alone, as in production."""

from __future__ import annotations

import gc
from contextlib import AbstractContextManager, nullcontext, suppress
from typing import TYPE_CHECKING, Annotated, Any, Final

import structlog
import typer

from ..account import AccountRefused
from ..ports import choose_port
from ..settings import Settings
from ..stack import (
    DEFAULT_SIM_PORT,
    LOCAL_KEY,
    LOCAL_SECRET,
    alpaca_access,
    ask_redis,
    local_alpaca_environment,
)
from ..utils.redis.config import is_passing
from ..utils.redis.errors import RedisUnavailable
from .common import (
    REFUSED,
    Mistake,
    Rate,
    SimPort,
    console,
    ended_by_signals,
    open_settings,
    parse_tickers,
    print_account,
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
    _require(settings)
    # Refused keys are for the broker to tell, so that its status says REFUSED too.
    with suppress(AccountRefused):
        print_account(alpaca_access(settings))

    from ..alpaca_broker import AlpacaBroker, BrokerConfig, BrokerError, BrokerRefused

    running = AlpacaBroker(BrokerConfig.from_settings(settings))
    figures = _figures(settings, running)
    # What is imported stays: the collector need not walk it again, nor look after every few frames.
    gc.freeze()
    gc.set_threshold(50_000, 20, 20)

    def stop() -> None:
        if running.state != "STOPPED":
            log.info("broker.ending", state=running.state)
            running.stop()

    with figures, ended_by_signals(stop):
        try:
            running.start()
        except BrokerRefused as refusal:
            raise _ended_by_itself(REFUSED_STATE, str(refusal), settings) from None
        except BrokerError as error:
            raise Mistake(str(error), error.exit_code) from None
        while not running.wait(WAIT_STEP_S):
            pass
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


def sim(
    port: SimPort = None,
    tickers: Annotated[
        str, typer.Option(metavar="A,B,…", help="Tickers that it shall know besides its own 660.")
    ] = "",
    rate: Rate = 1.0,
    any_ticker: Annotated[
        bool, typer.Option("--any-ticker", help="Every well-formed ticker is a tradable asset.")
    ] = False,
    seed: Annotated[int, typer.Option(help="The same seed makes the same prices.")] = 1,
    symbol_limit: Annotated[
        int, typer.Option(min=0, help="Symbols on the stream, as the plan allows; 0: no limit.")
    ] = 30,
    key: Annotated[str, typer.Option(help="The key id that it accepts.")] = LOCAL_KEY,
    secret: Annotated[str, typer.Option(help="And its secret.")] = LOCAL_SECRET,
) -> None:
    """The local Alpaca alone.

    Streams, REST and order matching on one port of 127.0.0.1. No money, no network.
    """
    from ..alpaca_sim import (
        Credentials,
        MarketRules,
        SimAddress,
        SimConfig,
        StreamRules,
        run_forever,
    )

    open_settings()

    def announce(address: SimAddress) -> None:
        console.print(f"The local Alpaca listens on 127.0.0.1:{address.port}. To use it:")
        for name, value in local_alpaca_environment(address.port, key, secret).items():
            console.print(f"  export {name}={value}", markup=False)
        console.print(f"Market hours: {address.session}", markup=False)
        if address.control_url:
            console.print(f"Faults and oracle: {address.control_url}", markup=False)

    config = SimConfig(
        port=choose_port(port, DEFAULT_SIM_PORT, "--port"),
        tickers=parse_tickers(tickers) if tickers else (),
        any_ticker=any_ticker,
        credentials=Credentials(key, secret),
        market=MarketRules(seed=seed, default_rate=rate),
        streams=StreamRules(symbol_limit=symbol_limit),
    )
    run_forever(config, announce)


def run_scale_t(
    ticker: Annotated[str, typer.Option(help="The stock to trade.")],
    max_position: Annotated[str, typer.Option(metavar="SHARES", help="Never hold more.")],
    component: Annotated[str, typer.Option(metavar="SHARES", help="Shares of each rung.")] = "10",
    increment: Annotated[
        str, typer.Option(metavar="DOLLARS", help="The distance between rungs.")
    ] = "0.05",
    start_price: Annotated[
        str | None, typer.Option(metavar="DOLLARS", help="Without it: the first price seen.")
    ] = None,
    client_id: Annotated[
        str, typer.Option(metavar="ID", help="Who registers; its orders are named ID:….")
    ] = "scale-t",
) -> None:
    """Trade one ticker.

    A filled buy arms its sell one rung up, and the next buy one rung down. Paper accounts only.
    """
    from ..scale_t import ScaleTConfig, ScaleTConfigError
    from ..scale_t import run_scale_t as run

    settings = open_settings()
    try:
        config = ScaleTConfig.from_text(
            ticker=ticker,
            max_position=max_position,
            component=component,
            increment=increment,
            start_price=start_price,
            client_id=client_id,
        )
    except ScaleTConfigError as error:
        raise Mistake(str(error)) from None
    _require(settings)
    print_account(alpaca_access(settings))
    raise typer.Exit(run([config], settings))


def _require(settings: Settings) -> None:
    missing = []
    if settings.alpaca_api_key is None:
        missing.append("ALPACA_API_KEY is not set")
    if settings.alpaca_api_secret is None:
        missing.append("ALPACA_API_SECRET is not set")
    try:
        ask_redis(settings.redis_config())
    except RedisUnavailable as error:
        if not is_passing(error.cause):  # else the service waits for it
            missing.append(f"{error}. Set REDIS_URL, or REDIS_HOST and REDIS_PORT")
    if missing:
        listed = "\n".join(f"  - {line}" for line in missing)
        raise Mistake(f"This is missing:\n{listed}")
