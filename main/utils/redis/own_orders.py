"""Pure: whose order it is, by the wire contract, and ids that say so.

An order belongs to `<client_id>` if its `client_order_id` starts with `<client_id>:`; legs inherit
from the parent, replacements through `replaces`. Whoever else's it is: it is foreign.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final

from ..orders import belongs_to
from .messages import OrderMessage

LONGEST_ORDER_ID: Final = 128  # Alpaca's bound for a client_order_id
KEPT_IDS: Final = 100_000
HELD_MESSAGES: Final = 1_000


def new_order_id(client_id: str, words: tuple[str, ...]) -> str:
    """`<client_id>:<word>:…:<unique>`.

    Raises:
        ValueError: a word is empty or holds what is not printable ASCII, or the id gets too long.
    """
    for word in words:
        if not (isinstance(word, str) and word and word.isascii() and word.isprintable()):
            raise ValueError(
                f"{word!r} cannot be a part of an order id: printable ASCII, not empty"
            )
    made = ":".join((client_id, *words, uuid.uuid4().hex))
    if len(made) > LONGEST_ORDER_ID:
        over = len(made) - LONGEST_ORDER_ID
        raise ValueError(f"the order id would be {over} characters too long: use shorter words")
    return made


class OwnOrders:
    """Picks a client's own orders out of a ticker's order messages. One thread at a time.

    Arrival order is not event order: a leg's event may come before the parent's, which alone says
    whose it is. So the last foreign messages are held, and come after the one that claims them.
    """

    def __init__(
        self, client_id: str, kept_ids: int = KEPT_IDS, held_messages: int = HELD_MESSAGES
    ) -> None:
        self._client_id, self._kept_ids, self._held_messages = client_id, kept_ids, held_messages
        self._ids: dict[str, None] = {}  # in the order of arrival: the oldest are forgotten first
        self._held: dict[int, OrderMessage] = {}
        self._held_count = 0
        self._news = False  # ids became known since the held messages were looked through

    def pick(self, message: OrderMessage) -> list[OrderMessage]:
        """What of the client's own can be handed over now that this message has come."""
        picked = [message] if self.learn(message) else []
        if not picked:
            self._hold(message)
        if self._news:
            picked += self._claimed()
            while len(self._ids) > self._kept_ids:
                del self._ids[next(iter(self._ids))]
        return picked

    def learn(self, message: OrderMessage) -> bool:
        """Remember what the message says of orders; whether its order is the client's."""
        order_data = message.order_data
        if not self._is_own(order_data):
            return False
        known = len(self._ids)
        for order_id in _names(order_data):
            self._ids.setdefault(order_id)
        self._news = self._news or len(self._ids) != known
        return True

    def _is_own(self, order_data: Mapping[str, Any]) -> bool:
        client_order_id = order_data.get("client_order_id")
        if isinstance(client_order_id, str) and belongs_to(self._client_id, client_order_id):
            return True
        links = (order_data.get("id"), order_data.get("replaces"))
        return any(isinstance(link, str) and link in self._ids for link in links)

    def _hold(self, message: OrderMessage) -> None:
        self._held[self._held_count] = message
        self._held_count += 1
        if len(self._held) > self._held_messages:
            del self._held[next(iter(self._held))]

    def _claimed(self) -> Iterator[OrderMessage]:
        """Held messages that turn out to be ours; one of them may claim others in turn."""
        while self._news:
            self._news = False
            for number, held in list(self._held.items()):
                if self.learn(held):
                    yield self._held.pop(number)


def _names(order_data: Mapping[str, Any]) -> Iterator[str]:
    """The ids of an order, of what replaced it, and of its legs."""
    for key in ("id", "replaced_by"):
        if isinstance(order_id := order_data.get(key), str) and order_id:
            yield order_id
    legs = order_data.get("legs")
    for leg in legs if isinstance(legs, list) else ():
        if isinstance(leg, Mapping):
            yield from _names(leg)
