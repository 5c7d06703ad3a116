"""Alpaca's errors: the market-data stream's codes with their exact words, and REST bodies."""

from __future__ import annotations

STREAM_ERRORS: dict[int, str] = {
    400: "invalid syntax",
    401: "not authenticated",
    402: "auth failed",
    403: "already authenticated",
    404: "auth timeout",
    405: "symbol limit exceeded",
    406: "connection limit exceeded",
    407: "slow client",
    408: "v2 not enabled",
    409: "insufficient subscription",
    410: "invalid subscribe action for this feed",
    411: "insufficient scope",
    412: "option messages are only available in MsgPack format",
    413: "star subscription is not allowed for option quotes",
    500: "internal error",
}


def stream_error(code: int) -> dict[str, object]:
    """One error message of the market-data streams. Raises KeyError for an unknown code."""
    return {"T": "error", "code": code, "msg": STREAM_ERRORS[code]}


def rest_error(code: int, message: str) -> dict[str, object]:
    """The body of a REST error."""
    return {"code": code, "message": message}
