"""Pure: who may see the page, and whose form it was that came.

On loopback there is no password, so the names by which a browser may call us are the guard: a
page elsewhere whose name was bent to 127.0.0.1 comes with its own name. With a token, whoever
knows it gets a session cookie. A form counts only with the secret that its page was given, which
another site cannot read, and from our own origin.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import urlsplit

LOCAL_NAMES: Final = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})
WRONG_TRIES: Final = 5
WRONG_WITHIN_S: Final = 60.0
SESSION_S: Final = 7 * 86_400  # of a browser's cookie; a new start of the page ends it, too


@dataclass
class Guard:
    """`token` None: only this machine reaches us, and everybody on it may look."""

    token: str | None = None
    clock_s: Callable[[], float] = time.monotonic
    _secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    _wrong_s: deque[float] = field(default_factory=lambda: deque(maxlen=WRONG_TRIES))

    def knows_host(self, host: str | None) -> bool:
        """Whether a request that calls us `host` was meant for us."""
        if self.token is not None:
            return True  # its cookie was given to one name, and no other gets it
        try:
            return urlsplit(f"//{host or ''}").hostname in LOCAL_NAMES
        except ValueError:
            return False

    def is_from_elsewhere(self, headers: Mapping[str, str]) -> bool:
        """Whether another site's page asks in the background, be it for nothing but our time. That
        a link there leads here is fine."""
        here = headers.get("sec-fetch-site", "none") in ("same-origin", "none")
        return not here and headers.get("sec-fetch-mode") != "navigate"

    # -- sessions

    def new_session(self, *, signed_in: bool = False) -> str:
        """A cookie's value: random, whether it knew the token, and our signature."""
        word = f"{secrets.token_hex(16)}.{int(signed_in)}"
        return f"{word}.{self._sign('session', word)}"

    def is_session(self, cookie: str | None) -> bool:
        word, _, signature = (cookie or "").rpartition(".")
        return bool(word) and _same(signature, self._sign("session", word))

    def may_look(self, cookie: str | None, authorization: str | None = None) -> bool:
        if self.token is None:
            return True
        kind, _, given = (authorization or "").partition(" ")
        if kind.lower() == "bearer" and _same(given.strip(), self.token):
            return True
        return self.is_session(cookie) and (cookie or "").split(".")[1] == "1"

    def sign_in(self, given: str) -> str | None:
        """A session for who knows the token."""
        if self.token is None or self.is_barred():
            return None  # not counted: or else whoever guesses could keep the owner out for ever
        if not _same(given.strip(), self.token):
            self._wrong_s.append(self.clock_s())
            return None
        return self.new_session(signed_in=True)

    def is_barred(self) -> bool:
        """After five wrong tokens within a minute nobody may try for the rest of it."""
        full = len(self._wrong_s) == WRONG_TRIES
        return full and self.clock_s() - self._wrong_s[0] < WRONG_WITHIN_S

    # -- forms

    def form_secret(self, cookie: str) -> str:
        """What a form of this session's pages carries."""
        return self._sign("form", cookie)

    def is_own_form(self, cookie: str | None, given: str, headers: Mapping[str, str]) -> bool:
        """Whether a page of ours made it, for this session."""
        if not self.is_session(cookie) or not _same(given, self.form_secret(cookie or "")):
            return False
        if headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return False
        origin = headers.get("origin")
        if origin is None:
            return True
        try:
            return urlsplit(origin).netloc == headers.get("host", "")
        except ValueError:
            return False

    def _sign(self, purpose: str, word: str) -> str:
        text = f"{purpose}:{word}".encode()
        return hmac.new(self._secret, text, hashlib.sha256).hexdigest()


def _same(given: str, right: str) -> bool:
    """Takes as long whatever is wrong with it."""
    return hmac.compare_digest(given.encode(), right.encode())
