"""Asking Alpaca's REST: the account, the plan, the clock. Nothing is ordered, nothing streamed."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final
from urllib.parse import urlsplit

from ..utils.redis.messages import parse_rfc3339

TIMEOUT_S: Final = 4.0
ASKED_SYMBOL: Final = "AAPL"
MAX_BODY: Final = 1_048_576


@dataclass(frozen=True, kw_only=True)
class Answer:
    """Of one call. `status` is 0 when there was none; then `trouble` says why, and `hint` what to
    do about it."""

    url: str
    status: int = 0
    body: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    trouble: str = ""
    hint: str = ""


@dataclass(frozen=True, kw_only=True)
class AlpacaFacts:
    """`data` is None for a feed that REST does not have."""

    account: Answer
    data: Answer | None
    ahead_s: float | None  # Alpaca's clock minus ours

    @property
    def account_id(self) -> str | None:
        found = self.account.body.get("id")
        return str(found) if found and self.account.status == 200 else None

    @property
    def account_name(self) -> str:
        """The end of its number, as Alpaca's own pages show it."""
        return f"…{str(self.account.body.get('account_number', ''))[-4:]}"


@dataclass(frozen=True, kw_only=True)
class AlpacaQuestion:
    """Whom to ask, with which keys."""

    trading_url: str
    data_url: str
    feed: str
    key: str = field(repr=False)
    secret: str = field(repr=False)


def gather(question: AlpacaQuestion) -> AlpacaFacts:
    """Three calls, each with a deadline. Never raises: what went wrong is an answer too."""
    account = _get(question, f"{question.trading_url}/v2/account")
    ahead_s = _ahead_s(question) if account.status == 200 else None
    data = None
    if question.feed != "test":
        query = f"symbols={ASKED_SYMBOL}&feed={question.feed}"
        data = _get(question, f"{question.data_url}/v2/stocks/trades/latest?{query}")
    return AlpacaFacts(account=account, data=data, ahead_s=ahead_s)


def _ahead_s(question: AlpacaQuestion) -> float | None:
    before = time.time()
    answer = _get(question, f"{question.trading_url}/v2/clock")
    middle = (before + time.time()) / 2
    try:
        return parse_rfc3339(str(answer.body["timestamp"])) / 1e9 - middle
    except (KeyError, ValueError):
        return None


def _get(question: AlpacaQuestion, url: str) -> Answer:
    keys = {"APCA-API-KEY-ID": question.key, "APCA-API-SECRET-KEY": question.secret}
    shown = url.partition("?")[0]
    try:
        request = urllib.request.Request(url, headers=keys)
        with urllib.request.urlopen(request, timeout=TIMEOUT_S) as response:
            return _answered(shown, response.status, response)
    except urllib.error.HTTPError as error:
        with error:
            return _answered(shown, error.code, error)
    except urllib.error.URLError as error:
        trouble, hint = explain(error.reason, url)
        return Answer(url=shown, trouble=trouble, hint=hint)
    except (OSError, ValueError, http.client.HTTPException) as error:
        trouble, hint = explain(error, url)
        return Answer(url=shown, trouble=trouble, hint=hint)


def _answered(url: str, status: int, response: Any) -> Answer:
    headers = {name.lower(): value for name, value in response.headers.items()}
    try:
        body = json.loads(response.read(MAX_BODY))
    except ValueError:
        body = None
    return Answer(
        url=url, status=status, headers=headers, body=body if isinstance(body, dict) else {}
    )


def explain(reason: object, url: str) -> tuple[str, str]:
    """Why a host was not reached, and what to do about it."""
    host = urlsplit(url).netloc
    if isinstance(reason, socket.gaierror):
        return (
            f"no address is known for {host}",
            "check the name in the ALPACA_…_URL settings, and this machine's DNS",
        )
    if isinstance(reason, ssl.SSLError):
        return (
            f"no trusted connection to {host}: {reason.reason or reason}",
            "check this machine's clock and certificates, and whether a proxy is in between",
        )
    if isinstance(reason, ConnectionRefusedError):
        return f"nobody listens at {host}", "check the ALPACA_…_URL settings"
    if isinstance(reason, TimeoutError):
        return (
            f"no answer from {host} within {TIMEOUT_S:.0f} s",
            "check the network and its firewall; then Alpaca's status page",
        )
    return f"{host} cannot be reached: {reason}", "check the ALPACA_…_URL settings and the network"
