"""Repeatable identities: UUIDs and ULIDs from a seed, instead of the machine's randomness."""

from __future__ import annotations

from random import Random
from uuid import UUID

_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_SHIFTS = range(125, -1, -5)
_RANDOM_BITS = 80
_MILLISECOND = 1_000_000


class VenueIds:
    """Makes ids. The same seed and the same calls give the same ids."""

    def __init__(self, seed: int) -> None:
        self._uuids = Random(f"{seed}/uuid")
        self._ulids = Random(f"{seed}/ulid")
        self._last_ulid = 0

    def uuid(self) -> str:
        """A version 4 UUID."""
        return str(UUID(int=self._uuids.getrandbits(128), version=4))

    def ulid(self, now_ns: int) -> str:
        """A ULID that is greater than every one before, also within one millisecond."""
        value = (now_ns // _MILLISECOND) << _RANDOM_BITS | self._ulids.getrandbits(_RANDOM_BITS - 1)
        value = max(value, self._last_ulid + 1)
        self._last_ulid = value
        return "".join([_CROCKFORD[value >> shift & 31] for shift in _SHIFTS])
