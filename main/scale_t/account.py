"""Whose money it is, and the way to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from ..settings import Settings
from .venue import Endpoints, Venue


@dataclass(frozen=True, kw_only=True)
class AccountMode:
    """PAPER or LIVE, and the account. `names`: all by which a broker may call it."""

    kind: str
    number: str
    names: frozenset[str]

    @classmethod
    def of(cls, settings: Settings, account: Mapping[str, Any]) -> AccountMode:
        """From Alpaca's account object."""
        number = str(account.get("account_number") or account["id"])
        kind = "PAPER" if settings.alpaca_paper else "LIVE"
        return cls(kind=kind, number=number, names=frozenset({number, str(account["id"])}))

    def __str__(self) -> str:
        return f"{self.kind} account {self.short}"

    @property
    def short(self) -> str:
        """Its last four characters."""
        return f"…{self.number[-4:]}"


def open_venue(settings: Settings) -> Venue:
    """Needs both keys; that live trading was confirmed, the settings have checked."""
    key, secret = settings.alpaca_api_key, settings.alpaca_api_secret
    assert key is not None
    assert secret is not None
    return Venue(
        Endpoints(
            trading_url=settings.trading_url,
            data_url=settings.data_url,
            key=key.get_secret_value(),
            secret=secret.get_secret_value(),
            feed=settings.alpaca_data_feed,
        )
    )
