"""The faults that are in force, and what they do to messages on their way. Pure.

A rule names an endpoint and perhaps tickers, and ends after a number of uses, at a moment, or
when everything is healed. Rules are looked at in the order in which they were made.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Generic, Literal, TypeVar

from .hub import Reader
from .outbox import Published
from .trading_desk import Event, TradingReader

Kind = Literal[
    "mute",
    "drop",
    "duplicate",
    "reorder",
    "delay",
    "null_event",
    "refuse_handshake",
    "refuse_sign_in",
    "refuse_subscribe",
    "die_in_subscribe",
    "omit_from_ack",
    "ack_delay",
    "rest_error",
]
DATA_ENDPOINTS = frozenset({"iex", "sip", "delayed_sip", "test", "crypto", "indicative", "opra"})
_LINE_BOUND = 1_000_000
_T = TypeVar("_T")


@dataclass
class Rule:
    """One fault in force."""

    kind: Kind
    endpoint: str  # a feed's name, "trading", "data" for every feed, "all"; a path for REST
    symbols: frozenset[str] | None = None
    remaining: int | None = None
    until_ns: int | None = None
    value: Any = None
    held: dict[tuple[int, str], Any] = field(default_factory=dict)

    def concerns(self, endpoint: str, symbol: str | None, now_ns: int) -> bool:
        """Whether this rule is for such a message, now."""
        if self.remaining is not None and self.remaining <= 0:
            return False
        if self.until_ns is not None and now_ns >= self.until_ns:
            return False
        if not covers(self.endpoint, endpoint):
            return False
        return self.symbols is None or symbol is None or symbol in self.symbols

    def spend(self) -> None:
        """One use."""
        if self.remaining is not None:
            self.remaining -= 1


def covers(wanted: str, endpoint: str) -> bool:
    """Whether a rule's endpoint means this one."""
    return wanted in ("all", endpoint) or (wanted == "data" and endpoint in DATA_ENDPOINTS)


@dataclass
class Lag:
    """Messages come late: by a fixed time, by one that grows, or in rare heaps."""

    seconds: float = 0.0
    growth: float = 0.0  # seconds of further lag per second
    heap_s: float = 0.0  # what waits goes out together, this often
    per_s: float = 0.0  # at most so many messages a second
    since_ns: int = 0

    def due_ns(self, now_ns: int, last_due_ns: int) -> int:
        """When a message of now comes out; never before the one ahead of it."""
        elapsed_s = (now_ns - self.since_ns) / 1e9
        due = now_ns + int((self.seconds + elapsed_s * self.growth) * 1e9)
        if self.per_s:
            due = max(due, last_due_ns + int(1e9 / self.per_s))
        if self.heap_s:
            heap_ns = int(self.heap_s * 1e9)
            due = -(-due // heap_ns) * heap_ns
        return max(due, last_due_ns)


class DelayLine(Generic[_T]):
    """What is held back for each connection, first in, first out."""

    def __init__(self, deliver: Callable[[int, _T], None]) -> None:
        self._deliver = deliver
        self._lines: dict[int, deque[tuple[int, _T]]] = {}
        self.dropped = 0  # the oldest go first

    @property
    def holding(self) -> bool:
        """Whether anything is held back for anyone."""
        return any(self._lines.values())

    def waits(self, connection: int) -> bool:
        """Whether something is ahead of the next message."""
        return bool(self._lines.get(connection))

    def hold(self, connection: int, item: _T, lag: Lag, now_ns: int) -> None:
        """Hold back one message."""
        line = self._lines.setdefault(connection, deque())
        if len(line) >= _LINE_BOUND:
            line.popleft()
            self.dropped += 1
        line.append((lag.due_ns(now_ns, line[-1][0] if line else 0), item))

    def release(self, now_ns: int) -> None:
        """Let go of what is due."""
        for connection, line in list(self._lines.items()):
            while line and line[0][0] <= now_ns:
                self._deliver(connection, line.popleft()[1])

    def shift(self, by_ns: int) -> None:
        """The clock was stepped."""
        for line in self._lines.values():
            for index, (due_ns, item) in enumerate(line):
                line[index] = (due_ns + by_ns, item)

    def release_all(self) -> None:
        """Let go of everything."""
        for line in self._lines.values():
            for index, (_, item) in enumerate(line):
                line[index] = (0, item)
        self.release(1)

    def forget(self, connection: int) -> None:
        """The connection has ended."""
        self._lines.pop(connection, None)


class FaultBoard:
    """The rules in force. Without any, nothing is looked at per message."""

    def __init__(
        self,
        offer: Callable[[int, Published], None],
        tell: Callable[[int, Event], None],
    ) -> None:
        self.rules: list[Rule] = []
        self.data_line: DelayLine[Published] = DelayLine(offer)
        self.event_line: DelayLine[Event] = DelayLine(tell)
        self.now_ns = 0

    def busy(self) -> bool:
        """Whether messages must be looked at: a rule is in force, or something is held back."""
        return bool(self.rules) or self.data_line.holding

    def add(self, rule: Rule) -> Rule:
        """Put a fault in force."""
        if isinstance(rule.value, Lag):
            rule.value.since_ns = self.now_ns
        self.rules.append(rule)
        return rule

    def tick(self, now_ns: int) -> None:
        """Time goes on: let go of what was delayed, forget rules that are over."""
        self.now_ns = now_ns
        if self.rules:
            self.rules = [rule for rule in self.rules if not self._over(rule)]
        self.data_line.release(now_ns)
        self.event_line.release(now_ns)

    def shift(self, by_ns: int) -> None:
        """The clock was stepped: faults last as long as they would have."""
        for rule in self.rules:
            if rule.until_ns is not None:
                rule.until_ns += by_ns
            if isinstance(rule.value, Lag):
                rule.value.since_ns += by_ns
        self.data_line.shift(by_ns)
        self.event_line.shift(by_ns)
        self.now_ns += by_ns

    def heal(self) -> None:
        """End every rule, and let go of everything held back."""
        for rule in self.rules:
            for (connection, _), items in rule.held.items():
                for item in items:
                    line = self.data_line if isinstance(item, Published) else self.event_line
                    line.hold(connection, item, Lag(), self.now_ns)
        self.rules.clear()
        self.data_line.release_all()
        self.event_line.release_all()

    def find(self, kind: Kind, endpoint: str, symbol: str | None = None) -> Rule | None:
        """The first rule of a kind that concerns this; it is spent once."""
        for rule in self.rules:
            if rule.kind == kind and rule.concerns(endpoint, symbol, self.now_ns):
                rule.spend()
                return rule
        return None

    def find_for_path(self, path: str) -> Rule | None:
        """The first REST fault for this path; it is spent once."""
        for rule in self.rules:
            if rule.kind == "rest_error" and path.startswith(rule.endpoint):
                rule.spend()
                return rule
        return None

    def filter_data(self, reader: Reader, item: Published) -> Iterable[Published]:
        """What a market message becomes on its way to one connection."""
        passed, key = [item], (reader.number, item.symbol)
        for rule in self.rules:
            if passed and (
                key in rule.held or rule.concerns(reader.endpoint, item.symbol, self.now_ns)
            ):
                passed = self._apply(rule, reader.number, item.symbol, passed, self.data_line)
        return self._behind(reader.number, passed, self.data_line)

    def filter_event(self, reader: TradingReader, event: Event) -> list[Event]:
        """What an order event becomes on its way to one connection."""
        passed = [event]
        symbol = str(event["order"].get("symbol"))
        slot = f"orders of {symbol}"  # data connections have numbers of their own
        key = (reader.number, slot)
        for rule in self.rules:
            wanted = rule.value if isinstance(rule.value, str) else None
            if wanted is not None and event.get("event") != wanted:
                continue
            if passed and (key in rule.held or rule.concerns("trading", symbol, self.now_ns)):
                passed = self._apply(rule, reader.number, slot, passed, self.event_line)
        return self._behind(reader.number, passed, self.event_line)

    def _apply(
        self, rule: Rule, connection: int, symbol: str, items: list[_T], line: DelayLine[_T]
    ) -> list[_T]:
        match rule.kind:
            case "mute":
                return []
            case "drop":
                rule.spend()
                return []
            case "duplicate":
                rule.spend()
                return items * 2
            case "reorder":
                return _swap(rule, (connection, symbol), items)
            case "delay":
                for item in items:
                    line.hold(connection, item, rule.value, self.now_ns)
                return []
            case _:
                return items

    def _behind(self, connection: int, items: list[_T], line: DelayLine[_T]) -> list[_T]:
        if not items or not line.waits(connection):
            return items
        for item in items:
            line.hold(connection, item, Lag(), self.now_ns)
        return []

    def _over(self, rule: Rule) -> bool:
        spent = rule.remaining is not None and rule.remaining <= 0 and not rule.held
        return spent or (rule.until_ns is not None and self.now_ns >= rule.until_ns)


def _swap(rule: Rule, key: tuple[int, str], items: list[_T]) -> list[_T]:
    # Holds one message back until the next of the same ticker has gone ahead of it.
    held = rule.held.pop(key, None)
    if held is not None:
        return [*items, *held]
    rule.spend()
    rule.held[key] = items
    return []
