"""Pure: messages with their places, from the bytes of the wire and of the journals."""

from __future__ import annotations

from typing import Any

import msgspec

from .gap_tracker import Entry, Place
from .messages import TypedMessage


class Numbers(msgspec.Struct, frozen=True):
    """A message's place, where no more of it is wanted or known. 0: nobody numbered it."""

    epoch: int = 0
    seq: int = 0
    timestamp: str = ""


decode_ticker_message = msgspec.json.Decoder(TypedMessage).decode
_decode_numbers = msgspec.json.Decoder(Numbers).decode


def read_entry(payload: bytes) -> Entry | None:
    """A message from the wire; None if it is no JSON object.

    Of a type or shape that this version does not know, the place counts all the same.
    """
    try:
        message: Any = decode_ticker_message(payload)
        return Entry(message, payload, message)
    except msgspec.DecodeError:
        pass
    try:
        return Entry(_decode_numbers(payload), payload, None)
    except msgspec.DecodeError:
        return None


def read_journal_entry(entry_id: bytes, fields: list[bytes]) -> Entry:
    """An entry of a journal. Its id is its place, whatever its body says."""
    payload = fields[1] if len(fields) > 1 else b""
    entry = read_entry(payload) or Entry(Numbers(), payload, None)
    numbers = entry.numbers
    if b"%d-%d" % (numbers.epoch, numbers.seq) != entry_id:
        place = Place.parse(entry_id)
        entry = entry._replace(numbers=Numbers(place.epoch, place.seq, numbers.timestamp))
    return entry
