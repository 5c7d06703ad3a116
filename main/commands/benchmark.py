"""`bench`: what the bus carries on this machine, through this Redis."""

from __future__ import annotations

from contextlib import ExitStack
from typing import Annotated

import typer

from ..embedded_valkey import EmbeddedValkey
from ..utils.redis.config import RedisConfig
from .common import Mistake, console, open_settings


def bench(
    seconds: Annotated[float, typer.Option(min=4, max=600, help="About how long.")] = 20.0,
) -> None:
    """Measure the bus on this machine.

    Publishes invented trades under a prefix of its own, through the given Redis (REDIS_URL or
    REDIS_HOST) or an embedded one, and checks that each comes back once and in order. Exit code 1:
    one did not.
    """
    from ..benchmark import BenchmarkFailed, run_benchmark

    settings = open_settings()
    with ExitStack() as exits:
        config = settings.redis_config("tickerbus-bench")
        if not settings.names_a_redis:
            valkey = exits.enter_context(EmbeddedValkey())
            config = RedisConfig(host="127.0.0.1", port=valkey.port)
        console.print(f"Redis: {config.address}; about {seconds:.0f} s", markup=False)
        try:
            for finding in run_benchmark(config, seconds):
                console.print(f"{finding.what:<52} {finding.found}", markup=False)
        except BenchmarkFailed as failure:
            raise Mistake(str(failure), exit_code=1) from None
