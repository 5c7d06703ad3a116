"""A thin shell: what a person asks of the broker from the page: follow a ticker, let go of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from ..utils.redis.constants import normalize_ticker
from ..utils.redis.errors import BusError, InvalidTicker
from ..utils.redis.messages import RegistrationReply
from ..utils.redis.registration import RegistrationClient
from . import words
from .config import DashboardConfig

MAX_AT_ONCE: Final = 100
FOR_EVER: Final = 0
LEASES: Final = {
    3_600: "1 hour",
    28_800: "8 hours",
    86_400: "24 hours",
    FOR_EVER: "until unsubscribed",
}


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One line for the person."""

    ok: bool
    words: str


class Registrar:
    """Any thread may call it. Each call waits for the broker's replies, six seconds at most."""

    def __init__(self, config: DashboardConfig) -> None:
        self._config = config

    @property
    def client_id(self) -> str:
        return self._config.client_id

    @property
    def may_let_go_for_others(self) -> bool:
        """In secured mode Redis binds the client id to its user: then only for itself."""
        return not self._config.secured

    def leases(self) -> dict[int, str]:
        """How long one may ask for: the seconds, and the words."""
        named = {s: text for s, text in LEASES.items() if s != FOR_EVER}
        return named if self._config.secured else dict(LEASES)

    def subscribe(self, text: str, lease_s: int) -> list[Answer]:
        """Of tickers with blanks or commas between them."""
        if lease_s not in self.leases():
            return [Answer(ok=False, words="choose how long from the list")]
        tickers, answers = _parse(text)
        if not tickers:
            return answers or [Answer(ok=False, words="name at least one ticker, such as AAPL")]
        client_id = None if lease_s == FOR_EVER else self._config.client_id
        term = LEASES[lease_s] if lease_s == FOR_EVER else f"for {LEASES[lease_s]}"
        try:
            with self._client(client_id) as client:
                replies = client.register(tickers, lease_s or 1)
        except BusError as error:
            return [*answers, Answer(ok=False, words=words.word(error, 240))]
        return [*answers, *(_answer(reply, f"followed {term}") for reply in replies)]

    def unsubscribe(self, ticker: str, client_id: str) -> list[Answer]:
        """One client's hold on one ticker; the anonymous have the empty id."""
        if client_id != self._config.client_id and not self.may_let_go_for_others:
            return [Answer(ok=False, words="REGISTRATION_SECURED: only the holder may let go")]
        tickers, answers = _parse(ticker)
        if not tickers:
            return answers
        try:
            with self._client(client_id or None) as client:
                replies = client.unregister(tickers)
        except (BusError, ValueError) as error:
            return [Answer(ok=False, words=words.word(error, 240))]
        return [_answer(reply, f"let go for {client_id or 'the anonymous'}") for reply in replies]

    def _client(self, client_id: str | None) -> RegistrationClient:
        return RegistrationClient(self._config.redis, client_id, secured=self._config.secured)


def _parse(text: str) -> tuple[list[str], list[Answer]]:
    tickers, wrong = [], []
    for part in text.replace(",", " ").split()[:MAX_AT_ONCE]:
        try:
            tickers.append(normalize_ticker(part))
        except InvalidTicker as error:
            wrong.append(Answer(ok=False, words=words.word(error, 160)))
    return list(dict.fromkeys(tickers)), wrong


def _answer(reply: RegistrationReply, done: str) -> Answer:
    ticker = words.word(reply.ticker or "?", 32)
    if reply.status == "accepted":
        return Answer(ok=True, words=f"{ticker}: {done}, {words.count(reply.holders, 'holder')}")
    told = words.word(reply.detail or reply.reason, 200)
    return Answer(ok=False, words=f"{ticker}: rejected, {told}")


def describe(answers: Sequence[Answer]) -> str:
    return "; ".join(answer.words for answer in answers)
