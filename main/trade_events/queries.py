"""Reading: the state of orders and positions, and the log."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any, Final, cast

import redis
import structlog

from .checks import check_id, check_symbol, check_timestamp
from .counts import Counts
from .errors import InvalidTradeEvent
from .events import TradeEvent
from .kinds import Subject
from .names import TradeNames
from .subscriptions import BEFORE_ALL, LogId, parse_log_id
from .wire import decode_logged, hash_to_state

log: Final = structlog.get_logger("tickerbus.trade_events")

PAGE: Final = 500
_LOG_ID: Final = re.compile(r"[0-9]{1,19}(-[0-9]{1,19})?")
State = dict[str, Any]


class Queries:
    """Any thread may call it. All of it raises redis.RedisError when Redis does not answer."""

    def __init__(self, client: redis.Redis, names: TradeNames, counters: Counts) -> None:
        self._client, self._names, self._counters = client, names, counters

    def state(self, subject: Subject, symbol: str, subject_id: object) -> State | None:
        key = self._names.state(
            subject, check_symbol(symbol), check_id(subject_id, f"{subject}_id")
        )
        fields = cast("dict[bytes, bytes]", self._client.hgetall(key))
        return hash_to_state(fields) if fields else None

    def open(self, subject: Subject, symbol: str) -> list[State]:
        """What is open, the oldest first."""
        index = self._names.open_index(subject, check_symbol(symbol))
        ids = cast("list[bytes]", self._client.zrange(index, 0, -1))
        found: list[State] = []
        for start in range(0, len(ids), PAGE):
            pipeline = self._client.pipeline(transaction=False)
            for subject_id in ids[start : start + PAGE]:
                pipeline.hgetall(self._names.state(subject, symbol, subject_id.decode()))
            found += [hash_to_state(fields) for fields in pipeline.execute() if fields]
        # One that ended between the two readings is no longer open.
        return [state for state in found if state.get("status") in _OPEN]

    def every(self, subject: Subject, symbol: str | None) -> list[State]:
        """All that Redis still knows, ended ones too, the oldest first. It looks at every key."""
        if symbol is not None:
            check_symbol(symbol)
        pattern = self._names.every_state(subject, symbol)
        keys = list(self._client.scan_iter(match=pattern, count=PAGE, _type="hash"))
        found: list[State] = []
        for start in range(0, len(keys), PAGE):
            pipeline = self._client.pipeline(transaction=False)
            for key in keys[start : start + PAGE]:
                pipeline.hgetall(key)
            found += [hash_to_state(fields) for fields in pipeline.execute() if fields]
        ours = [state for state in found if "first_log_id" in state]
        return sorted(ours, key=lambda state: parse_log_id(str(state["first_log_id"])))

    def symbols(self) -> list[str]:
        """Those that ever had an order or a position."""
        members = cast("set[bytes]", self._client.smembers(self._names.symbols))
        return sorted(member.decode() for member in members)

    def replay(
        self,
        symbol: str | None,
        *,
        since: str | datetime | None,
        from_id: str | None,
        until_id: str | None,
    ) -> Iterator[TradeEvent]:
        """Events of the log, in the order of their publication, read page by page."""
        if symbol is not None:
            check_symbol(symbol)
        start = log_start(since, from_id)
        end = "+" if until_id is None else check_log_id(until_id, "until_id")
        return self._pages(symbol, start, end)

    def after(self, log_id: str) -> Iterator[TradeEvent]:
        """Every event after that one."""
        return self._pages(None, f"({log_id}", "+")

    def log_ends(self) -> tuple[LogId, LogId]:
        """The first and the last id in the log; both BEFORE_ALL if it is empty."""
        first = cast("list[Any]", self._client.xrange(self._names.log, count=1))
        last = cast("list[Any]", self._client.xrevrange(self._names.log, count=1))
        if not first or not last:
            return BEFORE_ALL, BEFORE_ALL
        return parse_log_id(first[0][0].decode()), parse_log_id(last[0][0].decode())

    def _pages(self, symbol: str | None, start: str, end: str) -> Iterator[TradeEvent]:
        while page := cast(
            "list[tuple[bytes, dict[bytes, bytes]]]",
            self._client.xrange(self._names.log, start, end, count=PAGE),
        ):
            for log_id, fields in page:
                try:
                    event = decode_logged(log_id, fields)
                except ValueError as error:  # somebody else's entry is no reason to stop here
                    self._counters.add("undecodable")
                    log.warning("trade_events.undecodable", log_id=log_id, error=str(error))
                    continue
                if symbol is None or event.symbol == symbol:
                    yield event
            start = f"({page[-1][0].decode()}"


_OPEN: Final = frozenset({"pending", "partially_filled", "active"})


def log_start(since: str | datetime | None, from_id: str | None) -> str:
    """Where XRANGE starts: at a moment, after a log id, or at the beginning.

    Raises:
        InvalidTradeEvent: both, or not such.
    """
    if since is not None and from_id is not None:
        raise InvalidTradeEvent("since", "exclude each other: give since or from_id")
    if from_id is not None:
        return f"({check_log_id(from_id, 'from_id')}"
    if since is None:
        return "-"
    moment = datetime.fromisoformat(check_timestamp(since, "since"))
    return str(max(0, int(moment.timestamp() * 1_000)))


def check_log_id(text: object, field: str) -> str:
    """
    Raises:
        InvalidTradeEvent: it is no id of the log.
    """
    if isinstance(text, str) and _LOG_ID.fullmatch(text):
        return text
    raise InvalidTradeEvent(
        field, f"{str(text)[:60]!r} is no log id: it looks like 1795271405000-0"
    )
