"""The publishers' side of the sender: packing, waiting, receipts."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from .errors import InvalidTradeEvent, PublishRefused
from .events import TradeEvent
from .receipts import Receipt, Status
from .sender import Sender
from .tickets import Outgoing, Ticket
from .wire import pack_event

SLICE: Final = 512  # `publish_many` packs this many while Redis works on those before
AHEAD: Final = 8  # slices on their way


@dataclass(frozen=True, kw_only=True)
class _Sent:
    """One slice: its event ids, and how many of them found room."""

    ticket: Ticket
    event_ids: list[str]
    taken: int


class Publisher:
    """Any thread may call it. It waits at most `timeout_s` for Redis' word."""

    def __init__(self, sender: Sender, timeout_s: float) -> None:
        self._sender, self._timeout_s = sender, timeout_s

    def publish(self, event: TradeEvent, *, wait: bool) -> Receipt:
        """
        Raises:
            InvalidTradeEvent, PublishRefused: as the bus says.
        """
        packed = pack_event(_checked(event))
        if not wait:
            taken = self._sender.put((Outgoing(event.event_id, packed, None, 0),))
            return self._unsent(event.event_id, "spooled" if taken else "dropped")
        ticket = Ticket(1)
        if not self._sender.send(Outgoing(event.event_id, packed, ticket, 0), self._timeout_s):
            return self._unsent(event.event_id, "dropped")
        self._wait(ticket)
        if (outcome := ticket.outcomes[0]) is not None:
            return _receipt(outcome)
        return self._unsent(event.event_id, "spooled")

    def publish_many(self, events: Iterable[TradeEvent]) -> list[Receipt]:
        """
        Raises:
            InvalidTradeEvent, PublishRefused: as the bus says.
        """
        sent: list[_Sent] = []
        batch: list[TradeEvent] = []
        for event in events:
            batch.append(event)
            if len(batch) == SLICE:
                self._send(batch, sent)
                batch = []
        self._send(batch, sent)
        return [receipt for each in sent for receipt in self._receipts(each)]

    def _send(self, events: list[TradeEvent], sent: list[_Sent]) -> None:
        if not events:
            return
        if len(sent) >= AHEAD:
            self._wait(sent[-AHEAD].ticket)
        ticket = Ticket(len(events))
        items = [
            Outgoing(event.event_id, pack_event(_checked(event)), ticket, place)
            for place, event in enumerate(events)
        ]
        taken = self._sender.put(items)
        sent.append(_Sent(ticket=ticket, event_ids=[each.event_id for each in items], taken=taken))

    def _receipts(self, sent: _Sent) -> Iterator[Receipt]:
        self._wait(sent.ticket)
        for place, event_id in enumerate(sent.event_ids):
            if place >= sent.taken:
                yield self._unsent(event_id, "dropped")
            elif (outcome := sent.ticket.outcomes[place]) is None:
                yield self._unsent(event_id, "spooled")
            else:
                yield _receipt(outcome)

    def _wait(self, ticket: Ticket) -> None:
        if not self._sender.health.behind:
            ticket.wait(self._timeout_s)
            if not ticket.is_settled:
                # Nobody else need wait as long, until Redis answers.
                self._sender.health.behind = True

    def _unsent(self, event_id: str, status: Status) -> Receipt:
        return Receipt(event_id=event_id, status=status, reason=self._sender.health.trouble)


def _checked(event: TradeEvent) -> TradeEvent:
    if isinstance(event, TradeEvent):
        return event
    raise InvalidTradeEvent("event", f"must be a TradeEvent, not {type(event).__name__}")


def _receipt(outcome: Receipt | PublishRefused) -> Receipt:
    if isinstance(outcome, PublishRefused):
        raise outcome
    return outcome
