"""Rows as the recorder takes them."""

from __future__ import annotations

import json
from pathlib import Path

from main.recorder.parts import Part, write_part
from main.recorder.table import Row, to_table

NOON_NS = 1_795_262_400_000_000_000  # 2026-11-21T12:00:00Z


def payload(seq: int, *, epoch: int = 17, kind: str = "price", **more: object) -> str:
    fields = {
        "type": kind,
        "symbol": "AAPL",
        "timestamp": f"2026-11-21T12:00:{seq % 60:02}.123456789Z",
        "price": seq / 100,
        "volume": 10,
        "last_eligible": True,
    }
    return json.dumps(fields | more | {"epoch": epoch, "seq": seq}, separators=(",", ":"))


def row(seq: int, *, channel: str = "TICKER_UPDATES_AAPL", epoch: int = 17) -> Row:
    return Row(NOON_NS + seq * 1_000_000, channel, payload(seq, epoch=epoch))


def part(folder: Path, number: int, *seqs: int) -> Part:
    return write_part(folder, number, to_table([row(seq) for seq in seqs]))
