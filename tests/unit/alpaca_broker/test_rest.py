"""The lists that Alpaca's REST gives in pages."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from main.alpaca_broker.rest import TradingRest
from main.utils.redis.messages import parse_rfc3339, rfc3339

PAGE, COUNT = 500, 1_234
BEGAN_NS = parse_rfc3339("2026-11-20T15:00:00Z")


class Listed(TradingRest):
    """Alpaca's list, in the order of submission; each hundredth order still waits for its turn."""

    def _json(self, path: str, shape: Any, timeout_s: float = 0.0) -> Any:
        after = parse_qs(urlsplit(path).query).get("after", [rfc3339(0)])[0]
        moments = [BEGAN_NS + number * 10 for number in range(COUNT)]
        later = [n for n, at_ns in enumerate(moments) if at_ns > parse_rfc3339(after)]
        return [
            {"id": n, "submitted_at": None if n % 100 == 99 else rfc3339(moments[n])}
            for n in later[:PAGE]
        ]


class Unruly(Listed):
    """One order was submitted long after its place in the list."""

    def _json(self, path: str, shape: Any, timeout_s: float = 0.0) -> Any:
        page = super()._json(path, shape, timeout_s)
        late = rfc3339(BEGAN_NS + 60_000_000_000)
        return [each | {"submitted_at": late} if each["id"] == 10 else each for each in page]


def test_an_order_out_of_its_place_hides_no_other() -> None:
    rest = Unruly(url="", key="", secret="")
    assert [order["id"] for order in rest.orders(None)] == list(range(COUNT))


def test_a_page_that_ends_with_an_order_of_no_moment_is_not_the_last() -> None:
    rest = Listed(url="", key="", secret="")
    assert [order["id"] for order in rest.orders(None)] == list(range(COUNT))
