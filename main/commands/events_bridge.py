"""`events bridge`: the broker's order messages become trade events."""

from __future__ import annotations

from typing import Annotated

import typer

from .common import REFUSED, Mistake, console, ended_by_signals, open_settings


def bridge(
    look_every: Annotated[
        float,
        typer.Option(
            min=0.1,
            max=3_600,
            help="Seconds between looks for symbols that trade for the first time.",
        ),
    ] = 1.0,
) -> None:
    """Turn the broker's order messages into trade events, each once.

    Follows every symbol that has orders; needs no broker and no keys, only Redis. It may be killed
    and started again at any moment: nothing is lost and nothing doubled. A second one waits until
    the first has ended. Exit code 3: another bridge has taken over.
    """
    settings = open_settings()

    from ..events_bridge import AnotherBridge, BridgeConfig, EventsBridge

    config = BridgeConfig(
        redis=settings.redis_config(client_name="tickerbus-events-bridge"), look_every_s=look_every
    )
    running = EventsBridge(config)
    with running, ended_by_signals(running.stop):
        console.print(f"The events bridge reads from {config.redis.address}; Ctrl-C ends it.")
        try:
            running.run()
        except AnotherBridge as error:
            raise Mistake(str(error), REFUSED) from None
