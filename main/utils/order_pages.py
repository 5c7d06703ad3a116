"""Pure: a list of orders that Alpaca gives page by page, newest first."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from .answers import OrderData
from .redis.messages import parse_rfc3339, rfc3339

PAGE: Final = 500  # Alpaca's most
MOST_PAGES: Final = 400  # 200,000 orders; two minutes of the account's requests


class TooManyOrders(Exception):
    """A history of orders that is longer than what is read, or that cannot be read to its end."""

    retry = False


class OrderPages:
    """Give it each page; it says until when to ask for the next."""

    def __init__(self, what: str, max_pages: int = MOST_PAGES, size: int = PAGE) -> None:
        self._what, self._max_pages, self._size = what, max_pages, size
        self._found: dict[str, OrderData] = {}
        self._pages = 0

    @property
    def orders(self) -> list[OrderData]:
        """All that was listed, each once, newest first."""
        return list(self._found.values())

    def take(self, page: list[OrderData]) -> str | None:
        """`until` for the next page (RFC 3339), None when this was the last.

        Raises:
            TooManyOrders: more than `max_pages` pages, or no page would bring more.
        """
        known = len(self._found)
        for order in page:
            self._found.setdefault(str(order["id"]), order)
        if len(page) < self._size:
            return None
        self._pages += 1
        if self._pages >= self._max_pages:
            raise TooManyOrders(f"{self._what} has more than {self._pages * self._size:,} orders")
        oldest_ns = min(moments_ns(page), default=None)
        if oldest_ns is None or len(self._found) == known:
            raise TooManyOrders(
                f"{self._what}: Alpaca lists {known:,} orders and then none that are older, "
                "though there must be some"
            )
        # A bracket's orders share a moment, which may lie on the edge of two pages.
        return rfc3339(oldest_ns + 1)


def moments_ns(page: Iterable[Mapping[str, object]]) -> Iterable[int]:
    """When they were submitted, where they say so: one that waits for its turn may not."""
    for order in page:
        try:
            yield parse_rfc3339(str(order.get("submitted_at")))
        except ValueError:
            continue
