"""Pure: from what Alpaca's REST told to findings about keys, plan, feed and clock."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..utils.redis.messages import BrokerStatus
from .alpaca_facts import AlpacaFacts, Answer
from .findings import Notebook
from .redis_clients import judge_clock
from .redis_facts import Role

FREE_SYMBOLS: Final = 30
FREE_CALLS: Final = 200  # a minute of the market-data API; a paying plan has thousands
NEAR_LIMIT: Final = 0.1
LIVE_KEY, PAPER_KEY = "AK", "PK"
ALIVE: Final = ("STARTING", "STANDBY", "RUNNING", "DEGRADED")
BLOCKS: Final = ("trading_blocked", "account_blocked", "trade_suspended_by_user")


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What the settings say of the account and its plan."""

    paper: bool
    feed: str
    symbol_limit: int
    key_kind: str  # the key's first two letters: what kind of account it belongs to
    is_alpacas_own: bool  # not a local Alpaca, nor a proxy


def judge_alpaca(notebook: Notebook, facts: AlpacaFacts, plan: Plan) -> None:
    """Every finding that REST alone gives."""
    if plan.is_alpacas_own:
        judge_key_kind(notebook, plan)
    _judge_account(notebook, facts.account, plan)
    if facts.data is not None:
        _judge_data(notebook, facts.data, plan)
    judge_clock(notebook, "Alpaca's clock", facts.ahead_s)
    for answer in (facts.account, facts.data):
        if answer is not None:
            _judge_rate(notebook, answer)


def judge_no_keys(notebook: Notebook, role: Role, heard: BrokerStatus | None) -> None:
    """Who needs keys that are not set: a broker does, unless one runs already."""
    how = "ALPACA_API_KEY and ALPACA_API_SECRET, in .env or in the environment"
    if role != "broker":
        notebook.note("no_keys", "no keys are set: a strategy that only reads needs none")
    elif heard is not None and heard.state in ALIVE:
        notebook.note("no_keys", "no keys are set here; the broker that runs has its own", how)
    else:
        notebook.warn(
            "no_keys",
            "no keys are set: the broker needs them; demo and up run a local Alpaca instead",
            how,
        )


def judge_key_kind(notebook: Notebook, plan: Plan) -> None:
    """Alpaca's paper keys begin with PK, the live ones with AK."""
    if plan.paper and plan.key_kind == LIVE_KEY:
        notebook.error(
            "key_kind",
            "ALPACA_PAPER is true, but the key looks like a live account's (AK…)",
            "use the paper account's keys",
        )
    elif not plan.paper and plan.key_kind == PAPER_KEY:
        notebook.error(
            "key_kind",
            "ALPACA_PAPER is false, but the key looks like a paper account's (PK…)",
            "use the live account's keys, or set ALPACA_PAPER=true",
        )


def _judge_account(notebook: Notebook, answer: Answer, plan: Plan) -> None:
    kind = "paper" if plan.paper else "live"
    if answer.trouble:
        notebook.error("unreachable", answer.trouble, answer.hint)
    elif answer.status in (401, 403):
        notebook.error(
            "keys",
            f"Alpaca refuses these keys (HTTP {answer.status} from {answer.url})",
            f"check that ALPACA_API_KEY and ALPACA_API_SECRET are the {kind} account's, and not "
            "regenerated since",
        )
    elif answer.status == 429:
        notebook.warn(
            "rate_limit",
            f"Alpaca answers 429: this account asks too often ({answer.url})",
            "find the program that asks in a loop; the account's 200 calls a minute are shared",
        )
    elif answer.status != 200:
        notebook.error(
            "trading_api",
            f"HTTP {answer.status} from {answer.url}",
            "check ALPACA_TRADING_URL; if it is right, see Alpaca's status page",
        )
    else:
        _judge_blocks(notebook, answer, kind)


def _judge_blocks(notebook: Notebook, answer: Answer, kind: str) -> None:
    account = answer.body
    number = str(account.get("account_number", ""))[-4:]
    status = str(account.get("status", "ACTIVE"))
    blocks = [name for name in BLOCKS if account.get(name) is True]
    if status != "ACTIVE" or blocks:
        told = ", ".join([f"status {status}"] * (status != "ACTIVE") + blocks)
        notebook.warn(
            "account_blocked",
            f"the {kind} account …{number} may not trade: {told}",
            "prices flow all the same; clear it up in Alpaca's dashboard before you trade",
        )
    else:
        notebook.fine("keys", f"{kind} account …{number}")


def _judge_data(notebook: Notebook, answer: Answer, plan: Plan) -> None:
    if answer.trouble:
        notebook.error("data_unreachable", answer.trouble, answer.hint)
    elif answer.status == 403:
        notebook.error(
            "feed",
            f"this account's plan has no feed {plan.feed}, or the keys are not for market data "
            "(HTTP 403)",
            "set ALPACA_DATA_FEED=iex, which every plan has, or subscribe to the feed",
        )
    elif answer.status in (400, 422):
        notebook.error("feed", f"Alpaca does not know the feed {plan.feed}", "ALPACA_DATA_FEED=iex")
    elif answer.status not in (200, 429):
        notebook.warn(
            "data_api",
            f"HTTP {answer.status} from {answer.url}: after a gap nothing can be refilled",
            "check ALPACA_DATA_URL; if it is right, see Alpaca's status page",
        )
    elif answer.status == 200:
        notebook.fine("feed", f"the plan has the feed {plan.feed}")
        _judge_symbol_limit(notebook, answer, plan)


def _judge_symbol_limit(notebook: Notebook, answer: Answer, plan: Plan) -> None:
    """The rate limit of the market-data API tells the plan."""
    calls = _number(answer.headers.get("x-ratelimit-limit"))
    if calls is None or not plan.is_alpacas_own:
        return
    limit = plan.symbol_limit
    if calls <= FREE_CALLS and (limit == 0 or limit > FREE_SYMBOLS):
        notebook.warn(
            "symbol_limit",
            f"ALPACA_SYMBOL_LIMIT is {limit or 'none'}, but this looks like the free plan "
            f"({calls} calls a minute), which streams {FREE_SYMBOLS} symbols",
            f"ALPACA_SYMBOL_LIMIT={FREE_SYMBOLS}: else Alpaca rejects the one too many (405)",
        )
    elif calls > FREE_CALLS and 0 < limit <= FREE_SYMBOLS:
        notebook.note(
            "symbol_limit",
            f"the plan looks like a paid one ({calls:,} calls a minute), and only {limit} symbols "
            "are used",
            "ALPACA_SYMBOL_LIMIT=0 lifts that",
        )


def _judge_rate(notebook: Notebook, answer: Answer) -> None:
    left = _number(answer.headers.get("x-ratelimit-remaining"))
    most = _number(answer.headers.get("x-ratelimit-limit"))
    if left is not None and most and left < NEAR_LIMIT * most:
        notebook.warn(
            "rate_limit",
            f"{left} of {most:,} REST calls of this minute are left ({answer.url})",
            "find the program of this account that asks so often",
        )


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and text.isdecimal() else None
