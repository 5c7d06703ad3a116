"""Pure: what `follow` and `on` are asked for, checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, get_args

from .constants import DATA_KINDS, normalize_ticker
from .leases import DataKind
from .outlet import Policy
from .start import Start

Orders = Literal["mine", "all"]

_LIVE: Final = Start.live()


@dataclass(frozen=True, kw_only=True)
class FollowOptions:
    """Which tickers, from where each, and what of them."""

    starts: Mapping[str, Start]  # by ticker, normalised
    all_orders: bool
    data: tuple[DataKind, ...]

    @property
    def tickers(self) -> tuple[str, ...]:
        return tuple(self.starts)


def follow_options(
    tickers: Sequence[str],
    *,
    orders: Orders = "mine",
    from_last: bool = False,
    since: str | datetime | None = None,
    from_id: str | Mapping[str, str] | None = None,
    data: Sequence[DataKind] = ("trades",),
) -> FollowOptions:
    """Check and normalise.

    Raises:
        InvalidTicker: one of them cannot name a channel.
        ValueError: anything else that cannot be meant so.
    """
    if not tickers:
        raise ValueError("no ticker given: name at least one, e.g. AAPL")
    names = tuple(dict.fromkeys(map(normalize_ticker, tickers)))
    _check_choice("orders", orders, get_args(Orders))
    if isinstance(data, str) or not data or not set(data) <= set(DATA_KINDS):
        raise ValueError(f"data must be some of {', '.join(DATA_KINDS)}, not {data!r}")
    given = sum((from_last, since is not None, from_id is not None))
    if given > 1:
        raise ValueError("from_last, since and from_id exclude each other: give one")
    return FollowOptions(
        starts=_starts(names, from_last, since, from_id),
        all_orders=orders == "all",
        data=tuple(data),
    )


def check_policy(policy: str) -> Policy:
    """
    Raises:
        ValueError: there is no such policy.
    """
    _check_choice("policy", policy, get_args(Policy))
    return "latest" if policy == "latest" else "all"


def _check_choice(name: str, given: object, choices: tuple[str, ...]) -> None:
    if given not in choices:
        raise ValueError(f"{name} must be {' or '.join(map(repr, choices))}, not {given!r}")


def _starts(
    names: tuple[str, ...],
    from_last: bool,
    since: str | datetime | None,
    from_id: str | Mapping[str, str] | None,
) -> dict[str, Start]:
    if from_last:
        return dict.fromkeys(names, Start.from_last())
    if since is not None:
        return dict.fromkeys(names, Start.since(since))
    if isinstance(from_id, str):
        if len(names) > 1:
            raise ValueError(
                "an id is one ticker's: with several give from_id={'AAPL': '<epoch>-<seq>', …}"
            )
        return {names[0]: Start.from_id(from_id)}
    ids = {normalize_ticker(ticker): entry_id for ticker, entry_id in (from_id or {}).items()}
    if strange := sorted(set(ids) - set(names)):
        raise ValueError(f"from_id names {', '.join(strange)}, which is not followed here")
    return {name: Start.from_id(ids[name]) if name in ids else _LIVE for name in names}
