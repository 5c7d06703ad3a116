"""The executor's settings: frozen, checked whole, with every bad name in one message."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from ..utils.redis.constants import CLIENT_ID_PATTERN

_CLIENT_ID: Final = re.compile(CLIENT_ID_PATTERN)
_ACCOUNT_LIMIT: Final = 200  # requests a minute, shared by all that trade on the account


class InvalidExecutorConfig(ValueError):
    """The caller's fault; `problems` names every one."""

    retry = False

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("the executor's config: " + "; ".join(problems))


@dataclass(frozen=True, kw_only=True)
class ExecutorConfig:
    """How an executor trades. Times are seconds.

    `client_id` stands before every order's `client_order_id`: so its orders and positions are told
    from those of others on the account. `patience_s`: how long a refusal that may pass (a rate
    limit, a wash trade) is waited out within one call. `absent_after_s` and `give_up_after_s`: when
    an order whose answer was lost counts as never arrived, and when its fate is called unknown.
    `poll_s`: how often its open orders are asked for, at the slowest; quicker after each request.

    Raises:
        InvalidExecutorConfig: all that is wrong with it.
    """

    client_id: str = "trader"
    requests_per_minute: int = 60
    timeout_s: float = 3.0
    patience_s: float = 15.0
    absent_after_s: float = 30.0
    give_up_after_s: float = 120.0
    poll_s: float = 5.0
    event_buffer: int = 10_000

    def __post_init__(self) -> None:
        if problems := list(_problems(self)):
            raise InvalidExecutorConfig(problems)

    @classmethod
    def of(cls, config: Any) -> ExecutorConfig:
        """From a config, from a mapping of its names, or the defaults.

        Raises:
            InvalidExecutorConfig: an unknown name or a bad value.
        """
        if isinstance(config, ExecutorConfig):
            return config
        if config is not None and not isinstance(config, Mapping):
            told = type(config).__name__
            raise InvalidExecutorConfig([f"must be an ExecutorConfig or a mapping, not {told}"])
        given = dict(config or {})
        known = [field.name for field in dataclasses.fields(cls)]
        unknown = sorted(str(name) for name in given if name not in known)
        if unknown:
            listed = ", ".join(unknown)
            raise InvalidExecutorConfig([f"unknown: {listed} (known: {', '.join(known)})"])
        return cls(**given)


def _problems(config: ExecutorConfig) -> Iterator[str]:
    if not isinstance(config.client_id, str) or not _CLIENT_ID.fullmatch(config.client_id):
        yield f"client_id must match {CLIENT_ID_PATTERN}, not {config.client_id!r}"
    if not _is_whole(config.requests_per_minute, 1, _ACCOUNT_LIMIT):
        told = config.requests_per_minute
        yield f"requests_per_minute must be 1 to {_ACCOUNT_LIMIT} (the account's own), not {told!r}"
    if not _is_whole(config.event_buffer, 1, 10_000_000):
        yield f"event_buffer must be 1 to 10,000,000, not {config.event_buffer!r}"
    times = ("timeout_s", "patience_s", "absent_after_s", "give_up_after_s", "poll_s")
    wrong = [name for name in times if not _is_time(getattr(config, name))]
    for name in wrong:
        told = getattr(config, name)
        yield f"{name} must be more than 0 and at most 3,600 seconds, not {told!r}"
    if not wrong and config.give_up_after_s < 2 * config.absent_after_s:
        yield "give_up_after_s must be at least twice absent_after_s, so that a look falls between"


def _is_time(value: object) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and 0 < value <= 3_600  # type: ignore[operator]


def _is_whole(value: object, least: int, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most
