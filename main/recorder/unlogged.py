"""Pure: quotes and bars, which no journal keeps: a hole in their numbers is all that shows."""

from __future__ import annotations

import msgspec

from ..utils.redis.entries import Numbers
from ..utils.redis.gap_tracker import Place
from ..utils.redis.messages import GapMessage, encode, now_rfc3339


class _Numbered(Numbers, frozen=True):
    symbol: str = ""


_decode = msgspec.json.Decoder(_Numbered).decode


class UnloggedWatch:
    """Where each such channel stands."""

    def __init__(self) -> None:
        self._last: dict[str, tuple[Place, str]] = {}

    def judge(self, channel: str, payload: bytes) -> str | None:
        """A `gap` message to stand before this one, if something is missing before it."""
        try:
            now = _decode(payload)
        except msgspec.DecodeError:
            return None
        before = self._last.get(channel)
        self._last[channel] = (Place(now.epoch, now.seq), now.timestamp)
        if before is None:
            return None
        (epoch, seq), since = before
        same_epoch = now.epoch == epoch
        lost = now.seq - seq - 1 if same_epoch else None
        if (lost if lost is not None else now.seq - 1) <= 0:
            return None
        return encode(
            GapMessage(
                symbol=now.symbol,
                timestamp=now_rfc3339(),
                epoch=now.epoch,
                from_=since,
                to=now.timestamp,
                cause="consumer_slow",
                backfilled=False,
                lost=lost,
            )
        ).decode()
