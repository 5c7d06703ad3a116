"""Pure: Redis ACL rules with the least that each role needs.

Whatever is not named here is refused. Channels and keys are granted together with the commands
that may use them, in selectors, because a channel granted to a user at large may be both heard and
spoken on: a strategy could publish prices.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal

from .trade_events.names import ANOMALY, TradeNames
from .utils.redis.constants import CLIENT_ID_PATTERN, BusNames, normalize_ticker

Role = Literal["broker", "strategy", "observer", "dashboard", "events"]
ROLES: Final[tuple[Role, ...]] = ("broker", "strategy", "observer", "dashboard", "events")

# Not 64 hexadecimal digits: Redis refuses the rule until somebody has put a hash in its place.
HASH_PLACEHOLDER: Final = "SHA256-OF-THE-PASSWORD"
_USER: Final = re.compile(r"[A-Za-z0-9_@.-]{1,64}")
_CLIENT_ID: Final = re.compile(CLIENT_ID_PATTERN)
_PREFIX: Final = re.compile(r"[A-Za-z0-9_.:-]{0,32}")
_HASH: Final = re.compile(r"[0-9a-f]{64}")

# AUTH and HELLO are open to all. SELECT is for REDIS_DB; ROLE tells a demoted primary.
_CONNECTION: Final = "+ping +client|setname +select +role +unsubscribe +punsubscribe"
_EXTRA: Final[dict[Role, str]] = {
    "broker": "+info +multi +exec +scan +wait +pubsub|numsub +function|load ",
    "strategy": "+multi +exec +unwatch ",
    "dashboard": "+info +client|list ",  # memory, and who reads too slowly
    "events": "+info +time +scan +multi +exec +unwatch +function|load ",
}
_READ_STREAM: Final = "+xrange +xrevrange +xinfo|stream"


class AclError(ValueError):
    """A rule that was asked for cannot be made; the message says why."""


@dataclass(frozen=True, kw_only=True)
class AclRequest:
    """For whom. A strategy and the dashboard register as one of `client_ids` (none: as the user's
    name); a strategy hears `tickers`, or all if there are none. The other roles have neither."""

    role: Role
    user: str
    prefix: str = ""
    client_ids: tuple[str, ...] = ()
    tickers: tuple[str, ...] = ()
    secured: bool = True
    password_hash: str = HASH_PLACEHOLDER


def acl_rule(request: AclRequest) -> str:
    """`reset on #… …`: what follows `ACL SETUSER <user>`, or `user <user>` in an aclfile.

    Raises:
        AclError: a name that would not survive in a rule.
    """
    _check(request)
    names = BusNames(request.prefix)
    selectors = {
        "broker": lambda: _broker(names, request.secured),
        "strategy": lambda: _strategy(names, request),
        "observer": lambda: _observer(names),
        "dashboard": lambda: _dashboard(names, request),
        "events": lambda: [*_events(request.prefix), *_observer(names)],
    }[request.role]()
    root = _EXTRA.get(request.role, "") + _CONNECTION
    rules = " ".join(f"({rule})" for rule in selectors)
    return f"reset resetchannels on #{request.password_hash} {root} {rules}"


def _check(request: AclRequest) -> None:
    if not _USER.fullmatch(request.user):
        raise AclError(f"{request.user!r} is not a user's name: use letters, digits and _ @ . -")
    if not _PREFIX.fullmatch(request.prefix):
        raise AclError(f"{request.prefix!r} is not a prefix: use letters, digits and _ . : -")
    for client_id in request.client_ids:
        if not _CLIENT_ID.fullmatch(client_id):
            raise AclError(f"{client_id!r} is not a client id: it must match {CLIENT_ID_PATTERN}")
    if request.password_hash != HASH_PLACEHOLDER and not _HASH.fullmatch(request.password_hash):
        raise AclError("a password's hash is its SHA-256 in 64 lower-case hexadecimal digits")
    if request.role != "strategy" and request.tickers:
        raise AclError(f"tickers are for the role strategy, not for {request.role}")
    if request.role not in ("strategy", "dashboard") and request.client_ids:
        raise AclError(f"client ids are for strategy and dashboard, not for {request.role}")


def _broker(names: BusNames, secured: bool) -> list[str]:
    logs = _keys("~", f"{names.TICKER_LOG}*", f"{names.ORDER_LOG}*")
    strings = _keys("~", names.BROKER_EPOCH, names.BROKER_BATCH, names.BROKER_RECONCILED)
    leader = _keys("~", names.BROKER_LEADER)
    requests = [names.BROKER_REGISTRATION]
    if secured:
        requests.append(names.get_client_registration_channel("*"))
    # The hot ones first: Redis looks at one after the other, also within the functions.
    return [
        f"+xadd {_READ_STREAM} +rename +expire {logs}",
        "+publish " + _channels(*_ticker_channels(names, ()), *_broker_channels(names)),
        f"+get +set {strings} {leader}",
        f"+fcall {logs} {strings} {leader}",
        f"+pexpire {leader}",
        f"+ttl +persist {_keys('~', f'{names.TICKER_LOG}*')}",
        f"+xtrim {_keys('~', f'{names.ORDER_LOG}*')}",
        f"+hgetall +hset +hdel {_keys('~', names.BROKER_LEASES)}",
        f"+subscribe +psubscribe {_channels(*requests)}",
    ]


def _strategy(names: BusNames, request: AclRequest) -> list[str]:
    tickers = tuple(dict.fromkeys(normalize_ticker(ticker) for ticker in request.tickers))
    logs = [
        key + ticker for key in (names.TICKER_LOG, names.ORDER_LOG) for ticker in tickers or "*"
    ]
    heard = (*_ticker_channels(names, tickers), *_broker_channels(names))
    asks = _registration_channels(names, request)
    # A person's commands to it (scale-t pause, …) and its answers, both of its own name only.
    commands = [
        channel
        for client_id in request.client_ids or (request.user,)
        for channel in (
            names.get_control_channel(client_id),
            names.get_control_replies_channel(client_id),
        )
    ]
    # That no two processes trade a ticker in this name.
    leases = [
        names.get_consumer_lease(client_id, ticker)
        for client_id in request.client_ids or (request.user,)
        for ticker in tickers or "*"
    ]
    return [
        f"+subscribe +psubscribe {_channels(*heard, *commands)}",
        f"{_READ_STREAM} {_keys('%R~', *logs)}",
        f"+get {_keys('%R~', names.BROKER_EPOCH)}",
        f"+watch +get +set +pttl +del {_keys('~', *leases)}",
        f"+publish {_channels(*commands)}",
        f"+publish {_channels(*asks)}",
    ]


def _registration_channels(names: BusNames, request: AclRequest) -> list[str]:
    """Where the user may register."""
    if not request.secured:
        return [names.BROKER_REGISTRATION]
    clients = request.client_ids or (request.user,)
    return [names.get_client_registration_channel(client) for client in clients]


def _dashboard(names: BusNames, request: AclRequest) -> list[str]:
    asks = _registration_channels(names, request)
    return [*_observer(names), f"+publish {_channels(*asks)}"]


def _observer(names: BusNames) -> list[str]:
    strings = (names.BROKER_EPOCH, names.BROKER_LEADER, names.BROKER_RECONCILED)
    return [
        "+subscribe +psubscribe "
        + _channels(*_ticker_channels(names, ()), *_broker_channels(names)),
        f"{_READ_STREAM} {_keys('%R~', f'{names.TICKER_LOG}*', f'{names.ORDER_LOG}*')}",
        f"+get {_keys('%R~', *strings)}",
        f"+hgetall {_keys('%R~', names.BROKER_LEASES)}",
    ]


def _events(prefix: str) -> list[str]:
    """The trade event bus: who publishes there also moves the state, in the same step."""
    names = TradeNames(prefix)
    keys = (
        f"{names.prefix}trades:*",
        *(names.every_state(subject) for subject in ("order", "position")),
        *(names.open_index(subject, "*") for subject in ("order", "position")),
    )
    reads = "+type +exists +get +hget +hmget +hgetall +hexists +smembers +sscan +zscore +zrange"
    sets = "+sadd +srem +sismember +scard +zadd +zrem"
    writes = f"+set +del +unlink +expire +pexpireat +persist +rename +hset +hdel +hincrby {sets}"
    streams = f"{_READ_STREAM} +xinfo|groups +xadd +xack +xclaim +xreadgroup +xpending"
    groups = "+xgroup|create +xgroup|destroy +fcall +watch +ttl +pexpire"
    return [
        f"{reads} {writes} {streams} {groups} {_keys('~', *keys)} "
        + "+publish +subscribe +psubscribe "
        + _channels(names.pattern(None), names.pattern(ANOMALY))
    ]


def _ticker_channels(names: BusNames, tickers: Sequence[str]) -> list[str]:
    """Of the given tickers, or of all."""
    starts = (names.TICKER_UPDATES, names.TICKER_QUOTES, names.TICKER_BARS)
    return [start + ticker for start in starts for ticker in tickers or "*"]


def _broker_channels(names: BusNames) -> tuple[str, str]:
    return names.BROKER_STATUS, names.BROKER_REGISTRATION_REPLIES


def _keys(mark: str, *patterns: str) -> str:
    return " ".join(mark + pattern for pattern in patterns)


def _channels(*patterns: str) -> str:
    # First none at all: a server's acl-pubsub-default may have been allchannels.
    return "resetchannels " + _keys("&", *patterns)
