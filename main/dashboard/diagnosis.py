"""Pure: in which state a ticker is, why, and what to do: the answer to "why is it silent?".

The causes are asked in the order in which they lie on the way from Alpaca to a strategy's eyes,
the nearest first: Redis, the broker, its stream, a holder, a halt, the market's hours, the ticker.
The first that fails is the answer, for whatever lies behind it cannot be seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from msgspec import UNSET

from ..utils.redis.messages import BrokerStatus
from . import words
from .market import Market

SILENT_AFTER_S: Final = 2.0  # a heartbeat comes every second
FRESH_S: Final = 30.0  # as the broker: a ticker without a message for so long is QUIET
LATE_S: Final = 5.0
OFF: Final = "OFF"  # nobody follows it: neither a fault nor a state of the broker's
ENDED_STATES: Final = ("STOPPING", "STOPPED", "REFUSED", "FAULTED")
WELL: Final = ("LIVE", "QUIET", "LAGGING")


@dataclass(frozen=True, kw_only=True)
class World:
    """What holds for all tickers at one moment. `redis_trouble` is None while Redis answers;
    `broker_age_s` counts from the last heartbeat, None if there was none yet."""

    now_s: float
    started_s: float
    redis_trouble: str | None
    broker: BrokerStatus | None
    broker_age_s: float | None
    market: Market

    @property
    def broker_silent(self) -> bool:
        return self.broker_age_s is None or self.broker_age_s > SILENT_AFTER_S

    @property
    def broker_state(self) -> str:
        """The broker's own, or SILENT; empty before one could have been heard."""
        if self.broker is None:
            waited = self.now_s - self.started_s > SILENT_AFTER_S
            return "SILENT" if waited else ""
        ended = self.broker.state in ENDED_STATES
        return "SILENT" if self.broker_silent and not ended else self.broker.state


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What of one ticker the diagnosis asks for."""

    symbol: str
    holders: int
    halted: str | None  # why, if it is
    last_at_s: float | None  # the last trade
    heard_at_s: float | None  # the last message that came here
    rate: float
    lag_s: float | None


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """`why` is empty while all is well."""

    state: str
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One link of the way. `ok` None: it could not be asked, because a nearer one fails."""

    name: str
    ok: bool | None
    words: str
    todo: str = ""
    state: str = ""


def diagnose(facts: Facts, world: World) -> Diagnosis:
    """The first cause on the way, in few words."""
    for ask in WAY:
        check = ask(facts, world)
        if not check.ok:
            return Diagnosis(state=check.state, why=check.words)
    return Diagnosis(state=_ticker(facts, world).state)


def checks(facts: Facts, world: World) -> Iterator[Check]:
    """Every link of the way. The first that fails is the cause: what is found behind it is told,
    but neither blamed nor mended."""
    cause: Ask | None = None
    for ask in WAY:
        check = ask(facts, world)
        if cause is None:
            yield check
            cause = None if check.ok else ask
        elif ask in BEHIND_BROKER and (cause in (_redis, _broker) or not check.ok):
            yield Check(name=check.name, ok=None, words="not known while the above fails")
        else:
            yield check if check.ok else Check(name=check.name, ok=None, words=check.words)


def is_crypto(symbol: str) -> bool:
    return "/" in symbol


def _redis(_facts: Facts, world: World) -> Check:
    if world.redis_trouble is None:
        return Check(name="Redis", ok=True, words="answers")
    return Check(
        name="Redis",
        ok=False,
        words=world.redis_trouble,
        todo="Start Redis, or check REDIS_URL. What was published meanwhile is in its journals.",
        state="DOWN",
    )


def _broker(_facts: Facts, world: World) -> Check:
    state = world.broker_state
    if state in ENDED_STATES:
        told = world.broker.upstream.prices.reason if world.broker else None
        return Check(
            name="Broker",
            ok=False,
            words=f"the broker is {state}" + (f": {words.word(told, 120)}" if told else ""),
            todo="Start it: `tickerbus broker`. If it ended by itself, its log says why.",
            state="DOWN",
        )
    if state == "SILENT":
        age_s = world.broker_age_s
        heard = (
            "none was heard yet" if age_s is None else f"the last was {words.duration(age_s)} ago"
        )
        return Check(
            name="Broker",
            ok=False,
            words=f"no heartbeat of a broker: {heard}",
            todo="Start it: `tickerbus broker`; or check BUS_PREFIX. What was missed is refilled.",
            state="DOWN",
        )
    if state in ("", "STARTING"):
        return Check(name="Broker", ok=False, words="the broker is starting", state="CONNECTING")
    return Check(name="Broker", ok=True, words=f"{state}, its heartbeat comes every second")


def _stream(facts: Facts, world: World) -> Check:
    name = "Alpaca's prices"
    if world.broker is None:
        return Check(name=name, ok=None, words="not known")
    prices = world.broker.upstream.prices
    since = words.clock(words.unix_s(prices.since))
    # Stocks and crypto are two streams, and the worse speaks for both: the ticker knows better.
    told = ticker_state(facts, world) if is_followed(facts.symbol, world.broker) else prices.state
    if told in (*WELL, "MUTE"):
        return Check(name=name, ok=True, words=f"connected since {since} UTC")
    reason = f": {words.word(prices.reason, 160)}" if prices.reason else ""
    return Check(
        name=name,
        ok=False,
        words=f"the stream is {told} since {since} UTC{reason}",
        todo="The broker connects again by itself; what was missed comes as a gap, refilled by "
        "REST where Alpaca has it."
        if told != "REFUSED"
        else "Alpaca refuses it for good: check the keys, the plan and ALPACA_DATA_FEED.",
        state=told,
    )


def _holder(facts: Facts, world: World) -> Check:
    followed = is_followed(facts.symbol, world.broker)
    if facts.holders:
        if followed is False:
            return Check(
                name="Holders",
                ok=False,
                words=f"{words.count(facts.holders, 'holder')}, but the broker does not follow it",
                todo="It was asked for just now, or Alpaca did not take it: see the reply.",
                state="CONNECTING",
            )
        return Check(name="Holders", ok=True, words=words.count(facts.holders, "holder"))
    return Check(
        name="Holders",
        ok=False,
        words="nobody holds it",
        todo="Subscribe it here, or let a strategy register it. If there is no such ticker, the "
        "reply says so.",
        state=OFF,
    )


def _halt(facts: Facts, _world: World) -> Check:
    if facts.halted is None:
        return Check(name="Halt", ok=True, words="not halted, as far as the journal tells")
    return Check(
        name="Halt",
        ok=False,
        words=f"trading is halted: {facts.halted}",
        todo="Nothing to do here: prices come again when the exchange resumes it.",
        state="QUIET",
    )


def _hours(facts: Facts, world: World) -> Check:
    market = world.market
    if is_crypto(facts.symbol):
        return Check(name="Market", ok=True, words="crypto trades around the clock")
    until = market.changes_s and market.changes_s - world.now_s
    when = f" for {words.duration(until)}" if until and until > 0 else ""
    if market.is_open:
        return Check(name="Market", ok=True, words=f"open{when}, {market.source}")
    # The broker calls a ticker mute or late only while it should trade.
    if _is_fresh(facts, world) or ticker_state(facts, world) in ("MUTE", "LAGGING"):
        return Check(name="Market", ok=True, words=f"closed, but it trades ({market.source})")
    return Check(
        name="Market",
        ok=False,
        words=f"the market is closed{when}",
        todo=f"Nothing to do: known {market.source}.",
        state="QUIET",
    )


def _ticker(facts: Facts, world: World) -> Check:
    state, age_s = ticker_state(facts, world), _age_s(facts, world)
    ago = "no trade was seen yet" if age_s is None else f"last trade {words.duration(age_s)} ago"
    late = "late" if facts.lag_s is None else f"{words.lag(facts.lag_s)} late"
    name = "Trades"
    if state == "MUTE":
        return Check(
            name=name,
            ok=False,
            words=f"it should trade and does not: {ago}",
            todo="The broker asks Alpaca for it again by itself.",
            state=state,
        )
    if state == "LAGGING":
        return Check(
            name=name,
            ok=False,
            words=f"its trades come {late}",
            todo="Alpaca, the network or this machine is too slow: see Health.",
            state=state,
        )
    if state == "QUIET":
        return Check(
            name=name,
            ok=False,
            words=f"{ago}: nobody trades it now",
            todo="Nothing is wrong that can be seen from here."
            + (" The free feed IEX has few trades of small stocks." if age_s is None else ""),
            state=state,
        )
    if state != "LIVE":
        return Check(name=name, ok=False, words=f"the broker says {state}", state=state)
    return Check(name=name, ok=True, words=f"{ago}, {words.rate(facts.rate)} a second", state=state)


Ask = Callable[[Facts, World], Check]
WAY: Final[tuple[Ask, ...]] = (_redis, _broker, _stream, _holder, _halt, _hours, _ticker)
BEHIND_BROKER: Final = (_stream, _holder, _ticker)


def ticker_state(facts: Facts, world: World) -> str:
    """The broker's word where it tells of each ticker, else what is seen here."""
    broker = world.broker
    if broker is not None and broker.tickers is not UNSET and facts.symbol in broker.tickers:
        told = broker.tickers[facts.symbol].state
        # It judges a few times a second; a trade that is here already is the newer truth.
        return "LIVE" if told == "QUIET" and _is_fresh(facts, world) else told
    if broker is not None and broker.unwell is not UNSET and facts.symbol in broker.unwell:
        return broker.unwell[facts.symbol]
    if not _is_fresh(facts, world):
        return "QUIET"
    return "LAGGING" if (facts.lag_s or 0.0) > LATE_S else "LIVE"


def is_followed(symbol: str, broker: BrokerStatus | None) -> bool | None:
    """Whether the broker follows it upstream; None where its heartbeat does not tell."""
    if broker is None or broker.tickers is UNSET:
        return None
    return symbol in broker.tickers


def _is_fresh(facts: Facts, world: World) -> bool:
    age_s = _age_s(facts, world)
    return age_s is not None and age_s <= FRESH_S


def _age_s(facts: Facts, world: World) -> float | None:
    return None if facts.last_at_s is None else max(0.0, world.now_s - facts.last_at_s)
