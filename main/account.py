"""Whose money it is: asked of Alpaca before anything touches the account."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from urllib.parse import urlsplit

TIMEOUT_S = 5.0


class AccountRefused(Exception):
    """Alpaca does not know these keys, or not at this endpoint. Trying again is no use."""

    def __init__(self, url: str, status: int) -> None:
        self.url, self.status = url, status
        super().__init__(
            f"Alpaca refuses these keys at {url} (HTTP {status}): check ALPACA_API_KEY and "
            "ALPACA_API_SECRET, and that ALPACA_PAPER says which account they belong to"
        )


@dataclass(frozen=True, kw_only=True)
class AlpacaAccess:
    """An account's REST endpoint and the keys to it."""

    url: str
    key: str = field(repr=False)
    secret: str = field(repr=False)
    paper: bool = True

    @property
    def is_local(self) -> bool:
        """The local Alpaca: nobody's money."""
        return is_local(self.url)

    def banner(self, number: str | None) -> str:
        """PAPER or LIVE, and the last four characters of the account `number`."""
        kind = "PAPER" if self.paper else "LIVE"
        if number is None:
            return f"{kind} account of an unknown number: {self.url} does not answer now"
        where = "the local Alpaca" if self.is_local else "Alpaca"
        return f"{kind} account …{number[-4:]} at {where}"

    def short(self, number: str | None) -> str:
        """`…1A2B`, for the table."""
        return f"…{(number or '????')[-4:]}{' (local)' if self.is_local else ''}"

    def account_number(self) -> str | None:
        """The account's number; None when Alpaca does not answer now.

        Raises:
            AccountRefused: wrong keys, or keys of the other kind of account.
        """
        request = urllib.request.Request(
            f"{self.url}/v2/account",
            headers={"APCA-API-KEY-ID": self.key, "APCA-API-SECRET-KEY": self.secret},
        )
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                return str(json.load(answer)["account_number"])
        except urllib.error.HTTPError as error:
            if error.code in (401, 403):
                raise AccountRefused(self.url, error.code) from None
            return None
        except (OSError, ValueError, KeyError, TypeError):
            return None


def is_local(url: str) -> bool:
    """Whether an endpoint is this machine's: the local Alpaca, and not Alpaca."""
    return urlsplit(url).hostname in ("127.0.0.1", "localhost", "::1")
